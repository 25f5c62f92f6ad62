"""One metric: from blocks to effective counts, evidence and its own verdict.

Above `likelihood`, `spread` and `bounds`, below `step`, which weighs the metrics together. A metric alone never fails a
step by comparison; it does by its absolute limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Final

from modelfleet.core.judgement.bounds import surely_above, surely_below
from modelfleet.core.judgement.config import Config, MetricConfig
from modelfleet.core.judgement.inputs import Block, Counts, Window
from modelfleet.core.judgement.likelihood import Sample, evidence, log_ratio
from modelfleet.core.judgement.load import Load
from modelfleet.core.judgement.spread import Pair, design_effect, replica_effect
from modelfleet.core.judgement.verdict import MetricVerdict, Outcome, Reason

ALLOWED_FOR_POOLING: Final = 0.5
"""Of the allowed drop, when the canary is a far smaller pool than stable (measured)."""
ALLOWED_FOR_LOAD: Final = 5.0
"""Times the surplus of load, of the allowed drop: at 10 % more requests half of it (measured)."""
Both = tuple[Counts, Counts]
"""Canary and stable."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """Ready replicas of both arms, on average over the counted blocks."""

    canary: float
    stable: float


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over blocks of one arm."""

    bad: float = 0.0
    total: float = 0.0
    units: float = 0.0

    @property
    def sample(self) -> Sample:
        """Effective counts: the share of bad events, over independent units."""
        return Sample(self.bad / self.total * self.units if self.total > 0 else 0.0, self.units)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A metric over the counted blocks."""

    config: MetricConfig
    canary: Totals
    stable: Totals
    spread: float
    evidence: float
    against: float
    blocks: int
    allowance: float


def measure(
    *, metric: MetricConfig, config: Config, known: Sequence[Both], window: Window, load: Load, replicas: Replicas
) -> Measured:
    """Sum up the counted blocks and weigh them."""
    overdue = window.overdue if metric.name == "ttft" else (0.0, 0.0)
    canary = totals([c for c, _ in known], overdue=overdue[0])
    stable = totals([s for _, s in known], overdue=overdue[1])
    spread = design_effect(
        canary=canary.sample,
        stable=stable.sample,
        pairs=[Pair(c.bad, c.total, s.bad, s.total) for c, s in known],
        prior=metric.prior_spread,
        least=metric.least_spread,
    )
    if metric.latency:
        between = replica_effect(
            canary=canary.sample,
            stable=stable.sample,
            shares=window.replica_shares.get(metric.name, ()),
            canary_replicas=replicas.canary,
        )
        spread = max(spread, between)
    allowance = latency_allowance(metric=metric, replicas=replicas, load=load)
    return Measured(
        allowance=allowance,
        config=metric,
        canary=canary,
        stable=stable,
        spread=spread,
        evidence=metric_evidence(
            metric=metric,
            config=config,
            canary=canary,
            stable=stable,
            spread=spread,
            load=load,
            allowance=allowance,
        ),
        against=log_ratio(canary=canary.sample, stable=stable.sample, drop=metric.max_drop) / spread,
        blocks=len(known),
    )


def latency_allowance(*, metric: MetricConfig, replicas: Replicas, load: Load) -> float:
    """Answer how much slower an equal canary may look by its place alone; never more than the allowed drop.

    Two causes: a smaller pool (the router picks the less loaded of two stable replicas; one canary replica has no
    second), and requests beyond its share, which chance brought and its queue has felt.
    """
    if not metric.latency or replicas.stable <= 0:
        return 0.0
    pooling = ALLOWED_FOR_POOLING * max(0.0, 1 - replicas.canary / replicas.stable)
    return metric.max_drop * min(1.0, pooling + ALLOWED_FOR_LOAD * max(0.0, load.measured - 1))


def metric_evidence(
    *,
    metric: MetricConfig,
    config: Config,
    canary: Totals,
    stable: Totals,
    spread: float,
    load: Load,
    allowance: float,
) -> float:
    """Answer the evidence against the canary; few requests say nothing, an overloaded canary's latency nothing bad."""
    if min(canary.units, stable.units) < config.min_samples_to_fail:
        return 1.0
    found = evidence(
        canary=canary.sample, stable=stable.sample, max_drop=metric.max_drop, spread=spread, allowance=allowance
    )
    return min(found, 1.0) if metric.latency and not load.may_fail else found


def without(*, measured: Measured, known: Sequence[Both], config: Config, load: Load) -> float:
    """Answer the metric's evidence with these blocks left out; the spread stays as it is."""
    return metric_evidence(
        metric=measured.config,
        config=config,
        canary=_minus(measured.canary, totals([c for c, _ in known])),
        stable=_minus(measured.stable, totals([s for _, s in known])),
        spread=measured.spread,
        load=load,
        allowance=measured.allowance,
    )


def counts_of(*, block: Block, metric: str) -> Both | None:
    """Answer both arms' counts, or None: a block that one arm lacks counts for neither."""
    if block.canary is None or block.stable is None:
        return None
    canary, stable = block.canary.known(metric), block.stable.known(metric)
    return (canary, stable) if canary is not None and stable is not None else None


def above_limit(*, arm: Totals, metric: MetricConfig, spread: float) -> bool:
    """Tell whether an arm breaks the absolute limit beyond doubt."""
    if metric.limit is None:
        return False
    sample, by = arm.sample, spread if metric.latency else 1.0
    return surely_above(bad=sample.bad / by, total=sample.units / by, limit=metric.limit)


def within_limit(measured: Measured) -> bool:
    """Tell whether the canary keeps the absolute limit beyond doubt."""
    limit, sample = measured.config.limit, measured.canary.sample
    if limit is None:
        return False
    return surely_below(bad=sample.bad / measured.spread, total=sample.units / measured.spread, limit=limit)


def verdict(*, measured: Measured, config: Config, load: Load, stable_bad: bool) -> MetricVerdict:
    """Answer the metric's own verdict; time and the other metrics are the step's business.

    `stable_bad` says that stable breaks the absolute limit: then only that limit counts.
    """
    metric = measured.config
    if measured.blocks == 0:
        return said(measured, "NoData", "NoData", f"no counts of both arms: {metric.label}")
    fewest = min(measured.canary.units, measured.stable.units)
    if fewest < config.min_samples:
        return said(measured, "Inconclusive", "MinSamples", _words(measured, f"{config.min_samples} requests needed"))
    if metric.latency and not load.may_pass:
        words = _words(measured, f"a canary replica carries {load.ratio:.2f} of a stable one's load: no proof")
        return said(measured, "Inconclusive", "LoadTooLow", words)
    if stable_bad and metric.limit is not None:
        words = _words(measured, f"stable is over the limit of {metric.limit:.1%}, which alone counts")
        below = within_limit(measured)
        return said(measured, *(("Pass", "WithinLimit") if below else ("Inconclusive", "Undecided")), words)
    if measured.against <= log(config.beta):
        return said(measured, "Pass", "NotWorse", _words(measured, "not worse"))
    return said(measured, "Inconclusive", "Undecided", _words(measured, "undecided"))


def said(measured: Measured, outcome: Outcome, reason: Reason, message: str) -> MetricVerdict:
    """Put a verdict beside its numbers."""
    return MetricVerdict(
        name=measured.config.name,
        outcome=outcome,
        reason=reason,
        message=message,
        canary_ratio=measured.canary.bad / measured.canary.total if measured.canary.total > 0 else None,
        canary_samples=round(measured.canary.units),
        stable_ratio=measured.stable.bad / measured.stable.total if measured.stable.total > 0 else None,
        stable_samples=round(measured.stable.units),
        spread=measured.spread,
        evidence=measured.evidence,
        against=measured.against,
    )


def ratios(measured: Measured) -> str:
    """Word both arms: "canary 12.0 % of 100, stable 5.0 % of 300 (requests over 1 s to the first token)"."""
    arms = (("canary", measured.canary), ("stable", measured.stable))
    words = [f"{name} {t.bad / t.total if t.total > 0 else 0:.2%} of {t.units:.0f}" for name, t in arms]
    return f"{', '.join(words)} ({measured.config.label})"


def _words(measured: Measured, why: str) -> str:
    return f"{ratios(measured)}; allowed drop {measured.config.max_drop:.2%}: {why}"


def totals(counts: Sequence[Counts], *, overdue: float = 0.0) -> Totals:
    """Sum up one arm."""
    return Totals(
        bad=sum(c.bad for c in counts) + overdue,
        total=sum(c.total for c in counts) + overdue,
        units=sum(c.requests for c in counts) + overdue,
    )


def _minus(whole: Totals, part: Totals) -> Totals:
    return Totals(
        bad=max(0.0, whole.bad - part.bad),
        total=max(0.0, whole.total - part.total),
        units=max(0.0, whole.units - part.units),
    )
