"""What Argo CD shows of an LLMDeployment, in every phase that its status can tell."""

import re
from typing import Any

import pytest

from modelfleet.api.v1alpha1.status import LLMDeploymentStatus, Override, RolloutStatus
from tests.argocd.lua import health

FINE = {
    "Valid": ("True", "Valid"),
    "Ready": ("True", "AllReplicasReady"),
    "Progressing": ("False", "UpToDate"),
    "Degraded": ("False", "AsExpected"),
    "RouteAccepted": ("True", "Accepted"),
    "Suspended": ("False", "NotSuspended"),
}
ROLLING = {**FINE, "Progressing": ("True", "RevisionRollingOut")}


def llmdeployment(
    *, conditions: dict[str, tuple[str, str]], rollout: dict[str, Any] | None = None, generation: int = 3, **spec: Any
) -> dict[str, Any]:
    """An LLMDeployment as the API server would give it out."""
    told = [
        {
            "type": kind,
            "status": word,
            "reason": reason,
            "message": f"about {kind}",
            "observedGeneration": 3,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind, (word, reason) in conditions.items()
    ]
    status: dict[str, Any] = {"observedGeneration": 3, "conditions": told}
    if rollout is not None:
        status["rollout"] = rollout
    LLMDeploymentStatus.model_validate(status)  # a status that the operator can write
    return {
        "apiVersion": "modelfleet.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": "chat", "namespace": "team-a", "generation": generation},
        "spec": {"model": {"uri": "hf://a/b"}, "replicas": 2, **spec},
        "status": status,
    }


def test_before_the_operator_has_seen_it_it_is_progressing():
    new = llmdeployment(conditions={})
    del new["status"]
    assert health(new) == ("Progressing", "the operator has not seen this generation yet")


@pytest.mark.parametrize(
    "conditions",
    [FINE, {**FINE, "Ready": ("False", "OutOfMemory")}],
    ids=["fine", "failed"],
)
def test_a_change_that_the_operator_has_not_seen_is_progressing_whatever_was_before(conditions):
    assert health(llmdeployment(conditions=conditions, generation=4))[0] == "Progressing"


def test_when_all_replicas_are_ready_it_is_healthy():
    assert health(llmdeployment(conditions=FINE)) == ("Healthy", "AllReplicasReady: about Ready")


def test_a_status_without_conditions_is_progressing():
    assert health(llmdeployment(conditions={})) == ("Progressing", "the operator has not reported yet")


@pytest.mark.parametrize(
    ("kind", "word", "reason", "expected"),
    [
        ("Ready", "Unknown", "ReplicasLoading", "Progressing"),
        ("Ready", "False", "OutOfMemory", "Degraded"),
        ("Valid", "False", "TemplateInvalid", "Degraded"),
        ("RouteAccepted", "False", "ServedNameConflict", "Degraded"),
        ("RouteAccepted", "Unknown", "RouterUnverified", "Healthy"),
        ("Degraded", "True", "CrashLooping", "Degraded"),
        ("Progressing", "True", "ReplicasStarting", "Progressing"),
        ("Progressing", "True", "WaitingForCapacity", "Progressing"),
        ("Progressing", "False", "ProgressDeadlineExceeded", "Degraded"),
        ("MetricsAvailable", "False", "NoData", "Healthy"),
        ("CapacityAvailable", "False", "InsufficientGPU", "Healthy"),
        ("Drifted", "True", "TemplateEdited", "Healthy"),
    ],
)
def test_one_condition_decides(kind, word, reason, expected):
    found, message = health(llmdeployment(conditions={**FINE, kind: (word, reason)}))
    assert found == expected
    if expected != "Healthy":
        assert message == f"{reason}: about {kind}", "a person reads the operator's own words"


@pytest.mark.parametrize("conditions", [FINE, ROLLING, {**FINE, "Ready": ("False", "OutOfMemory")}])
def test_suspended_by_the_spec_is_suspended(conditions):
    assert health(llmdeployment(conditions=conditions, suspend=True)) == ("Suspended", "spec.suspend is true")
    assert health(llmdeployment(conditions=conditions, suspend=False))[0] != "Suspended"


ABORTED = {"specRevision": "b", "revision": "a", "reason": "Aborted", "message": "by hand"}
BESIDE: dict[str, dict[str, Any]] = {
    "Paused": {"paused": "ManualPause", "hold": "ManualPause"},
    "Hold": {"hold": "NoData"},
    "Aborting": {"override": ABORTED},
}
"""What status.rollout says beside these phases."""


def phases() -> list[str]:
    return re.findall(r"[A-Z]\w+", RolloutStatus.model_fields["phase"].description or "")


@pytest.mark.parametrize("phase", phases())
def test_every_phase_of_a_rollout(phase):
    rollout = {"revision": "b", "phase": phase, "startedAt": "2026-01-01T00:00:00Z", **BESIDE.get(phase, {})}
    expected = {"Paused": "Suspended", "Aborting": "Degraded"}.get(phase, "Progressing")
    assert health(llmdeployment(conditions=ROLLING, rollout=rollout))[0] == expected


def test_a_pause_that_ends_by_itself_is_progressing():
    assert health(llmdeployment(conditions=ROLLING, rollout={"revision": "b", "phase": "Paused"}))[0] == "Progressing"


def holds() -> list[str]:
    said = (RolloutStatus.model_fields["hold"].description or "").partition(":")[2]
    return re.findall(r"[A-Z]\w+", said)


@pytest.mark.parametrize("hold", holds())
def test_a_hold_is_progressing_and_says_why_but_a_persons_pause_is_suspended(hold):
    rollout = {"revision": "b", "hold": hold, "message": "12 of 50 requests"}
    found, message = health(llmdeployment(conditions=ROLLING, rollout=rollout))
    assert found == ("Suspended" if hold == "ManualPause" else "Progressing")
    assert message == f"{hold}: 12 of 50 requests"


@pytest.mark.parametrize("hold", holds())
def test_any_hold_that_waits_for_a_person_is_suspended(hold):
    rollout = {"revision": "b", "hold": hold, "paused": hold}
    assert health(llmdeployment(conditions=ROLLING, rollout=rollout)) == ("Suspended", hold)


def overrides() -> list[str]:
    return re.findall(r"[A-Z]\w+", Override.model_fields["reason"].description or "")


@pytest.mark.parametrize("reason", overrides())
def test_another_revision_than_git_asks_for_is_never_healthy_though_it_is_ready(reason):
    override = {"specRevision": "b", "revision": "a", "reason": reason, "message": "errors 4 % > 1 %"}
    found, message = health(llmdeployment(conditions=FINE, rollout={"override": override}))
    assert found == ("Suspended" if reason == "RollbackTo" else "Degraded")
    assert message == f"{reason}: errors 4 % > 1 %"


def test_a_failure_shows_through_a_pause():
    rollout = {"revision": "b", "paused": "ManualPause", "hold": "ManualPause"}
    conditions = {**ROLLING, "Ready": ("False", "ModelNotFound")}
    assert health(llmdeployment(conditions=conditions, rollout=rollout))[0] == "Degraded"
