"""The verdict on a revision that has nobody to be compared with: by absolute limits and guards alone.

Beside `step`, which compares. For blue-green, whose two sets never share the traffic: the preview before its switch, and
what serves afterwards. Its error bounds are those of the limits, not of the sequential test.
"""

from collections.abc import Callable
from dataclasses import replace

from modelfleet.core.judgement import guards
from modelfleet.core.judgement.case import Case, look
from modelfleet.core.judgement.config import Config
from modelfleet.core.judgement.inputs import ArmBlock, Block, Carried, Counts, Window
from modelfleet.core.judgement.metric import Measured, said, within_limit
from modelfleet.core.judgement.verdict import MetricVerdict, Outcome, Reason, StepVerdict

_Ruling = tuple[Outcome, Reason, str, bool]
"""Outcome, reason, message, and whether it is final."""


def judge_alone(window: Window, *, config: Config, required: frozenset[str]) -> StepVerdict:
    """Judge one window by its canary only.

    Args:
        window: what was measured; what it holds of stable is not looked at, but for its restarts.
        config: how to judge; metrics without a limit are left out.
        required: metrics of which a Pass needs the word; without any there is no Pass, only a Fail or none.

    Half a minute with every second answer failed breaks the limit of 5 %:

    >>> from modelfleet.core.judgement.config import default_config
    >>> def block(i, bad):
    ...     return Block(end=15.0 * i, canary=ArmBlock(started=20, replicas=1,
    ...                  counts={"errors": Counts(bad=bad, total=20)}), stable=None)
    >>> found = judge_alone(Window(now=30, weight=1, blocks=(block(1, 10), block(2, 10))),
    ...                     config=default_config(), required=frozenset())
    >>> found.outcome, found.reason
    ('Fail', 'LimitExceeded')
    >>> found.message
    'canary: 20 of 40 (attempts that failed), surely over the limit of 5.0%'
    """
    alone = replace(
        window,
        weight=1.0,  # no split to wait for
        blocks=tuple(replace(block, stable=_idle(block)) for block in window.blocks),
        overdue=(window.overdue[0], 0.0),
        replica_shares={},
    )
    limited = replace(
        config,
        metrics=tuple(m for m in config.metrics if m.limit is not None),
        # A whole set has more of them by chance than one canary, and the other set may be idle.
        max_restarts=config.max_restarts * max(1, window.canary_replicas),
    )
    case = look(window=alone, config=limited, carried=Carried())
    metrics = tuple(_metric(case=case, measured=m) for m in case.measured) + guards.custom(case)
    wanted = tuple(m for m in metrics if m.name in required)
    outcome, reason, message, final = next(found for rule in _RULES if (found := rule(case, wanted)))
    return StepVerdict(
        outcome=outcome,
        reason=reason,
        message=message,
        final=final,
        metrics=metrics,
        seconds=case.seconds,
        tokens_per_second=(window.tokens_per_second[0], None),
        compared=False,
    )


def _idle(block: Block) -> ArmBlock | None:
    """Put a stable revision without any request beside the canary, wherever the canary is known."""
    if block.canary is None:
        return None
    return ArmBlock(started=0, replicas=0, counts={name: Counts(bad=0, total=0) for name in block.canary.counts})


def _metric(*, case: Case, measured: Measured) -> MetricVerdict:
    metric, canary = measured.config, measured.canary
    latest = case.pairs[metric.name][-case.config.recent_blocks :]
    if len(latest) >= case.config.recent_blocks and not any(latest):
        return said(measured, "NoData", "NoData", f"no counts lately ({metric.label})")
    ratio = canary.bad / canary.total if canary.total > 0 else 0.0
    words = f"{ratio:.2%} of {canary.units:.0f} ({metric.label}); at most {metric.limit or 0.0:.1%}"
    if canary.units < case.config.min_samples:
        return said(measured, "Inconclusive", "MinSamples", f"{words}: {case.config.min_samples} requests needed")
    if within_limit(measured):
        return said(measured, "Pass", "WithinLimit", words)
    return said(measured, "Inconclusive", "Undecided", f"{words}: not surely below it")


def _broken(case: Case, _: tuple[MetricVerdict, ...]) -> _Ruling | None:
    for rule in (guards.restarts, guards.over_limit):
        if found := rule(case):
            return "Fail", *found, True
    failed = next((one for one in guards.custom(case) if one.outcome == "Fail"), None)
    return ("Fail", failed.reason, f"{failed.name}: {failed.message}", True) if failed else None


def _unknown(case: Case, wanted: tuple[MetricVerdict, ...]) -> _Ruling | None:
    if found := guards.stale(case):
        return "NoData", *found, False
    lost = next((one for one in wanted if one.outcome == "NoData"), None)
    return ("NoData", lost.reason, f"{lost.name}: {lost.message}", False) if lost else None


def _passes(case: Case, wanted: tuple[MetricVerdict, ...]) -> _Ruling | None:
    if not wanted or not case.window.blocks or any(one.outcome != "Pass" for one in wanted):
        return None
    if case.seconds < case.config.min_seconds:
        message = f"every limit is kept, but {case.seconds:.0f} of {case.config.min_seconds:.0f} s are counted"
        return "Inconclusive", "MinSeconds", message, False
    return "Pass", "WithinLimit", f"every limit is kept: {', '.join(one.name for one in wanted)}", True


def _goes_on(case: Case, wanted: tuple[MetricVerdict, ...]) -> _Ruling:
    worst = next((one for one in wanted if one.outcome != "Pass"), None)
    if worst is None:
        return "Inconclusive", "Undecided", "no limit is broken", False
    message = f"{worst.name}: {worst.message}"
    if case.seconds >= case.config.patience_seconds:
        return "Inconclusive", "TimedOut", f"no verdict in {case.seconds:.0f} s; {message}", True
    return "Inconclusive", worst.reason, message, False


_RULES: tuple[Callable[[Case, tuple[MetricVerdict, ...]], _Ruling | None], ...] = (
    _broken,
    _unknown,
    _passes,
    _goes_on,
)
