"""LLMDeployments in the middle of a rollout, written through the API's own models so that every field name is real."""

from __future__ import annotations

from typing import Any

from modelfleet.api.v1alpha1.status import (
    ActionStatus,
    AnalysisStatus,
    LLMDeploymentStatus,
    MetricResult,
    Override,
    RevisionStatus,
    RolloutStatus,
)

OLDEST, STABLE, CANARY = "0aaaaaaaaa", "1bbbbbbbbb", "2ccccccccc"
RESULTS = (
    MetricResult(
        name="ttft",
        verdict="Inconclusive",
        message="0.021 against 0.018, needs 120 more",
        canary_ratio=0.021,
        stable_ratio=0.018,
        canary_samples=340,
        stable_samples=1020,
    ),
    MetricResult(name="errors", verdict="Pass", canary_ratio=0.0, stable_ratio=0.001, canary_samples=340),
    MetricResult(name="my-own", verdict="NoData", reason="Empty"),
)


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    stamp = "2026-01-01T00:00:00Z"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": stamp}


def deployment(
    *conditions: dict[str, Any], generation: int = 3, rollout: RolloutStatus | None = None, other: str | None = None
) -> dict[str, Any]:
    """An LLMDeployment with a stable revision and, with a phase or its role given, another one."""
    revisions = [RevisionStatus(name=f"chat-{STABLE}", hash=STABLE, role="stable", replicas=3, ready=3)]
    if other or (rollout and rollout.phase):
        words = {"role": other or "canary", "replicas": 1, "ready": 0, "weight": 25}
        revisions.append(RevisionStatus(name=f"chat-{CANARY}", hash=CANARY, **words))
    status = LLMDeploymentStatus(
        observed_generation=3, phase="RollingOut", revisions=tuple(revisions), rollout=rollout, conditions=conditions
    )
    metadata = {"name": "chat", "namespace": "team-a", "generation": generation, "uid": "uid-1", "resourceVersion": "1"}
    return {"metadata": metadata, "status": status.manifest()}


def rolling(**more: Any) -> RolloutStatus:
    """A canary at its second step of three."""
    words = {"strategy": "Canary", "revision": CANARY, "phase": "Step", "step": 1, "steps": 3, "weight": 25}
    return RolloutStatus(**{**words, "previous": OLDEST, **more})


def replica_by_replica() -> dict[str, Any]:
    """One that is replaced without steps: status names no phase."""
    return deployment(rollout=RolloutStatus(strategy="RollingUpdate", previous=OLDEST), other="new")


def held() -> RolloutStatus:
    """One that waits, judged and asked for something."""
    return rolling(
        phase="Hold",
        hold="MinSamples",
        hold_started_at="2026-01-01T12:00:00Z",
        message="340 of 500 requests",
        plan="50 % in about 3 min",
        analysis=AnalysisStatus(
            verdict="Inconclusive", reason="MinSamples", seconds=120, latency_proven=True, results=RESULTS
        ),
        last_action=ActionStatus(id="7", result="Refused", message="nothing is paused"),
    )


def rolled_back(reason: str = "RolledBack") -> RolloutStatus:
    """One that is over, and serves another revision than the spec asks for."""
    override = Override(
        spec_revision=CANARY, revision=STABLE, reason=reason, message="errors: 9 of 50 against 1 of 900"
    )
    return RolloutStatus(override=override, previous=OLDEST)


def stored(revision: str, *, number: int, uid: str = "uid-1") -> dict[str, Any]:
    """A ControllerRevision."""
    return {
        "metadata": {
            "name": f"chat-{revision}",
            "uid": f"of-{revision}",
            "labels": {"modelfleet.dev/revision": revision},
            "annotations": {"modelfleet.dev/rendering-version": "4"},
            "ownerReferences": [{"uid": uid}],
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "revision": number,
        "data": {"template": {}},
    }


HISTORY = (stored(OLDEST, number=1), stored(CANARY, number=3), stored(STABLE, number=2))
