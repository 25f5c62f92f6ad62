"""The step's verdict: ordered rules over one look, the first that applies wins.

The top of the package. A Fail comes before any hold, a hold before a Pass; a Pass needs every required metric. What is
missing, NaN or late can only hold.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from modelfleet.core.judgement import guards
from modelfleet.core.judgement.case import Case, look, stands_without_any_minute
from modelfleet.core.judgement.config import Config
from modelfleet.core.judgement.inputs import Carried, Window
from modelfleet.core.judgement.metric import Measured, ratios, said, verdict
from modelfleet.core.judgement.verdict import MetricVerdict, Outcome, Reason, StepVerdict


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ruling:
    outcome: Outcome
    reason: Reason
    message: str
    final: bool = False


def judge(window: Window, *, config: Config, carried: Carried | None = None) -> StepVerdict:
    """Judge one window as it stands now.

    With a slow canary (20 % over the bound, stable 5 %) in five minutes of like load:

    >>> from modelfleet.core.judgement.config import default_config
    >>> from modelfleet.core.judgement.inputs import ArmBlock, Block, Counts
    >>> def arm(started, slow):
    ...     clean = Counts(bad=0, total=started)
    ...     counts = {"ttft": Counts(bad=slow, total=started), "interToken": clean, "errors": clean, "badOutputs": clean}
    ...     return ArmBlock(started=started, replicas=started / 20, counts=counts)
    >>> blocks = tuple(Block(end=15.0 * i, canary=arm(20, 4), stable=arm(60, 3)) for i in range(1, 21))
    >>> result = judge(Window(now=300, weight=0.25, blocks=blocks), config=default_config())
    >>> result.outcome, result.reason, result.final
    ('Fail', 'Worse', True)
    >>> result.message
    'canary 20.00% of 400, stable 5.00% of 1200 (requests over 1 s to the first token): evidence 5.2e+10, 20 needed'
    """
    case = look(window=window, config=config, carried=carried or Carried())
    metrics = tuple(_metric(case=case, measured=m) for m in case.measured) + guards.custom(case)
    ruling = next(found for rule in _RULES if (found := rule(case, metrics)))
    return StepVerdict(
        outcome=ruling.outcome,
        reason=ruling.reason,
        message=ruling.message,
        final=ruling.final,
        metrics=metrics,
        tokens_per_second=window.tokens_per_second,
        seconds=case.seconds,
        evidence=case.evidence,
        evidence_needed=case.needed,
        load_ratio=case.load.ratio,
        enough_samples=all(min(m.canary.units, m.stable.units) >= case.config.min_samples for m in case.measured),
        latency_proven=case.carried.latency_proven or (ruling.outcome == "Pass" and _latency_passed(case, metrics)),
    )


def next_carried(*, carried: Carried, verdict: StepVerdict) -> Carried:
    """Answer what the next window must know; call it when a new window opens.

    >>> from modelfleet.core.judgement.verdict import StepVerdict
    >>> passed = StepVerdict(
    ...     outcome="Pass", reason="NotWorse", message="", final=True, metrics=(), latency_proven=True)
    >>> next_carried(carried=Carried(), verdict=passed)
    Carried(windows=2, latency_proven=True)
    """
    return replace(carried, windows=carried.windows + 1, latency_proven=verdict.latency_proven)


def _metric(*, case: Case, measured: Measured) -> MetricVerdict:
    """Answer one metric; it has no data when it has had none lately, whatever it had before."""
    name = measured.config.name
    recent = [p for b, p in zip(case.recent, case.pairs[name][-len(case.recent) :], strict=True) if not b.warming]
    if len(recent) >= case.config.recent_blocks and not any(recent):
        seconds = len(recent) * case.config.interval_seconds
        return said(measured, "NoData", "NoData", f"no counts for {seconds:.0f} s ({measured.config.label})")
    if measured.blocks == 0:
        return said(measured, "Inconclusive", "MinSamples", f"no counts yet ({measured.config.label})")
    _, stable_bad = guards.limits_broken(case=case, measured=measured)
    return verdict(measured=measured, config=case.config, load=case.load, stable_bad=stable_bad)


def _broken(case: Case, _: tuple[MetricVerdict, ...]) -> _Ruling | None:
    """Beyond any comparison."""
    for rule in (guards.restarts, guards.over_limit, guards.hung, guards.silent):
        if found := rule(case):
            return _Ruling(outcome="Fail", reason=found[0], message=found[1], final=True)
    return None


def _custom_fails(_: Case, metrics: tuple[MetricVerdict, ...]) -> _Ruling | None:
    for metric in metrics:
        if metric.outcome == "Fail":
            message = f"{metric.name}: {metric.message}"
            return _Ruling(outcome="Fail", reason=metric.reason, message=message, final=True)
    return None


def _worse(case: Case, _: tuple[MetricVerdict, ...]) -> _Ruling | None:
    """The sequential test: enough evidence, and not from one incident alone."""
    if case.evidence < case.needed or not stands_without_any_minute(case):
        return None
    heaviest = max(case.measured, key=lambda m: m.config.weight * m.evidence)
    message = f"{ratios(heaviest)}: evidence {case.evidence:.2g}, {case.needed:.2g} needed"
    return _Ruling(outcome="Fail", reason="Worse", message=message, final=True)


def _stale(case: Case, _: tuple[MetricVerdict, ...]) -> _Ruling | None:
    found = guards.stale(case)
    return _Ruling(outcome="NoData", reason=found[0], message=found[1]) if found else None


def _split_is_wrong(case: Case, _: tuple[MetricVerdict, ...]) -> _Ruling | None:
    if case.split_matches:
        return None
    canary = sum(b.canary.started for b in case.recent if b.canary and b.stable)
    total = canary + sum(b.stable.started for b in case.recent if b.canary and b.stable)
    share = canary / total if total else 0.0
    message = f"the canary got {share:.1%} of the last {total:.0f} requests, its weight is {case.window.weight:.1%}"
    return _Ruling(outcome="Inconclusive", reason="SplitMismatch", message=message)


def _stable_is_unhealthy(case: Case, _: tuple[MetricVerdict, ...]) -> _Ruling | None:
    found = guards.both_over_limit(case)
    return _Ruling(outcome="Inconclusive", reason=found[0], message=found[1]) if found else None


def _metric_without_data(_: Case, metrics: tuple[MetricVerdict, ...]) -> _Ruling | None:
    for metric in metrics:
        if metric.outcome == "NoData":
            return _Ruling(outcome="NoData", reason=metric.reason, message=f"{metric.name}: {metric.message}")
    return None


def _passes(case: Case, metrics: tuple[MetricVerdict, ...]) -> _Ruling | None:
    """Every metric passes, or is a latency that the load forbids to pass here."""
    if not case.window.blocks or not all(case.pairs[m.name][-1] for m in case.config.metrics):
        return None
    if any(m.outcome != "Pass" and m.reason != "LoadTooLow" for m in metrics):
        return None
    if case.evidence >= case.needed:
        return None  # worse, though perhaps for one incident: a latency that need not pass here must not hide that
    if case.seconds < case.config.min_seconds:
        message = f"nothing speaks against it, but {case.seconds:.0f} of {case.config.min_seconds:.0f} s are counted"
        return _Ruling(outcome="Inconclusive", reason="MinSeconds", message=message)
    proven = case.carried.latency_proven or _latency_passed(case, metrics)
    if case.window.last and not proven:
        message = (
            f"latency was never compared under like load (a canary replica carries {case.load.ratio:.2f} of a stable"
            " one's): give the canary replicas in proportion to its weight"
        )
        late = case.seconds >= case.config.patience_seconds
        return _Ruling(outcome="Inconclusive", reason="LoadNotMatched", message=message, final=late)
    reason: Reason = "NotWorse" if _latency_passed(case, metrics) else "NotWorseLatencyDeferred"
    least = min((m.canary_samples for m in metrics if m.stable_ratio is not None), default=0)
    message = f"no metric is worse by its allowed drop: {least} canary requests or more in {case.seconds:.0f} s"
    return _Ruling(outcome="Pass", reason=reason, message=message, final=True)


def _goes_on(case: Case, metrics: tuple[MetricVerdict, ...]) -> _Ruling:
    """Not decided; when time is up, not decidable."""
    if not case.counted:
        return _Ruling(outcome="Inconclusive", reason="WarmingUp", message="no warm samples yet")
    open_ones = [m for m in metrics if m.outcome != "Pass"]
    worst = next((m for m in open_ones if m.reason == "MinSamples"), open_ones[0] if open_ones else None)
    words = f"{worst.name}: {worst.message}" if worst else "the latest interval is incomplete"
    if case.seconds >= case.config.patience_seconds:
        message = f"no verdict in {case.seconds:.0f} s; {words}"
        return _Ruling(outcome="Inconclusive", reason="TimedOut", message=message, final=True)
    return _Ruling(outcome="Inconclusive", reason=worst.reason if worst else "Undecided", message=words)


def _latency_passed(case: Case, metrics: tuple[MetricVerdict, ...]) -> bool:
    names = {m.name for m in case.config.metrics if m.latency}
    return all(m.outcome == "Pass" for m in metrics if m.name in names)


_Rule = Callable[[Case, tuple[MetricVerdict, ...]], _Ruling | None]
_RULES: tuple[_Rule, ...] = (
    _broken,
    _custom_fails,
    _worse,
    _stale,
    _split_is_wrong,
    _stable_is_unhealthy,
    _metric_without_data,
    _passes,
    _goes_on,
)
