"""Which way a rollout goes by the devices that there are: beyond the wish, one by one, in place, or not yet.

It words what `targets.py` and `split.py` do with the same numbers, for people. Must not decide it.
"""

from dataclasses import dataclass
from math import ceil

from modelfleet.core.rollout.targets import Inputs

_WAITS = "waits for a device"


@dataclass(frozen=True, kw_only=True)
class Way:
    """The way.

    Attributes:
        words: for people.
        at_once: replicas that start side by side.
    """

    words: str
    at_once: int


def way(at: Inputs, *, hold: str = "", whole: bool = False, recreate: bool = False) -> Way:
    """Name the way that is taken now.

    Args:
        at: what the arithmetic looks at.
        hold: what it answers as a hold.
        whole: a whole second set is wanted.
        recreate: nothing starts before all of the old ones have ended.

    A device is spare; none is, but one replica may be missing; none may be:

    >>> from modelfleet.core.rollout.targets import Count
    >>> def words(**more):
    ...     return way(Inputs(desired=2, new=Count(replicas=0, ready=0), old=Count(replicas=2, ready=2), **more)).words
    >>> words(free=1)
    'surge: up to 1 replica beyond the wish'
    >>> words(free=0, max_unavailable=1), words(free=0)
    ('one by one: 1 replica missing at a time', 'waits for a device')
    >>> words(free=0, capacity="InPlace")
    'in place: 1 old replica at a time ends before its successor starts'
    """
    if recreate:
        return Way(words="recreate: every old replica ends before a new one starts", at_once=at.desired)
    if hold:
        return Way(words=_WAITS, at_once=1)
    if whole:
        return Way(words="a whole second set beside the first", at_once=at.desired)
    return _by_devices(at)


def _by_devices(at: Inputs) -> Way:
    most = max(1, min(at.desired, max(at.max_unavailable, int(at.capacity == "InPlace"))))
    beyond = 0 if at.capacity == "InPlace" else min(at.max_surge, _room(at))
    if beyond:
        return Way(words=f"surge: up to {_count(beyond, 'replica')} beyond the wish", at_once=beyond)
    if at.capacity == "InPlace":
        words = f"in place: {_count(most, 'old replica')} at a time ends before its successor starts"
    elif at.max_unavailable:
        words = f"one by one: {_count(most, 'replica')} missing at a time"
    else:
        words = _WAITS
    return Way(words=words, at_once=most)


def seconds(*, missing: int, at_once: int, start_seconds: float) -> float:
    """Answer how long so many starts take, so many of them side by side.

    >>> seconds(missing=3, at_once=2, start_seconds=90)
    180
    """
    return ceil(missing / at_once) * start_seconds


def _room(at: Inputs) -> int:
    """Count the replicas that devices hold beyond the wish; those that are leaving give theirs back."""
    refused = at.claim_expired or (at.capacity != "Surge" and at.new.unschedulable > 0)
    if refused and (at.capacity == "Surge" or at.free is None):
        return 0  # the scheduler was asked, and found nothing
    more = at.limit if at.capacity == "Surge" or at.free is None else at.free
    held = at.new.replicas + at.old.replicas + at.new.leaving + at.old.leaving
    return max(0, held + more - at.desired)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
