"""The operator's own metrics. Must not hold values of Secrets or of requests.

Those of one LLMDeployment are read off its status: at most one series of each, gone when what it tells is over. They name
it by `model_namespace` and `llmdeployment`, because a scrape sets `namespace` to the operator's own.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from modelfleet.adapters.logs import configure_logging
from modelfleet.core import conditions as c
from modelfleet.core.observe import epoch
from modelfleet.shell.queue import Key

__all__ = [
    "DECISIONS",
    "DEGRADED",
    "LEADING",
    "LLMDEPLOYMENTS",
    "METRICS_AGE",
    "PASS_ERRORS",
    "PASS_SECONDS",
    "QUEUE_DEPTH",
    "ROLLOUT_HELD",
    "ROLLOUT_OVERRIDDEN",
    "ROLLOUT_STARTED",
    "ROLLOUT_WEIGHT",
    "configure_logging",
    "forget",
    "tell",
]

QUEUE_DEPTH = Gauge("modelfleet_queue_depth", "LLMDeployments that wait for a pass, due now or later.")
PASS_SECONDS = Histogram(
    "modelfleet_reconcile_seconds",
    "Seconds per pass over one LLMDeployment.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)
PASS_ERRORS = Counter("modelfleet_reconcile_errors_total", "Passes that ended early.", ["reason"])
DECISIONS = Counter("modelfleet_decisions_total", "Changes decided.", ["kind", "reason"])
LEADING = Gauge("modelfleet_leader", "1 while this process leads.")
METRICS_AGE = Gauge("modelfleet_metrics_answered_timestamp_seconds", "When Prometheus last answered, since the epoch.")

LLMDEPLOYMENTS = Gauge("modelfleet_llmdeployments", "LLMDeployments that this process looks after.")
_ONE = ("model_namespace", "llmdeployment")
_ONE_AND_WHY = (*_ONE, "reason")
DEGRADED = Gauge("modelfleet_degraded", "1 while a replica fails or a rollout does not get on.", _ONE_AND_WHY)
ROLLOUT_STARTED = Gauge(
    "modelfleet_rollout_started_timestamp_seconds", "When the rollout under way began, since the epoch.", _ONE
)
ROLLOUT_HELD = Gauge(
    "modelfleet_rollout_held_timestamp_seconds", "Since when the rollout is held up, since the epoch.", _ONE_AND_WHY
)
ROLLOUT_WEIGHT = Gauge("modelfleet_rollout_weight_ratio", "Share of the traffic for the revision that is new.", _ONE)
ROLLOUT_OVERRIDDEN = Gauge(
    "modelfleet_rollout_overridden", "1 while another revision is served than the spec asks for.", _ONE_AND_WHY
)

_told: dict[Key, dict[Gauge, tuple[str, ...]]] = {}


def tell(key: Key, status: Mapping[str, Any]) -> None:
    """Show one LLMDeployment's status, and take back what was shown of it and no longer holds."""
    now = {gauge: ((*key, *why), value) for gauge, why, value in _read(status)}
    for gauge, labels in _told.get(key, {}).items():
        if gauge not in now or now[gauge][0] != labels:
            gauge.remove(*labels)
    for gauge, (labels, value) in now.items():
        gauge.labels(*labels).set(value)
    _told[key] = {gauge: labels for gauge, (labels, _) in now.items()}
    LLMDEPLOYMENTS.set(len(_told))


def forget(key: Key) -> None:
    """Take back all that was shown of an LLMDeployment that is gone."""
    for gauge, labels in _told.pop(key, {}).items():
        gauge.remove(*labels)
    LLMDEPLOYMENTS.set(len(_told))


def _read(status: Mapping[str, Any]) -> Iterator[tuple[Gauge, tuple[str, ...], float]]:
    degraded, progressing = c.find(status, c.DEGRADED), c.find(status, c.PROGRESSING)
    if degraded.get("status") == "True":
        yield DEGRADED, (degraded["reason"],), 1.0
    elif progressing.get("reason") == "ProgressDeadlineExceeded":
        yield DEGRADED, (progressing["reason"],), 1.0
    rollout: Mapping[str, Any] = status.get("rollout") or {}
    if override := rollout.get("override"):
        yield ROLLOUT_OVERRIDDEN, (override.get("reason", ""),), 1.0
    if "startedAt" in rollout:
        yield ROLLOUT_STARTED, (), epoch(rollout["startedAt"])
        yield ROLLOUT_WEIGHT, (), rollout.get("weight", 0) / 100
    if "hold" in rollout:
        yield ROLLOUT_HELD, (rollout["hold"],), epoch(rollout.get("holdStartedAt"))
    elif "capacityWaitStartedAt" in rollout:  # a rollout without stages tells this hold by its time alone
        yield ROLLOUT_HELD, ("InsufficientCapacity",), epoch(rollout["capacityWaitStartedAt"])
