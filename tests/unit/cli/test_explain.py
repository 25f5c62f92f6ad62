"""`explain` tells the causes from status alone, causes before consequences."""

from __future__ import annotations

from typing import Any

from modelfleet.cli.explain import explain, findings
from modelfleet.core.failures import ADVICE as FAILURES

GENERATION = 3


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": GENERATION}


def deployment(*conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "chat", "namespace": "team-a", "generation": GENERATION},
        "status": {"observedGeneration": GENERATION, "conditions": list(conditions), **status},
    }


def test_one_that_serves_has_nothing_that_stands_out():
    told = explain(
        deployment(
            condition("Ready", "True", "AllReplicasReady"),
            condition("Valid", "True", "Valid"),
            condition("Progressing", "False", "UpToDate"),
            condition("MetricsAvailable", "Unknown", "NotNeeded"),
            condition("Degraded", "False", "AsExpected"),
            phase="Ready",
            replicas=2,
            readyReplicas=2,
            updatedReplicas=2,
            gpus=2,
            url="http://chat.team-a.svc",
        )
    )
    assert told.splitlines()[0] == "chat in team-a: Ready, nothing stands out"
    assert "2 of 2 ready, 2 on the newest revision, 2 GPUs" in told
    assert "http://chat.team-a.svc" in told
    assert "What stands out" not in told


def test_the_cause_comes_before_its_consequence():
    found = findings(
        deployment(
            condition("Ready", "False", "ReplicaFailed"),
            condition("Degraded", "True", "ModelNotFound", "file:///models/nope: no such folder"),
        )["status"]
    )
    assert [f.type for f in found] == ["Degraded", "Ready"]


def test_a_failure_is_told_with_its_message_and_what_to_do():
    told = explain(deployment(condition("Degraded", "True", "OutOfMemory", "no room for the KV cache"), phase="Failed"))
    assert told.splitlines()[0] == "chat in team-a: Failed, because Degraded is True (OutOfMemory)"
    assert "no room for the KV cache" in told
    assert "What to do: Lower --max-model-len" in told


def test_waiting_for_a_gpu_names_the_two_ways_on():
    told = explain(deployment(condition("Progressing", "Unknown", "WaitingForCapacity", "1 of nvidia.com/gpu missing")))
    assert "1 of nvidia.com/gpu missing" in told
    assert "InPlace" in told
    assert "maxUnavailable" in told


def test_an_unknown_reason_is_told_without_advice():
    told = explain(deployment(condition("Degraded", "True", "NeverHeardOf", "words")))
    assert "Degraded is True (NeverHeardOf)" in told
    assert "What to do" not in told


def test_a_newer_spec_than_observed_is_said():
    obj = deployment(condition("Ready", "True", "AllReplicasReady"))
    obj["metadata"]["generation"] = 4
    assert "generation 3 of 4" in explain(obj)


def test_without_status_the_operator_is_the_one_to_look_at():
    told = explain({"metadata": {"name": "chat", "namespace": "team-a", "generation": 1}})
    assert "not seen by the operator yet" in told
    assert "leader" in told


def test_one_that_is_going_away_says_so():
    obj = deployment(condition("Ready", "True", "AllReplicasReady"))
    obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert "being deleted" in explain(obj).splitlines()[0]


def test_decisions_are_told_newest_first():
    told = explain(
        deployment(
            phase="Ready",
            decisions=[
                {"time": "2026-01-01T10:00:00Z", "kind": "Scale", "from": 1, "to": 2, "reason": "QueueDepth"},
                {"time": "2026-01-01T11:00:00Z", "kind": "Scale", "from": 2, "to": 1, "reason": "QueueDepth"},
            ],
            scaling={"desired": 1, "binding": "QueueDepth", "lastScaleTime": "2026-01-01T11:00:00Z"},
            revisions=[{"name": "chat-1a2b3c4d5e", "role": "stable", "replicas": 1, "ready": 1}],
        )
    )
    assert told.index("Scale 2 -> 1") < told.index("Scale 1 -> 2")
    assert "1 wanted, because of QueueDepth" in told
    assert "chat-1a2b3c4d5e  stable  1 of 1 ready" in told


def test_advice_that_the_message_gives_is_not_repeated():
    message = f"CUDA out of memory: {FAILURES['OutOfMemory']}"
    told = explain(deployment(condition("Degraded", "True", "OutOfMemory", message), phase="Failed"))
    assert told.lower().count("lower --max-model-len") == 1


def test_a_rollout_tells_its_plan():
    told = explain(deployment(rollout={"plan": "1 more replica of chat-1a2b3c4d5e, then 1 less of the old"}))
    assert "Rollout\n  Next: 1 more replica" in told
