"""Like with like: does a canary replica carry what a stable one carries, and does the split follow the weights?

The split is told by the requests *drawn* for each arm, the load by these and by the tries that each took on: retries of
the other's requests weigh as much. Running concurrency is caused by slowness, so it must not excuse it. Knows nothing of
outcomes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

from modelfleet.core.judgement.inputs import ArmBlock, Block

LEAST_LOAD: Final = 0.95
MOST_LOAD: Final = 1.05
# Sessions stick to a revision, so requests arrive in groups of about four.
_SESSION_EFFECT: Final = 4.0
_SURE: Final = 4.0
_FREE_DEVIATION: Final = 0.25
_LEAST_EXPECTED: Final = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """Requests per canary replica over requests per stable replica, and what that allows latency to say.

    Attributes:
        ratio: of requests, moved to 1 by twice its uncertainty: few requests are no proof of an imbalance.
        carried: the same of the tries that they took on.
        measured: the larger of both as it was; what chance put on the canary it had to carry all the same.
    """

    ratio: float = 1.0
    carried: float = 1.0
    measured: float = 1.0

    @property
    def may_pass(self) -> bool:
        """Whether latency may pass: a less loaded canary looks faster than it is."""
        return self.ratio >= LEAST_LOAD

    @property
    def may_fail(self) -> bool:
        """Whether latency may fail: a more loaded canary looks slower than it is."""
        return max(self.ratio, self.carried) <= MOST_LOAD


def load(blocks: Sequence[Block]) -> Load:
    """Compare the load per replica over the counted blocks.

    >>> from modelfleet.core.judgement.inputs import ArmBlock
    >>> def at(canary, stable):
    ...     arms = (ArmBlock(started=n, replicas=r, counts={}) for n, r in ((canary, 1), (stable, 3)))
    ...     found = load([Block(end=0, canary=next(arms), stable=next(arms))])
    ...     return found.may_pass, found.may_fail
    >>> at(1000, 3000), at(500, 3000), at(2000, 3000), at(5, 30)
    ((True, True), (False, True), (True, False), (True, True))
    """
    pairs = [(b.canary, b.stable) for b in blocks if b.canary and b.stable]
    arms = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    canary_replicas, stable_replicas = (sum(one.replicas for one in arm) for arm in arms)
    if min(canary_replicas, stable_replicas) <= 0:
        return Load()
    places = stable_replicas / canary_replicas
    ratio, drawn = _ratio(*(sum(one.started for one in arm) for arm in arms), places=places)
    carried, borne = _ratio(*(_carried(arm) for arm in arms), places=places)
    return Load(ratio=ratio, carried=carried, measured=max(drawn, borne))


def _carried(arm: Sequence[ArmBlock]) -> float:
    """Answer what an arm took on: not less than it was drawn for, since a request that failed there was work too.

    Over all blocks at once: a try may begin in one and end in the next.
    """
    taken = sum(one.started if one.carried is None else one.carried for one in arm)
    return max(taken, sum(one.started for one in arm))


def _ratio(canary: float, stable: float, *, places: float) -> tuple[float, float]:
    """Answer the ratio per replica, moved to 1 by twice its uncertainty, and as it was."""
    if min(canary, stable) <= 0:
        return 1.0, 1.0
    measured = canary / stable * places
    doubt = 2 * measured * sqrt(1 / canary + 1 / stable)
    return (max(1.0, measured - doubt) if measured > 1 else min(1.0, measured + doubt)), measured


def matched_from(*, blocks: Sequence[Block], weight: float) -> int | None:
    """Answer the first block from which on the measured split agrees with the weight; None when it never does.

    A route that took effect late spoils only the blocks before it.
    """
    canary, stable = 0.0, 0.0
    totals = []
    for block in reversed(blocks):
        if block.canary and block.stable:
            canary += block.canary.started
            stable += block.stable.started
        totals.append((canary, stable))
    totals.reverse()
    # Too few requests tell nothing, neither for nor against: then samples are too few as well.
    told = [i for i, (c, s) in enumerate(totals) if (c + s) * min(weight, 1 - weight) >= _LEAST_EXPECTED]
    if not told:
        return 0
    return next((i for i in told if agrees(canary=totals[i][0], stable=totals[i][1], weight=weight)), None)


def agrees(*, canary: float, stable: float, weight: float) -> bool:
    """Tell whether the canary's share of requests can come from its weight.

    Wrong needs both: off by more than a quarter of the smaller share, and by more than chance (sessions stick).

    >>> agrees(canary=240, stable=760, weight=0.25), agrees(canary=50, stable=950, weight=0.25)
    (True, False)
    """
    total = canary + stable
    if total <= 0:
        return True
    off = abs(canary / total - weight)
    chance = _SURE * sqrt(_SESSION_EFFECT * weight * (1 - weight) / total)
    return off <= max(_FREE_DEVIATION * min(weight, 1 - weight), chance)
