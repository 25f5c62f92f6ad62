"""The Kubernetes HorizontalPodAutoscaler's arithmetic: one metric's count, stabilisation, and the limit upwards.

The algorithm is the documented one (kubernetes.io, "Horizontal Pod Autoscaling", Algorithm details; in the source
`pkg/controller/podautoscaler/replica_calculator.go`), so that a target means here what it means to an HPA's user:

    ratio   = average over ready pods / target
    desired = ceil(ratio * pods counted)         unless |ratio - 1| <= tolerance

Ready pods without a value are set aside first. They are then counted at the target when the rest says "fewer" and at 0
when the rest says "more"; pods that are not ready are counted at 0 when the rest says "more". If that turns the
direction round, or brings the ratio within the tolerance, the current count stays.

Two deliberate differences, both towards keeping replicas: a ratio above 1 never yields fewer than `current` (HPA may,
while pods are still being created), and whether missing values allow lowering at all is for the caller (`target.py`
says no). Stabilisation and the up limit are HPA's too (`behavior`, with its defaults), as functions over a history that
the caller keeps. Must not look at bounds, nor read a clock.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

TOLERANCE: Final = 0.1
UP_PERIOD_SECONDS: Final = 15.0
UP_REPLICAS: Final = 4
UP_FACTOR: Final = 2
# 3 replicas * 1.0000000001 must not become 4 because of how a float is stored.
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What one metric asks for.

    Attributes:
        replicas: the count it asks for, before history and bounds.
        average: mean value over the ready pods that had one, in the metric's unit.
        ratio: average / target.
        missing: ready pods without a value, sorted.
    """

    replicas: int
    average: float
    ratio: float
    missing: tuple[str, ...]


def replicas_for(
    *, current: int, ready: Collection[str], unready: Collection[str], values: Mapping[str, float], target: float
) -> Usage | None:
    """Reckon the replicas that bring the average to the target; None when no ready pod has a value.

    Three ready pods with 10 waiting requests each and a target of 5 need twice as many:

    >>> replicas_for(current=3, ready=["a", "b", "c"], unready=[], values={"a": 10, "b": 10, "c": 10}, target=5).replicas
    6

    5 % above the target is within the tolerance:

    >>> replicas_for(current=2, ready=["a", "b"], unready=[], values={"a": 5.5, "b": 5}, target=5).replicas
    2

    A pod that is still loading will take its share: (20 + 0) / 2 = 10 per pod, twice the target, times two pods:

    >>> replicas_for(current=2, ready=["a"], unready=["b"], values={"a": 20}, target=5).replicas
    4

    A missing value counts as the target when going down, (1 + 1 + 5) / 3 = 2.33, ratio 0.47, times 3:

    >>> replicas_for(current=3, ready=["a", "b", "c"], unready=[], values={"a": 1, "b": 1}, target=5).replicas
    2

    and as 0 when going up; here that turns 1.2 into 0.8, so nothing changes:

    >>> replicas_for(current=3, ready=["a", "b", "c"], unready=[], values={"a": 6, "b": 6}, target=5).replicas
    3

    >>> replicas_for(current=1, ready=["a"], unready=[], values={}, target=5) is None
    True
    """
    known = {pod: values[pod] for pod in ready if pod in values}
    missing = tuple(sorted(pod for pod in ready if pod not in values))
    if not known:
        return None
    average = math.fsum(known.values()) / len(known)
    ratio = average / target
    counted = dict(known)
    if ratio > 1:
        counted |= dict.fromkeys((*missing, *unready), 0.0)
    else:
        counted |= dict.fromkeys(missing, target)
    weighted = math.fsum(counted.values()) / len(counted) / target
    replicas = _replicas(current=current, first=ratio, second=weighted, counted=len(counted))
    return Usage(replicas=replicas, average=average, ratio=ratio, missing=missing)


def _replicas(*, current: int, first: float, second: float, counted: int) -> int:
    """Apply tolerance and the two direction checks."""
    within = abs(1 - second) <= TOLERANCE + _ROUNDING
    turned = (first < 1 < second) or (second < 1 < first)
    if within or turned:
        return current
    replicas = math.ceil(second * counted - _ROUNDING)
    return max(replicas, current) if second > 1 else min(replicas, current)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """What was asked for at a moment, before stabilisation, and how many replicas there were."""

    time: float
    replicas: int
    current: int


def remember(
    *, history: tuple[Recommendation, ...], latest: Recommendation, window: float
) -> tuple[Recommendation, ...]:
    """Add the latest recommendation and forget what can no longer matter; oldest first.

    An entry matters to the window (seconds) while no later one is as high, and to the up limit while no later one of
    its period saw as few replicas. So the length is bounded by the range of counts, however often this is called.

    >>> past = (Recommendation(time=0, replicas=5, current=5), Recommendation(time=20, replicas=3, current=5))
    >>> [entry.replicas for entry in remember(history=past, latest=Recommendation(time=40, replicas=4, current=5), window=300)]
    [5, 4]
    """
    horizon = latest.time - max(window, UP_PERIOD_SECONDS)
    kept = [latest]
    for entry in reversed(history):
        if entry.time <= horizon:
            continue
        highest = entry.replicas > max(later.replicas for later in kept)
        recent = entry.time > latest.time - UP_PERIOD_SECONDS
        if highest or (recent and entry.current < min(later.current for later in kept)):
            kept.append(entry)
    return tuple(reversed(kept))


def stabilize(*, history: tuple[Recommendation, ...], window: float, since: float) -> int:
    """Hold a fall of the last entry back to the highest of the window (seconds), and wholly within the first window.

    >>> past = (Recommendation(time=0, replicas=4, current=4), Recommendation(time=60, replicas=1, current=4))
    >>> stabilize(history=past, window=300, since=-300), stabilize(history=past, window=60, since=-300)
    (4, 1)
    >>> stabilize(history=past, window=60, since=10)
    4
    """
    latest = history[-1]
    if latest.replicas >= latest.current:
        return latest.replicas
    if latest.time - since < window:
        return latest.current
    highest = max((entry.replicas for entry in history if entry.time > latest.time - window), default=0)
    return min(latest.current, max(latest.replicas, highest))


def up_limit(*, history: tuple[Recommendation, ...]) -> int:
    """Give the highest count allowed now: the lowest of the last 15 s plus 4, or doubled.

    >>> up_limit(history=(Recommendation(time=0, replicas=50, current=2), Recommendation(time=5, replicas=50, current=6)))
    6
    >>> up_limit(history=(Recommendation(time=0, replicas=50, current=2), Recommendation(time=15, replicas=50, current=6)))
    12
    """
    latest = history[-1]
    start = min(entry.current for entry in history if entry.time > latest.time - UP_PERIOD_SECONDS)
    return max(latest.current, start + UP_REPLICAS, start * UP_FACTOR)
