"""What a decision answers: an ordered, immutable list of writes, the status, and why.

`shell/execute.py` carries it out. A plan must not hold anything that only works in this process.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, assert_never

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
class Select:
    """Make a Service select exactly these labels; an apply would leave what others, or an earlier wish, added."""

    service: str
    resource_version: str
    selector: Mapping[str, str]


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
    at: float = 0.0
    """When, in seconds since the epoch: written on a pod that leaves."""


@dataclass(frozen=True, kw_only=True)
class Delete:
    """Delete exactly this object (by UID), and what it owns."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class Relabel:
    """Put back what somebody took from the metadata of an object of ours, if it is there; nothing else of it changes."""

    manifest: Mapping[str, Any]
    """Its kind, and its metadata as it should be."""
    seen: bool
    """Whether the decision knew of it; else the plan was made without it, and is dropped once it is known again."""


Action = Create | DryRun | Apply | RestoreTemplate | Select | Scale | Rotate | Delete | Relabel


def target(action: Action) -> tuple[str, str]:
    """Give the kind and name of the object that an action writes."""
    match action:
        case Rotate():
            return "Pod", action.pod
        case Select():
            return "Service", action.service
        case Scale() | RestoreTemplate():
            return "Deployment", action.name
        case Delete():
            return action.kind, action.name
        case Create() | DryRun() | Apply() | Relabel():
            return str(action.manifest["kind"]), str(action.manifest["metadata"].get("name", ""))
        case _:
            assert_never(action)


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


def stages(actions: Iterable[Action]) -> list[tuple[Action, ...]]:
    """Order a plan's writes; those of one stage need nothing of each other and may be under way together.

    First the question whether the template is good, and what lost its labels is found; then the template is stored; then whatever else is new is created, all at
    once; then everything else, one by one as planned. A new replica waits for three answers, not for the slowest Service.
    """
    ordered = sorted(enumerate(actions), key=lambda item: (_stage(item[1]), item[0]))
    groups = groupby(ordered, key=lambda item: (_stage(item[1]), item[0] if _stage(item[1]) == LAST_STAGE else 0))
    return [tuple(action for _, action in group) for _, group in groups]


LAST_STAGE = 3


def _stage(action: Action) -> int:
    match action:
        case DryRun() | Relabel():
            return 0
        case Create():
            return {"ControllerRevision": 1, "HTTPRoute": LAST_STAGE}.get(action.manifest["kind"], 2)
        case _:
            return LAST_STAGE
