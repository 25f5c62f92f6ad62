"""Counts API calls from the API server's audit log (`ControlPlane(audit=True)`); reads that file and nothing else.

A call counts when it is complete; a watch, which may never be, when it has started.

    mark = audit.end(plane.audit_log)
    ...
    calls = audit.calls(plane.audit_log, since=mark)
    audit.writes(calls, user="operator")
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

FORBIDDEN = 403
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


class Call(NamedTuple):
    """What is told apart when calls are counted; `resource` includes a subresource, as in `pods/status`."""

    user: str
    verb: str
    resource: str
    code: int


def end(log: Path) -> int:
    """Where the log ends now, in bytes: the mark from which `calls` counts later."""
    return log.stat().st_size if log.exists() else 0


def calls(log: Path, *, since: int = 0) -> Counter[Call]:
    """Counts the calls logged after the mark; a line that is still being written is left for the next count."""
    return Counter(filter(None, map(read, _events(log, since=since))))


def succeeded(log: Path, *, since: int = 0) -> Iterator[dict[str, Any]]:
    """Gives the completed, successful calls on objects that were logged after the mark, as the server wrote them."""
    for event in _events(log, since=since):
        code = event.get("responseStatus", {}).get("code", 0)
        if event["stage"] == "ResponseComplete" and "objectRef" in event and 200 <= code < 300:
            yield event


def moment(event: dict[str, Any]) -> float:
    """When the server had answered, in seconds since the epoch."""
    return datetime.fromisoformat(event["stageTimestamp"]).timestamp()


def refused(log: Path, *, user: str) -> set[str]:
    """What a user asked for and did not get, each as `VERB ADDRESS`."""
    with log.open("rb") as file:
        events = [json.loads(line) for line in file if user.encode() in line and line.endswith(b"\n")]
    return {
        f"{event['verb']} {event['requestURI']}"
        for event in events
        if event["user"]["username"] == user and event.get("responseStatus", {}).get("code") == FORBIDDEN
    }


def _events(log: Path, *, since: int) -> Iterator[dict[str, Any]]:
    """Every whole line after the mark; one that is still being written is left."""
    with log.open("rb") as file:
        file.seek(since)
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def read(event: dict[str, Any]) -> Call | None:
    """Reads one audit event; None when another event of the same request is the one that counts.

    >>> status = {"objectRef": {"resource": "pods", "subresource": "status"}, "responseStatus": {"code": 200}}
    >>> read({"user": {"username": "kwok"}, "verb": "patch", "stage": "ResponseComplete"} | status)
    Call(user='kwok', verb='patch', resource='pods/status', code=200)
    >>> read({"user": {"username": "kwok"}, "verb": "watch", "stage": "ResponseComplete"} | status)
    """
    verb = event["verb"]
    if event["stage"] != ("ResponseStarted" if verb == "watch" else "ResponseComplete"):
        return None
    target = event.get("objectRef", {})
    resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
    return Call(
        user=event["user"]["username"],
        verb=verb,
        resource=resource or event["requestURI"].split("?")[0],
        code=event.get("responseStatus", {}).get("code", 0),
    )


def writes(counted: Counter[Call], *, user: str, leases: bool = False) -> int:
    """Sums a user's successful writes: of Leases when `leases`, else of everything but Leases."""
    return sum(
        number
        for call, number in counted.items()
        if call.user == user
        and call.verb in WRITES
        and call.code < 300
        and call.resource.startswith("leases") is leases
        and not call.resource.startswith(("subjectaccessreviews", "selfsubjectaccessreviews", "tokenreviews"))
    )
