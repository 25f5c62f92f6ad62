"""One look at one window with everything derived from it once; what the rules of `guards` and `step` read.

Must not decide anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelfleet.core.judgement.config import Config, evidence_needed
from modelfleet.core.judgement.inputs import Block, Carried, Window
from modelfleet.core.judgement.load import Load, load, matched_from
from modelfleet.core.judgement.metric import Both, Measured, Replicas, counts_of, measure, without


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A window, seen through its configuration.

    Attributes:
        window: what was measured.
        config: how to judge it.
        carried: what earlier windows left.
        split_matches: the measured split agrees with the weight, at least lately.
        pairs: per metric the counts of every block of the window; None where an arm lacks them.
        counted: places of the blocks that count for the comparison: complete, warm, and since the split agrees.
        load: their load per replica.
        measured: every compared metric.
        evidence: of all metrics together: the mean of their evidence by weight, valid however they depend on each other.
        needed: the evidence for a Fail.
    """

    window: Window
    config: Config
    carried: Carried
    split_matches: bool
    pairs: Mapping[str, tuple[Both | None, ...]]
    counted: tuple[int, ...]
    load: Load
    measured: tuple[Measured, ...]
    evidence: float
    needed: float

    @property
    def seconds(self) -> float:
        """Counted time."""
        return len(self.counted) * self.config.interval_seconds

    @property
    def recent(self) -> Sequence[Block]:
        """The latest blocks, of any kind."""
        return self.window.blocks[-self.config.recent_blocks :]


def look(*, window: Window, config: Config, carried: Carried) -> Case:
    """Derive everything."""
    start = matched_from(blocks=window.blocks, weight=window.weight)
    counted = tuple(
        i
        for i, b in enumerate(window.blocks)
        if start is not None and i >= start and not b.warming and b.canary is not None and b.stable is not None
    )
    pairs: dict[str, tuple[Both | None, ...]] = {
        m.name: tuple(counts_of(block=b, metric=m.name) for b in window.blocks) for m in config.metrics
    }
    found = load([window.blocks[i] for i in counted])
    replicas = _replicas([window.blocks[i] for i in counted])
    measured = tuple(
        measure(
            metric=m,
            config=config,
            known=[pair for i in counted if (pair := pairs[m.name][i])],
            window=window,
            load=found,
            replicas=replicas,
        )
        for m in config.metrics
    )
    return Case(
        window=window,
        config=config,
        carried=carried,
        split_matches=start is not None,
        pairs=pairs,
        counted=counted,
        load=found,
        measured=measured,
        evidence=sum(m.config.weight * m.evidence for m in measured),
        needed=evidence_needed(config=config, windows=carried.windows),
    )


def _replicas(blocks: Sequence[Block]) -> Replicas:
    return Replicas(
        canary=sum(b.canary.replicas for b in blocks if b.canary) / max(1, len(blocks)),
        stable=sum(b.stable.replicas for b in blocks if b.stable) / max(1, len(blocks)),
    )


def stands_without_any_minute(case: Case) -> bool:
    """Tell whether the evidence stays above its root with any contiguous minute left out: no single incident decides."""
    left_out = case.config.left_out_blocks
    if len(case.counted) <= left_out:
        return False
    needed = case.needed**0.5
    for i in range(len(case.counted) - left_out + 1):
        places = case.counted[i : i + left_out]
        total = sum(
            m.config.weight
            * without(
                measured=m,
                known=[pair for place in places if (pair := case.pairs[m.config.name][place])],
                config=case.config,
                load=case.load,
            )
            for m in case.measured
        )
        if total < needed:
            return False
    return True
