"""From signals to a replica count: the HPA's arithmetic with a memory, limits and a refusal to guess.

Called by `decide()` with the metrics of one LLMDeployment; the shell keeps `history` in memory between calls. Nothing
here is persisted: after a restart the history is empty and `observed_since` is new, so the first stabilisation window
gives no scale-down (the HPA gets the same effect by recording the current count as its first recommendation).

The steps, each a small function: reckon every metric (`hpa.py`) -> the largest wins -> while any value is missing the
count may rise but not fall -> the largest recommendation of the window holds a fall back -> a rise is limited to
max(4 replicas, 100 %) per 15 s, the HPA's default -> bounds. Bounds are the user's word and apply without metrics.
Must not read a clock, and must not remember anything outside what it returns.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, assert_never

from modelfleet.core.scaling.hpa import (
    UP_PERIOD_SECONDS,
    UP_REPLICAS,
    Recommendation,
    Usage,
    remember,
    replicas_for,
    stabilize,
    up_limit,
)
from modelfleet.core.scaling.inputs import MetricTarget, PodState, ScalingInputs, ScalingResult
from modelfleet.core.scaling.signals import STALE_AFTER_SECONDS

__all__ = ["MetricTarget", "PodState", "Recommendation", "ScalingInputs", "ScalingResult", "scale"]

# A pod is scraped for the first time up to one interval after it became ready, and the answer is one tick old.
SCRAPE_GRACE_SECONDS: Final = 60.0
_NAMED_PODS: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """One metric's outcome: a usage, a problem, or both (partial data)."""

    metric: MetricTarget
    usage: Usage | None
    reason: str = ""
    message: str = ""

    @property
    def complete(self) -> bool:
        return self.usage is not None and not self.usage.missing


def scale(inputs: ScalingInputs) -> ScalingResult:
    """Decide the replica count.

    Two replicas with 12 waiting each at a target of 5 want ceil(2 * 2.4) = 5:

    >>> from modelfleet.core.scaling.signals import Signals
    >>> def at(values, **more):
    ...     return scale(ScalingInputs(**{**dict(now=1000.0, current=2, min_replicas=1, max_replicas=8,
    ...         pods=(PodState(name="a", ready=True), PodState(name="b", ready=True)),
    ...         metrics=(MetricTarget(type="QueueDepth", target=5),), stabilization_seconds=300, history=(),
    ...         observed_since=0.0, signals=Signals(observed_at=1000.0, values={"QueueDepth": values})), **more}))
    >>> result = at({"a": 12, "b": 12})
    >>> result.desired, result.reason, result.message
    (5, 'ScaleUp', '2 -> 5: QueueDepth 12 per replica, target 5')

    Idle for longer than the window means down to the minimum, but not in the first window after a restart:

    >>> at({"a": 0, "b": 0}).desired, at({"a": 0, "b": 0}, observed_since=900.0).reason
    (1, 'Stabilizing')

    A missing value is no zero:

    >>> result = at({"a": 0})
    >>> result.desired, result.metrics_reason, result.metrics_message
    (2, 'PartialData', 'QueueDepth: no value for 1 of 2 ready replicas (b); check that Prometheus scrapes it')
    """
    readings = tuple(_read(inputs=inputs, metric=metric) for metric in inputs.metrics)
    usages = [reading for reading in readings if reading.usage is not None]
    best = max(usages, key=_asked, default=None)
    asked = _asked(best) if best else inputs.current
    blind = not readings or not all(reading.complete for reading in readings)
    # What cannot be seen must not lower, and is remembered as "keep": an outage also restarts the window.
    recommendation = max(asked, inputs.current) if blind else asked
    latest = Recommendation(time=inputs.now, replicas=recommendation, current=inputs.current)
    history = remember(history=inputs.history, latest=latest, window=inputs.stabilization_seconds)
    stabilized = stabilize(history=history, window=inputs.stabilization_seconds, since=inputs.observed_since)
    limited = min(stabilized, up_limit(history=history))
    advised = min(max(limited, inputs.min_replicas), inputs.max_replicas)
    clipped = _clipped(inputs=inputs, stabilized=stabilized, limited=limited, advised=advised)
    metrics_reason, metrics_message = _availability(readings)
    reason = _reason(
        inputs=inputs,
        asked=asked,
        recommendation=recommendation,
        advised=advised,
        metrics_reason=metrics_reason,
    )
    return ScalingResult(
        desired=_applied(inputs=inputs, advised=advised),
        advised=advised,
        recommendation=recommendation,
        binding=best.metric.type if best else "",
        reason=reason,
        message=_message(
            inputs=inputs, best=best, recommendation=recommendation, advised=advised, reason=reason, clipped=clipped
        ),
        clipped=clipped,
        metrics_available=metrics_reason == "Available",
        metrics_reason=metrics_reason,
        metrics_message=metrics_message,
        history=history,
    )


def _asked(reading: _Reading) -> int:
    return reading.usage.replicas if reading.usage else 0


def _applied(*, inputs: ScalingInputs, advised: int) -> int:
    match inputs.mode:
        case "Auto":
            return advised
        case "Advise":
            return inputs.current
    assert_never(inputs.mode)


def _read(*, inputs: ScalingInputs, metric: MetricTarget) -> _Reading:
    """Reckon one metric, or say why it cannot be."""
    signals = inputs.signals
    if signals is None:
        message = f"{metric.type}: Prometheus has not been asked yet"
        return _Reading(metric=metric, usage=None, reason="AwaitingData", message=message)
    if error := signals.errors.get(metric.type):
        return _Reading(metric=metric, usage=None, reason="QueryFailed", message=f"{metric.type}: {error}")
    # abs(): a clock that jumped back must not make an old answer look new for ever.
    if not abs(inputs.now - signals.observed_at) <= STALE_AFTER_SECONDS:
        message = f"{metric.type}: no answer from Prometheus in the last {STALE_AFTER_SECONDS:g} s"
        return _Reading(metric=metric, usage=None, reason="Stale", message=message)
    ready = [pod.name for pod in inputs.pods if pod.ready]
    usage = replicas_for(
        current=inputs.current,
        ready=ready,
        unready=[pod.name for pod in inputs.pods if not pod.ready],
        values=signals.values.get(metric.type, {}),
        target=metric.target,
    )
    late = _late(inputs=inputs, missing=usage.missing if usage else tuple(ready))
    if usage is None and not late:
        message = f"{metric.type}: no replica has been ready for long enough to be measured"
        return _Reading(metric=metric, usage=None, reason="AwaitingData", message=message)
    if not late:
        return _Reading(metric=metric, usage=usage)
    shown = ", ".join(late[:_NAMED_PODS]) + (", ..." if len(late) > _NAMED_PODS else "")
    return _Reading(
        metric=metric,
        usage=usage,
        reason="PartialData" if usage else "NoData",
        message=f"{metric.type}: no value for {len(late)} of {len(ready)} ready replicas ({shown}); "
        "check that Prometheus scrapes " + ("it" if len(late) == 1 else "them"),
    )


def _late(*, inputs: ScalingInputs, missing: Iterable[str]) -> tuple[str, ...]:
    """Missing replicas that should have been scraped by now, sorted."""
    since = {pod.name: pod.ready_since if pod.ready_since is not None else pod.started_at for pod in inputs.pods}

    def due(name: str) -> bool:
        at = since[name]
        return at is None or inputs.now - at >= SCRAPE_GRACE_SECONDS

    return tuple(sorted(name for name in missing if due(name)))


def _clipped(*, inputs: ScalingInputs, stabilized: int, limited: int, advised: int) -> str:
    if advised > limited:
        return "MinReplicas"
    if advised < limited:
        return "MaxReplicas"
    return "UpLimit" if limited < stabilized and advised < inputs.max_replicas else ""


def _availability(readings: tuple[_Reading, ...]) -> tuple[str, str]:
    """Sum the readings up for the MetricsAvailable condition; the first problem names the reason."""
    problems = [reading for reading in readings if reading.reason]
    if problems:
        return problems[0].reason, "; ".join(reading.message for reading in problems)
    if not readings:
        return "NoData", "spec.scaling.metrics is empty: nothing to scale on"
    return "Available", "every metric has recent values"


def _reason(*, inputs: ScalingInputs, asked: int, recommendation: int, advised: int, metrics_reason: str) -> str:
    """Name the one thing that explains the count best."""
    current = inputs.current
    if current < inputs.min_replicas:
        return "BelowMinimum"
    if current > inputs.max_replicas:
        return "AboveMaximum"
    if advised != current:
        return "ScaleUp" if advised > current else "ScaleDown"
    if metrics_reason not in ("Available", "AwaitingData"):
        return "MetricsUnavailable"
    if current > inputs.min_replicas and recommendation < current:
        return "Stabilizing"
    new_unseen = current > inputs.min_replicas and asked < current
    return "AwaitingData" if new_unseen or metrics_reason == "AwaitingData" else "Unchanged"


def _message(
    *, inputs: ScalingInputs, best: _Reading | None, recommendation: int, advised: int, reason: str, clipped: str
) -> str:
    """Tell the decision in one line: the counts, the binding metric, and what held or cut it."""
    parts = [f"{inputs.current} -> {advised}" if advised != inputs.current else f"stays at {inputs.current}"]
    if best is not None and best.usage is not None:
        parts.append(f"{best.metric.type} {best.usage.average:.3g} per replica, target {best.metric.target:g}")
    notes = {
        "AwaitingData": "new replicas have no values yet, so it may rise but not fall",
        "MetricsUnavailable": "metrics are missing, so it may rise but not fall",
        "Stabilizing": f"{recommendation} wanted, held for {inputs.stabilization_seconds:g} s without a higher wish",
        "BelowMinimum": f"minReplicas is {inputs.min_replicas}",
        "AboveMaximum": inputs.bound,
    }
    cuts = {
        "MinReplicas": f"{recommendation} wanted, minReplicas is {inputs.min_replicas}",
        "MaxReplicas": f"{recommendation} wanted, {inputs.bound}",
        "UpLimit": f"{recommendation} wanted, at most {UP_REPLICAS} more or twice as many in {UP_PERIOD_SECONDS:g} s",
    }
    note = notes.get(reason) or cuts.get(clipped)
    if note:
        parts.append(note)
    if inputs.mode == "Advise":
        parts.append("mode Advise: nothing is changed")
    return parts[0] + ": " + "; ".join(parts[1:]) if len(parts) > 1 else parts[0]
