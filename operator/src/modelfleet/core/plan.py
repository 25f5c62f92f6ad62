"""What a decision answers: an ordered, immutable list of writes, the status, and why.

`shell/execute.py` carries it out. A plan must not hold anything that only works in this process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelfleet.core.scaling.target import Recommendation


@dataclass(frozen=True, kw_only=True)
class Create:
    """POST a new object; an existing one answers 409 and the plan is dropped."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """Ask the API server whether it would take this manifest; a refusal ends the plan and marks the revision."""

    manifest: Mapping[str, Any]
    revision: str


@dataclass(frozen=True, kw_only=True)
class Apply:
    """Server-side apply a whole object over the one seen at `resource_version`."""

    manifest: Mapping[str, Any]
    resource_version: str


@dataclass(frozen=True, kw_only=True)
class RestoreTemplate:
    """Put a Deployment's stored pod template back, whatever was added to it or removed."""

    name: str
    resource_version: str
    template: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Set a Deployment's replicas through its scale subresource."""

    name: str
    resource_version: str
    replicas: int


@dataclass(frozen=True, kw_only=True)
class Rotate:
    """Take a pod out of its Services and order it first for deletion, or put it back."""

    pod: str
    resource_version: str
    in_rotation: bool


@dataclass(frozen=True, kw_only=True)
class Delete:
    """Delete exactly this object (by UID), and what it owns."""

    api_version: str
    kind: str
    name: str
    uid: str


Action = Create | DryRun | Apply | RestoreTemplate | Scale | Rotate | Delete


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a plan does something: one line for status, Event and log."""

    kind: str
    reason: str
    message: str
    before: str = ""
    after: str = ""
    warning: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole answer of one pass."""

    actions: tuple[Action, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()
    history: tuple[Recommendation, ...] = ()
    requeue_after: float | None = None
    """Seconds until time alone may change the answer; None when only an event can."""
