"""The subresources of LLMDeployment and its face in kubectl, on a real kube-apiserver."""

import subprocess
from typing import Any

import httpx
import pytest

from e2e.cluster.api_only import ApiServer
from modelfleet.api.v1alpha1.status import LLMDeploymentStatus

COLLECTION = "/apis/modelfleet.dev/v1alpha1/namespaces/default/llmdeployments"
FIXED = {"replicas": 1}
SCALED = {"scaling": {"maxReplicas": 3, "metrics": [{"type": "QueueDepth", "target": 5}]}}
STATUS = {
    "observedGeneration": 1,
    "phase": "Ready",
    "url": "http://chat.default.svc",
    "replicas": 2,
    "readyReplicas": 1,
    "updatedReplicas": 2,
    "selector": "modelfleet.dev/llmdeployment=chat",
    "gpus": 2,
    "revisions": [
        {"name": "chat-a1b2c3d4e5", "hash": "a1b2c3d4e5", "role": "stable", "replicas": 2, "ready": 1},
        {"name": "chat-0000000000", "hash": "0000000000", "role": "old", "replicas": 0, "ready": 0},
    ],
    "rollout": {"strategy": "RollingUpdate", "plan": "create 1", "stepStartedAt": "2026-05-01T08:00:00Z"},
    "scaling": {"desired": 2, "binding": "QueueDepth", "lastScaleTime": "2026-05-01T08:00:00Z"},
    "decisions": [
        {
            "time": "2026-05-01T08:00:00Z",
            "kind": "Scale",
            "from": "1",
            "to": "2",
            "reason": "QueueDepth",
            "message": "waiting 12 / target 5",
        }
    ],
    "conditions": [
        {
            "type": "Ready",
            "status": "Unknown",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-05-01T08:00:00Z",
            "reason": "Loading",
            "message": "1 of 2 replicas load the model",
        }
    ],
}


def manifest(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "modelfleet.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"model": {"uri": "hf://org/name"}, **spec},
    }


def apply_status(api: ApiServer, name: str, status: dict[str, Any]) -> httpx.Response:
    body = {key: value for key, value in manifest(name).items() if key != "spec"}
    return api.http.patch(
        f"{COLLECTION}/{name}/status",
        params={"fieldManager": "modelfleet", "force": "true"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        json=body | {"status": status},
    )


def replicas(api: ApiServer, name: str) -> int | None:
    found: int | None = api.http.get(f"{COLLECTION}/{name}").json()["spec"].get("replicas")
    return found


def test_kubectl_scale_sets_replicas(api: ApiServer) -> None:
    api.apply(manifest("scale-fixed", **FIXED))
    assert "scaled" in api.kubectl("scale", "llmdep/scale-fixed", "--replicas=3")
    assert replicas(api, "scale-fixed") == 3


def test_kubectl_scale_goes_down_to_zero_and_back(api: ApiServer) -> None:
    api.apply(manifest("scale-zero", **FIXED))
    api.kubectl("scale", "llmdep/scale-zero", "--replicas=0")
    assert replicas(api, "scale-zero") == 0
    api.kubectl("scale", "llmdep/scale-zero", "--replicas=1")
    assert replicas(api, "scale-zero") == 1


def test_with_scaling_there_is_nothing_to_scale_by_hand(api: ApiServer) -> None:
    api.apply(manifest("scale-auto", **SCALED))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        api.kubectl("scale", "llmdep/scale-auto", "--replicas=3")
    assert "spec.scaling decides the replicas; remove it to use replicas, kubectl scale" in refused.value.stderr
    assert replicas(api, "scale-auto") is None
    asked = api.http.get(f"{COLLECTION}/scale-auto/scale")  # what an external HPA asks first
    assert 'the spec replicas field ".spec.replicas" does not exist' in asked.json()["message"]


def test_scaling_past_the_bound_is_refused(api: ApiServer) -> None:
    api.apply(manifest("scale-far", **FIXED))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        api.kubectl("scale", "llmdep/scale-far", "--replicas=100000")
    assert "should be less than or equal to 1000" in refused.value.stderr
    assert replicas(api, "scale-far") == 1


def test_the_scale_subresource_reports_status(api: ApiServer) -> None:
    api.apply(manifest("scale-read", **FIXED))
    assert apply_status(api, "scale-read", STATUS).is_success
    scale = api.http.get(f"{COLLECTION}/scale-read/scale").json()
    assert scale["spec"] == {"replicas": 1}
    assert scale["status"] == {"replicas": 2, "selector": "modelfleet.dev/llmdeployment=chat"}


def test_the_whole_status_is_stored_and_leaves_the_generation(api: ApiServer) -> None:
    api.apply(manifest("status-whole", **FIXED))
    answer = apply_status(api, "status-whole", STATUS)
    assert answer.is_success, answer.text
    stored = answer.json()
    assert stored["status"] == STATUS
    assert stored["metadata"]["generation"] == 1
    assert LLMDeploymentStatus.model_validate(stored["status"]).conditions[0].reason == "Loading"


def test_what_the_models_write_is_stored_unchanged_and_again_is_no_write(api: ApiServer) -> None:
    api.apply(manifest("status-models", **FIXED))
    written = LLMDeploymentStatus.model_validate(STATUS).manifest()
    first = apply_status(api, "status-models", written).json()
    assert first["status"] == written
    second = apply_status(api, "status-models", written).json()
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_a_status_in_the_users_manifest_is_ignored(api: ApiServer) -> None:
    stored = api.apply(manifest("status-users", **FIXED) | {"status": {"phase": "Ready"}})
    assert "status" not in stored


def test_two_appliers_own_different_fields_and_a_conflict_names_the_owner(api: ApiServer) -> None:
    api.apply(manifest("ssa", engine={"env": [{"name": "A", "value": "1"}]}, **FIXED), field_manager="git")
    partial = manifest("ssa")
    partial["spec"] = {"engine": {"env": [{"name": "B", "value": "2"}]}}
    stored = api.apply(partial, field_manager="ops")
    assert stored["spec"]["engine"]["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    partial["spec"] = {"replicas": 5}
    answer = api.http.patch(
        f"{COLLECTION}/ssa",
        params={"fieldManager": "ops"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        json=partial,
    )
    assert answer.status_code == 409
    assert 'conflict with "git": .spec.replicas' in answer.json()["message"]


def test_applying_the_same_manifest_again_writes_nothing(api: ApiServer) -> None:
    body = manifest("ssa-again", drain={"timeoutSeconds": 60}, **FIXED)
    assert api.apply(body)["metadata"]["resourceVersion"] == api.apply(body)["metadata"]["resourceVersion"]


def test_switching_from_replicas_to_scaling_in_one_apply(api: ApiServer) -> None:
    api.apply(manifest("switch", **FIXED))
    stored = api.apply(manifest("switch", **SCALED))
    assert "replicas" not in stored["spec"]
    assert "scaling" in stored["spec"]


def test_kubectl_shows_the_columns(api: ApiServer) -> None:
    api.apply(manifest("columns", **FIXED))
    apply_status(api, "columns", STATUS)
    header, row = api.kubectl("get", "llmdep", "columns").splitlines()
    assert header.split() == ["NAME", "MODEL", "REPLICAS", "READY", "PHASE", "REVISION", "AGE"]
    assert row.split()[:6] == ["columns", "hf://org/name", "2", "1", "Ready", "a1b2c3d4e5"]
    header, row = api.kubectl("get", "llmdep", "columns", "--output=wide").splitlines()
    assert {"GPUS", "WEIGHT", "URL"} <= set(header.split())
    assert "http://chat.default.svc" in row
    apply_status(api, "columns", STATUS | {"rollout": STATUS["rollout"] | {"weight": 25}})  # type: ignore[operator]
    header, row = api.kubectl("get", "llmdep", "columns", "--output=wide").splitlines()
    assert row.split()[header.split().index("WEIGHT")] == "25"


def test_kubectl_explain_has_the_words_of_the_models(api: ApiServer) -> None:
    explained = " ".join(api.kubectl("explain", "llmdep.spec.drain.timeoutSeconds").split())
    assert "Seconds that requests in flight get to finish. Default: 120." in explained


def test_kubectl_wait_reads_the_conditions(api: ApiServer) -> None:
    api.apply(manifest("wait", **FIXED))
    ready = STATUS["conditions"][0] | {"status": "True", "reason": "AllReady"}  # type: ignore[index]
    apply_status(api, "wait", STATUS | {"conditions": [ready]})
    assert "condition met" in api.kubectl("wait", "--for=condition=Ready", "llmdep/wait", "--timeout=60s")


def test_kubectl_refuses_a_misspelt_field(api: ApiServer) -> None:
    body = "apiVersion: modelfleet.dev/v1alpha1\nkind: LLMDeployment\nmetadata: {name: typo}\n"
    body += "spec: {model: {uri: 'hf://org/name'}, replicas: 1, scalling: {}}\n"
    with pytest.raises(subprocess.CalledProcessError) as refused:
        api.kubectl("apply", "--filename=-", stdin=body)
    assert 'unknown field "spec.scalling"' in refused.value.stderr
