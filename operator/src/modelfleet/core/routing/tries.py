"""Which revision each try of a request goes to.

Every request stands at one point of a scale: at random, or by the hash of its session. Revisions share the scale by
weight, in the order of their names, so that a weight that moves from one to another moves only the sessions between
them. A gateway applies the answer as it is. Must not know how.
"""

from collections.abc import Iterable, Mapping

from modelfleet.core.routing.model import Revision
from modelfleet.core.routing.weights import effective

SCALE = 1_000_000
"""Length of the scale, the same whatever the weights add up to: else a new sum would shuffle every session."""
RETRIES = 3
Stretches = tuple[tuple[str, int], ...]
"""Revisions and how much of the scale each has, from its beginning on; one may come more than once."""


def tries(revisions: Iterable[Revision]) -> tuple[Stretches, ...]:
    """Give the scale of the first try and of each retry; nothing when no revision has a weight.

    Retries stay in their revision while that has another replica, all but the last: one that is full must not burden
    another, which may be a single replica. What leaves goes to the others in proportion, as the clamp would have it once
    a dead replica is known to be gone.

    >>> from modelfleet.core.routing.model import Endpoint
    >>> one, two = Endpoint(address="10.0.0.1"), Endpoint(address="10.0.0.2")
    >>> stable = Revision(name="a", weight=80, endpoints=(one, two))
    >>> for stretches in tries([stable, Revision(name="b", weight=20, endpoints=(one,))]):
    ...     stretches
    (('a', 800000), ('b', 200000))
    (('a', 800000), ('a', 200000))
    (('a', 800000), ('a', 200000))
    (('b', 800000), ('a', 200000))
    """
    known = tuple(revisions)
    weights = {name: weight for name, weight in sorted(effective(known).items()) if weight > 0}
    if not weights:
        return ()
    replicas = {revision.name: len(revision.endpoints) for revision in known}
    first = _divided(SCALE, weights)
    elsewhere = tuple(_elsewhere(name, length, weights) for name, length in first)
    again = _joined((own,) if replicas[own[0]] > 1 else others for own, others in zip(first, elsewhere, strict=True))
    return (first, *([again] * (RETRIES - 1)), _joined(elsewhere))


def _elsewhere(name: str, length: int, weights: Mapping[str, int]) -> Stretches:
    others = {other: weight for other, weight in weights.items() if other != name}
    return _divided(length, others) if others else ((name, length),)


def _divided(length: int, weights: Mapping[str, int]) -> Stretches:
    """Divide by cumulated weights: rounding adds up to nothing."""
    total, begun, past = sum(weights.values()), 0, 0
    found = []
    for name, weight in weights.items():
        past += weight
        end = length * past // total
        found.append((name, end - begun))
        begun = end
    return tuple(one for one in found if one[1])


def _joined(parts: Iterable[Stretches]) -> Stretches:
    return tuple(stretch for part in parts for stretch in part)
