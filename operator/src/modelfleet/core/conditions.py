"""Conditions of an LLMDeployment: their types, and how they change without churn.

Must not decide which condition holds: `core/report.py` does.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

READY = "Ready"
PROGRESSING = "Progressing"
DEGRADED = "Degraded"
CAPACITY = "CapacityAvailable"
METRICS = "MetricsAvailable"
VALID = "Valid"
ROUTE = "RouteAccepted"
DRIFTED = "Drifted"
SUSPENDED = "Suspended"
MODEL_LOADED = "ModelLoaded"

MESSAGE_LIMIT = 1024


def timestamp(now: float) -> str:
    """Write a time as Kubernetes does.

    >>> timestamp(0.0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(int(now), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(now: float) -> str:
    """Write a time to the microsecond, where an order within one second matters.

    >>> moment(0.25)
    '1970-01-01T00:00:00.250000Z'
    """
    return datetime.fromtimestamp(now, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def condition(kind: str, status: bool | None, reason: str, message: str = "") -> dict[str, Any]:  # noqa: FBT001 - a condition's status reads best in place
    """Write one condition; None is Unknown."""
    word = "Unknown" if status is None else str(status)
    return {"type": kind, "status": word, "reason": reason, "message": message[:MESSAGE_LIMIT]}


def settle(
    *, wanted: Iterable[Mapping[str, Any]], before: Iterable[Mapping[str, Any]], now: float, generation: int
) -> list[dict[str, Any]]:
    """Add generation and transition times: a time changes only when the status word does."""
    old = {c.get("type"): c for c in before}
    settled = []
    for one in wanted:
        was = old.get(one["type"])
        same = was is not None and was.get("status") == one["status"] and "lastTransitionTime" in was
        when = was["lastTransitionTime"] if same and was is not None else timestamp(now)
        settled.append({**one, "observedGeneration": generation, "lastTransitionTime": when})
    return settled


def find(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Find a condition in a status; an empty one when it is not there."""
    return next((c for c in status.get("conditions") or () if c.get("type") == kind), {})
