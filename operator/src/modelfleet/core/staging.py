"""What status says of a rollout in stages: roles, phase, hold, plan, and the conditions that follow.

Beside `report`, which puts it into the status, and `progress`, which words a rolling update. Must not decide.
"""

from collections.abc import Mapping
from typing import Any

from modelfleet.api.v1alpha1.base import MESSAGE_LIMIT
from modelfleet.core import conditions as c
from modelfleet.core.assess import notes
from modelfleet.core.failures import Failure
from modelfleet.core.rolling import Rollout
from modelfleet.core.rollout.memory import written
from modelfleet.core.routing.provider import provider
from modelfleet.core.world import Snapshot

NEW = {"Canary": "canary", "BlueGreen": "preview"}
"""What the revision that takes over is called, by strategy."""
MOST_RESULTS, MOST_NOTES = 32, 8


def role(snapshot: Snapshot, *, revision: str, rollout: Rollout) -> str:
    """Name a revision's part."""
    if revision == rollout.stable:
        return "stable"
    strategy = snapshot.spec.rollout.strategy if snapshot.spec else ""
    new = NEW.get(strategy, "new") if rollout.weights is not None else "new"
    return new if revision == rollout.revision else "old"


def said(snapshot: Snapshot, *, rollout: Rollout, progress: Mapping[str, Any]) -> dict[str, Any]:
    """Put what is remembered, and what people want to know, into `status.rollout`.

    Args:
        snapshot: the LLMDeployment.
        rollout: what this pass does.
        progress: what `progress.rollout` says; its message may be an old one.
    """
    words = {
        "phase": rollout.phase,
        "steps": rollout.steps,
        "message": rollout.message,
        "plan": rollout.plan,
        "strategy": snapshot.spec.rollout.strategy if snapshot.spec and rollout.phase else "",
    }
    shown: dict[str, Any] = {key: value for key, value in words.items() if value}
    told: dict[str, Any] = dict(progress)
    if rollout.weights is not None and not rollout.targets.hold:
        told.pop("message", None)
    told |= shown | written(rollout.memory)
    alone = rollout.phase and snapshot.spec and snapshot.spec.rollout.strategy == "BlueGreen"
    if snapshot.spec and (alone or told.get("analysis", {}).get("results")):
        gateway = provider(snapshot.spec, gateway_url=snapshot.settings.gateway_url) == "Gateway"
        if noted := list(notes(snapshot.spec, gateway=gateway)):
            told["analysis"] = told.get("analysis", {}) | {"notes": noted}
    return {key: _bounded(value) for key, value in told.items()}


def _bounded(value: Any, *, most: int = MOST_RESULTS) -> Any:
    """Cut what is longer than the API takes: a status that is refused would hide, and forget, everything."""
    match value:
        case str():
            return value[:MESSAGE_LIMIT]
        case list():
            return [_bounded(one) for one in value[:most]]
        case dict():
            return {k: _bounded(v, most=MOST_NOTES if k == "notes" else MOST_RESULTS) for k, v in value.items()}
    return value


def progressing(rollout: Rollout) -> dict[str, Any] | None:
    """Word the condition Progressing; None where a rolling update's words fit."""
    memory = rollout.memory
    if not rollout.phase or not memory.revision:
        return None
    if memory.hold == "InsufficientCapacity":
        return None
    reason = memory.hold or ("RevisionRollingOut" if rollout.phase != "Suspended" else "Suspended")
    return c.condition(c.PROGRESSING, True, reason, rollout.message)  # noqa: FBT003 - see condition()


def degraded(rollout: Rollout) -> Failure | None:
    """Say that something else is served than the spec asks for, and why, when a rollout failed."""
    override = rollout.memory.override
    if override is None or override.reason == "RollbackTo":
        return None
    message = f"revision {override.revision} is served instead of {override.spec_revision}: {override.message}"
    return Failure(
        reason=override.reason,
        message=f"{message}; change the spec, or try again by rollback-to {override.spec_revision}",
    )
