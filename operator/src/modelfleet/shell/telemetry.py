"""The operator's own metrics. Must not hold values of Secrets or of requests."""

from prometheus_client import Counter, Gauge, Histogram

from modelfleet.adapters.logs import configure_logging

__all__ = ["DECISIONS", "LEADING", "METRICS_AGE", "PASS_ERRORS", "PASS_SECONDS", "QUEUE_DEPTH", "configure_logging"]

QUEUE_DEPTH = Gauge("modelfleet_queue_depth", "LLMDeployments that wait for a pass.")
PASS_SECONDS = Histogram(
    "modelfleet_reconcile_seconds",
    "Seconds per pass over one LLMDeployment.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)
PASS_ERRORS = Counter("modelfleet_reconcile_errors_total", "Passes that ended early.", ["reason"])
DECISIONS = Counter("modelfleet_decisions_total", "Changes decided.", ["kind", "reason"])
LEADING = Gauge("modelfleet_leader", "1 while this process leads.")
METRICS_AGE = Gauge("modelfleet_metrics_answered_timestamp_seconds", "When Prometheus last answered, since the epoch.")
