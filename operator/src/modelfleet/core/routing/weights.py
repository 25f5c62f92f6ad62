"""The clamp: which share each revision really gets.

A revision without a ready endpoint gets nothing, at once and without the operator; its share goes to the others in
proportion. Must not smooth or remember: the same input always gives the same weights.
"""

from collections.abc import Iterable, Mapping

from modelfleet.core.routing.model import Revision


def requested(revisions: Iterable[Revision]) -> dict[str, int]:
    """Give the weights that are asked for; without any, each revision's ready endpoints stand for them.

    A revision that status does not name beside others that it does has none.

    >>> from modelfleet.core.routing.model import Endpoint
    >>> requested([Revision(name="a", weight=90), Revision(name="b", weight=10), Revision(name="c")])
    {'a': 90, 'b': 10, 'c': 0}
    >>> requested([Revision(name="a", endpoints=(Endpoint(address="10.0.0.1"),)), Revision(name="b")])
    {'a': 1, 'b': 0}
    """
    known = tuple(revisions)
    if all(revision.weight is None for revision in known):
        return {revision.name: len(revision.endpoints) for revision in known}
    return {revision.name: revision.weight or 0 for revision in known}


def effective(revisions: Iterable[Revision]) -> Mapping[str, int]:
    """Give the weights that a gateway applies; only their proportion means something.

    When no revision with a weight has an endpoint the weights stay: the answer is then 503 by the one that should
    have answered, and never a revision that was given no traffic.

    >>> from modelfleet.core.routing.model import Endpoint
    >>> up = (Endpoint(address="10.0.0.1"),)
    >>> effective([Revision(name="a", weight=90, endpoints=up), Revision(name="b", weight=10)])
    {'a': 90, 'b': 0}
    >>> effective([Revision(name="a", weight=100), Revision(name="b", weight=0, endpoints=up)])
    {'a': 100, 'b': 0}
    """
    known = tuple(revisions)
    wanted = requested(known)
    ready = {r.name: wanted[r.name] if r.endpoints else 0 for r in known}
    return ready if any(ready.values()) else wanted
