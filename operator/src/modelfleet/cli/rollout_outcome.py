"""Tells from the status of an LLMDeployment whether its rollout has ended, and how.

Sits in the CLI, beside `rollout_view`, and is pure. It must not wait: `rollout_actions` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelfleet.cli.rollout_view import behind, instead, position, rollout_of, serving, suspended, taking_over
from modelfleet.core import conditions as c

Json = Mapping[str, Any]

AFTER_THE_END: Final = "Draining"
"""The phase in which the new revision has taken over and only the old one is still to leave."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a rollout ended."""

    good: bool
    message: str


def outcome(obj: Json) -> Outcome | None:
    """Tell how the rollout ended; None while it goes on, or waits for a person.

    >>> outcome({"metadata": {"generation": 2}, "status": {"observedGeneration": 1}})
    >>> outcome({"metadata": {"generation": 2}, "status": {"observedGeneration": 2}}).good
    True
    """
    status: Json = obj.get("status") or {}
    rollout = rollout_of(obj)
    promoted = rollout.get("phase") == AFTER_THE_END and not taking_over(status)
    degraded, progressing = c.find(status, c.DEGRADED), c.find(status, c.PROGRESSING)
    if behind(obj) or not status or suspended(status):
        return None
    if problem := _no_way_on(status):
        return Outcome(good=False, message=problem)
    if (position(status) and not promoted) or _may_switch_back(obj):
        return None
    if override := rollout.get("override"):
        return Outcome(good=override.get("reason") == "RollbackTo", message=instead(override))
    if degraded.get("status") == "True":
        return Outcome(good=False, message=_told(degraded))
    starting = progressing.get("status", "False") != "False" and not promoted
    told = f"{serving(status) or 'the newest revision'} has taken over"
    return None if starting else Outcome(good=True, message=told)


def _may_switch_back(obj: Json) -> bool:
    """Whether a switch of two whole sets is still judged, and a broken limit takes it back without a person."""
    on_failure = ((obj.get("spec") or {}).get("rollout") or {}).get("onFailure", "Rollback")
    return bool(rollout_of(obj).get("watching")) and on_failure == "Rollback"


def _no_way_on(status: Json) -> str:
    valid, progressing = c.find(status, c.VALID), c.find(status, c.PROGRESSING)
    if valid.get("status") == "False":
        return _told(valid)
    return _told(progressing) if progressing.get("reason") == "ProgressDeadlineExceeded" else ""


def _told(condition: Json) -> str:
    return ": ".join(filter(None, (condition.get("reason", ""), condition.get("message", ""))))
