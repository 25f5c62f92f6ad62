"""The operator's own metrics and structured logs. Must not hold values of Secrets or of requests."""

import logging
import sys

import structlog
from prometheus_client import Counter, Gauge, Histogram

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


def configure_logging(*, level: int = logging.INFO) -> None:
    """Write one JSON object a line to standard error; kopf's records go the same way."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("kopf").setLevel(logging.WARNING)
