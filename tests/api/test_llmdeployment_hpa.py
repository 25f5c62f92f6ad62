"""A real HorizontalPodAutoscaler reads and sets an LLMDeployment through /scale."""

from typing import Any

from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.process import wait_until

NAMESPACE = "default"
SYNC_SECONDS = 60.0  # a limit for a busy machine; the controller looks every few seconds


def hpa(target: str) -> dict[str, Any]:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": target, "namespace": NAMESPACE},
        "spec": {
            "scaleTargetRef": {"apiVersion": "modelfleet.dev/v1alpha1", "kind": "LLMDeployment", "name": target},
            "minReplicas": 3,
            "maxReplicas": 5,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
                }
            ],
        },
    }


def llmdeployment(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "modelfleet.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"model": {"uri": "hf://org/name"}, **spec},
    }


def test_an_hpa_sets_replicas_and_refuses_what_scaling_decides(control_plane: ControlPlane) -> None:
    control_plane.apply(llmdeployment("hpa-fixed", replicas=1))
    control_plane.apply(
        llmdeployment("hpa-auto", scaling={"maxReplicas": 2, "metrics": [{"type": "QueueDepth", "target": 5}]})
    )
    for name in ("hpa-fixed", "hpa-auto"):
        control_plane.apply(hpa(name))

    def replicas() -> int:
        path = f"/apis/modelfleet.dev/v1alpha1/namespaces/{NAMESPACE}/llmdeployments/hpa-fixed"
        found: int = control_plane.http.get(path).json()["spec"]["replicas"]
        return found

    def able_to_scale(name: str) -> dict[str, Any]:
        path = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers/{name}"
        conditions = control_plane.http.get(path).json().get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == "AbleToScale"), {})

    wait_until(lambda: replicas() == 3, what="the HPA to lift replicas to its minimum", seconds=SYNC_SECONDS)
    wait_until(lambda: able_to_scale("hpa-fixed").get("status") == "True", what="AbleToScale", seconds=SYNC_SECONDS)
    wait_until(lambda: able_to_scale("hpa-auto").get("status") == "False", what="the refusal", seconds=SYNC_SECONDS)
    assert 'the spec replicas field ".spec.replicas" does not exist' in able_to_scale("hpa-auto")["message"]
