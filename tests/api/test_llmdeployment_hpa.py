"""A real HorizontalPodAutoscaler reads and sets an LLMDeployment through /scale, and a real operator carries it out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.process import wait_until
from tests.api.fleet import Fleet, Operator

pytestmark = pytest.mark.slow

NAMESPACE = "hpa"
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


@pytest.fixture
def fleet(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Fleet]:
    """A namespace with an operator of its own."""
    fleet = Fleet(plane=control_plane, namespace=NAMESPACE)
    where = {"namespace": NAMESPACE, "watch_namespaces": NAMESPACE}
    with Operator(plane=control_plane, folder=tmp_path, user="operator-hpa", debounce_seconds="0.1", **where):
        yield fleet


def test_an_hpa_sets_replicas_and_refuses_what_scaling_decides(control_plane: ControlPlane, fleet: Fleet) -> None:
    control_plane.apply(llmdeployment("hpa-fixed", replicas=1))
    control_plane.apply(
        llmdeployment("hpa-auto", scaling={"maxReplicas": 2, "metrics": [{"type": "QueueDepth", "target": 5}]})
    )
    fleet.await_settled("hpa-fixed", replicas=1)
    for name in ("hpa-fixed", "hpa-auto"):
        control_plane.apply(hpa(name))

    def status(name: str) -> dict[str, Any]:
        path = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers/{name}"
        found: dict[str, Any] = control_plane.http.get(path).json().get("status", {})
        return found

    def condition(name: str, kind: str) -> dict[str, Any]:
        return next((each for each in status(name).get("conditions", []) if each["type"] == kind), {})

    fleet.await_settled("hpa-fixed", replicas=3)
    able = "AbleToScale"
    wait_until(lambda: condition("hpa-fixed", able).get("status") == "True", what=able, seconds=SYNC_SECONDS)
    # It sees what runs, by the operator's word, and knows which pods to measure: only their metrics are missing here.
    counted = "the HPA to count three replicas"
    wait_until(lambda: status("hpa-fixed").get("currentReplicas") == 3, what=counted, seconds=SYNC_SECONDS)
    assert condition("hpa-fixed", "ScalingActive")["reason"] == "FailedGetResourceMetric"
    wait_until(lambda: condition("hpa-auto", able).get("status") == "False", what="the refusal", seconds=SYNC_SECONDS)
    assert 'the spec replicas field ".spec.replicas" does not exist' in condition("hpa-auto", able)["message"]
