"""What needs no comparison: restarts, hung or silent canaries, absolute limits, custom queries, old news.

Each rule answers with (reason, message), or None when it has nothing to say. `step` puts them in order.
"""

from collections.abc import Sequence
from math import isfinite

from modelfleet.core.judgement.case import Case
from modelfleet.core.judgement.config import CustomLimit
from modelfleet.core.judgement.inputs import Counts
from modelfleet.core.judgement.metric import Both, Measured, above_limit, totals
from modelfleet.core.judgement.verdict import MetricVerdict, Reason

Said = tuple[Reason, str] | None
_STARTED_ENOUGH = 10
_IN_A_ROW = 3


def restarts(case: Case) -> Said:
    """A canary that keeps restarting fails, unless stable does as well."""
    window, most = case.window, case.config.max_restarts
    if window.canary_restarts <= max(most, window.stable_restarts):
        return None
    message = (
        f"canary containers restarted {window.canary_restarts} times, stable {window.stable_restarts}; {most} allowed"
    )
    return "CanaryRestarts", message


def over_limit(case: Case) -> Said:
    """The canary breaks an absolute limit on two looks in a row, and stable does not."""
    for measured in case.measured:
        canary, stable = limits_broken(case=case, measured=measured)
        if canary and not stable and (case.load.may_fail or not measured.config.latency):
            found = [canary for canary, _ in _known(case=case, measured=measured)]
            bad, total = sum(c.bad for c in found), sum(c.total for c in found)
            words = f"{bad:.0f} of {total:.0f} ({measured.config.label})"
            over = f"surely over the limit of {measured.config.limit or 0.0:.1%}"
            return "LimitExceeded", f"canary: {words}, {over}{_kinds(found)}"
    return None


def both_over_limit(case: Case) -> Said:
    """Stable breaks the limit too: nobody learns anything about the canary now."""
    for measured in case.measured:
        if all(limits_broken(case=case, measured=measured)):
            limit = measured.config.limit or 0.0
            return (
                "StableUnhealthy",
                f"stable and canary are both over the limit of {limit:.1%} ({measured.config.label})",
            )
    return None


def limits_broken(*, case: Case, measured: Measured) -> tuple[bool, bool]:
    """Tell whether (canary, stable) break the metric's limit, each on this look and on the one before."""
    if measured.config.limit is None:
        return False, False
    known = _known(case=case, measured=measured)
    canary, stable = (_breaks(counts=[pair[arm] for pair in known], measured=measured) for arm in (0, 1))
    return canary, stable


def _breaks(*, counts: Sequence[Counts], measured: Measured) -> bool:
    """Tell whether one arm breaks the limit, with the newest block and without it."""
    now = totals(counts)
    if not above_limit(arm=now, metric=measured.config, spread=measured.spread):
        return False
    return above_limit(arm=totals(counts[:-1]), metric=measured.config, spread=measured.spread)


def hung(case: Case) -> Said:
    """Requests start on the canary and none gets a first token, while stable's do: no histogram will ever show them."""
    pairs = case.pairs.get("ttft", ())[-case.config.recent_blocks :]
    if len(pairs) < case.config.recent_blocks:
        return None
    known = [p for p in pairs if p]
    started = sum(b.canary.started for b in case.recent[:-1] if b.canary)
    if len(known) < len(pairs) or started < _STARTED_ENOUGH:
        return None
    if sum(c.total for c, _ in known) == 0 and sum(s.total for _, s in known) > 0:
        seconds = case.config.recent_blocks * case.config.interval_seconds
        return "CanaryHung", f"{started:.0f} requests started on the canary and none got a token for {seconds:.0f} s"
    return None


def silent(case: Case) -> Said:
    """The router sends to the canary and stable has metrics, but the canary has none."""
    recent = case.recent
    if len(recent) < case.config.recent_blocks or any(b.warming for b in recent):
        return None
    started = sum(b.canary.started for b in recent if b.canary)
    if started < _STARTED_ENOUGH:
        return None
    for metric in case.config.metrics:
        without = all(b.canary is not None and b.canary.known(metric.name) is None for b in recent)
        with_stable = all(b.stable is not None and b.stable.known(metric.name) is not None for b in recent)
        if without and with_stable:
            message = f"{started:.0f} requests started on the canary, but it has no counts ({metric.label}); stable has"
            return "CanarySilent", message
    return None


def stale(case: Case) -> Said:
    """Nothing is known of the last minute: what was good before proves nothing now."""
    blocks = case.window.blocks
    if not blocks:
        return None
    age = case.window.now - blocks[-1].end
    allowed = case.config.recent_blocks * case.config.interval_seconds
    # abs(): a clock that jumped back must not make an old answer look new for ever. NaN is stale as well.
    if not abs(age) <= allowed:
        return "Stale", f"the latest block ended {age:.0f} s ago"
    full = len(case.recent) >= case.config.recent_blocks
    if full and not any(b.canary is not None and b.stable is not None for b in case.recent):
        return "NoData", f"no complete scrape for {allowed:.0f} s"
    return None


def custom(case: Case) -> tuple[MetricVerdict, ...]:
    """Judge the custom queries by their absolute limits."""
    return tuple(_custom(case=case, limit=limit) for limit in case.config.custom)


def _custom(*, case: Case, limit: CustomLimit) -> MetricVerdict:
    answers = case.window.custom.get(limit.name)
    values = answers.values if answers else ()
    latest = values[-1] if values else None
    if latest is None or not isfinite(latest):
        return MetricVerdict(name=limit.name, outcome="NoData", reason="CustomNoData", message="the query has no value")
    words = f"{latest:g}, allowed {_range(limit)}"
    if not _violates(value=latest, limit=limit):
        return MetricVerdict(name=limit.name, outcome="Pass", reason="WithinLimit", message=words, canary_ratio=latest)
    last = values[-_IN_A_ROW:]
    fails = len(last) == _IN_A_ROW and all(v is not None and _violates(value=v, limit=limit) for v in last)
    return MetricVerdict(
        name=limit.name,
        outcome="Fail" if fails else "Inconclusive",
        reason="LimitExceeded" if fails else "CustomAboveLimit",
        message=f"{words}; {_IN_A_ROW} intervals in a row fail",
        canary_ratio=latest,
    )


def _violates(*, value: float, limit: CustomLimit) -> bool:
    """NaN violates nothing: it is no answer."""
    return (limit.maximum is not None and value > limit.maximum) or (
        limit.minimum is not None and value < limit.minimum
    )


def _range(limit: CustomLimit) -> str:
    parts = [f"at least {limit.minimum:g}"] if limit.minimum is not None else []
    return " and ".join([*parts, *([f"at most {limit.maximum:g}"] if limit.maximum is not None else [])])


def _known(*, case: Case, measured: Measured) -> Sequence[Both]:
    """A cold cache makes requests slow, not wrong: errors and outputs count from the first request on."""
    pairs = case.pairs[measured.config.name]
    return [p for p in (pairs if not measured.config.latency else (pairs[i] for i in case.counted)) if p]


def _kinds(counts: Sequence[Counts]) -> str:
    """Name the parts of the bad events: " (30 empty, 2 abort)"."""
    parts: dict[str, float] = {}
    for one in counts:
        for kind, count in one.kinds.items():
            parts[kind] = parts.get(kind, 0.0) + count
    words = ", ".join(f"{count:.0f} {kind}" for kind, count in sorted(parts.items(), key=lambda kv: -kv[1]) if count)
    return f" ({words})" if words else ""
