"""Pods that the API server refuses to create: status says why, and they come by themselves once the obstacle is gone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from modelfleet.core.failures import ADVICE
from tests.api.fleet import Fleet, Operator, ready

pytestmark = pytest.mark.slow

names = (f"refused-{number}" for number in itertools.count())
TOLD = {"Degraded": ("True", "PodsRefused"), "Ready": ("False", "PodsRefused")}
FINE = {"Degraded": ("False", "AsExpected"), "Ready": ("True", "AllReplicasReady")}


@pytest.fixture(scope="module")
def operator(control_plane, tmp_path_factory):
    folder = tmp_path_factory.mktemp("operator")
    settings = {"user": "operator-refused", "debounce_seconds": "0.1", "tick_seconds": "3600"}
    with Operator(plane=control_plane, folder=folder, **settings) as running:
        yield running


@pytest.fixture
def fleet(operator, control_plane):
    fleet = Fleet(plane=control_plane, namespace=next(names))
    yield fleet
    fleet.clear()
    fleet.plane.http.delete(f"/apis/scheduling.k8s.io/v1/priorityclasses/{fleet.namespace}")


def quota(fleet: Fleet, **hard: str) -> None:
    """A ResourceQuota, once it is enforced."""
    path = f"/api/v1/namespaces/{fleet.namespace}/resourcequotas/few"
    meta = {"name": "few", "namespace": fleet.namespace}
    fleet.plane.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard}})

    def enforced() -> bool:
        return bool((fleet.plane.http.get(path).json().get("status") or {}).get("hard") == hard)

    fleet.until(enforced, what=f"a quota of {hard}")


def level(fleet: Fleet, enforce: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": enforce}
    fleet.plane.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": fleet.namespace, "labels": labels}}
    )


def priority_class(fleet: Fleet) -> None:
    body = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": fleet.namespace}}
    fleet.plane.apply(body | {"value": 1})


def service_account(fleet: Fleet) -> None:
    meta = {"name": "late", "namespace": fleet.namespace}
    fleet.plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})


def conditions(fleet: Fleet) -> dict[str, tuple[str, str]]:
    return {kind: fleet.condition(kind) for kind in TOLD}


def tries(fleet: Fleet) -> int:
    """How often Kubernetes tried to make a pod in vain."""
    return sum(one.get("count", 1) for one in fleet.list("events") if one["reason"] == "FailedCreate")


OBSTACLES: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "quota": (
        lambda fleet: quota(fleet, pods="0"), lambda fleet: quota(fleet, pods="9"),
        {}, "exceeded quota: few, requested: pods=1, used: pods=0, limited: pods=0",
    ),
    "quota of ReplicaSets": (
        lambda fleet: quota(fleet, **{"count/replicasets.apps": "0"}),
        lambda fleet: quota(fleet, **{"count/replicasets.apps": "9"}),
        {}, "exceeded quota: few, requested: count/replicasets.apps=1",
    ),
    "pod security": (
        lambda fleet: level(fleet, "baseline"), lambda fleet: level(fleet, "privileged"),
        {"hostPID": True}, 'violates PodSecurity "baseline:latest": host namespaces (hostPID=true)',
    ),
    "priority class": (
        lambda fleet: None, priority_class,
        {"priorityClassName": "{namespace}"}, "no PriorityClass with name {namespace} was found",
    ),
    "service account": (
        lambda fleet: None, service_account,
        {"serviceAccountName": "late"}, 'serviceaccount "late" not found',
    ),
}  # fmt: skip
"""What puts it there, what takes it away, what the pods say, and what Kubernetes says."""


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_pods_that_are_refused_are_told_and_come_when_the_obstacle_is_gone(fleet, obstacle):
    put, remove, pod, words = OBSTACLES[obstacle]
    put(fleet)
    pod = {
        key: value.format(namespace=fleet.namespace) if isinstance(value, str) else value for key, value in pod.items()
    }
    fleet.apply(accelerator=fleet.add_gpus(2), template={"spec": pod})
    fleet.until(lambda: conditions(fleet) == TOLD, what="what refuses the pods")
    message = fleet.whole_condition("Degraded")["message"]
    assert words.format(namespace=fleet.namespace) in message
    assert message.endswith(f"; {ADVICE['PodsRefused']}")
    assert not fleet.pods()
    remove(fleet)
    fleet.await_settled()
    fleet.until(lambda: conditions(fleet) == FINE, what="the end of it in status")
    told = [one["reason"] for one in fleet.list("events") if one["involvedObject"]["kind"] == "LLMDeployment"]
    assert told.count("PodsRefused") == 1
    assert "ReplicasLoading" not in told, "they were ready at once"


def test_that_kubernetes_tries_again_and_again_costs_no_write(fleet):
    quota(fleet, pods="0")
    fleet.apply(accelerator=fleet.add_gpus(2))
    fleet.until(lambda: conditions(fleet) == TOLD, what="what refuses the pods")
    before, seen = tries(fleet), fleet.get("llmdeployments", "chat")["metadata"]["resourceVersion"]
    fleet.until(lambda: tries(fleet) > before + 1, what="two more tries")
    assert fleet.get("llmdeployments", "chat")["metadata"]["resourceVersion"] == seen


def test_a_rollout_that_a_quota_blocks_takes_nothing_from_what_serves(fleet):
    fleet.apply(accelerator=fleet.add_gpus(4))
    fleet.await_settled()
    quota(fleet, pods="2")
    mark = fleet.mark()
    fleet.change()
    fleet.until(lambda: fleet.condition("Degraded") == TOLD["Degraded"], what="what refuses the pods")
    assert fleet.condition("Ready") == FINE["Ready"]
    quota(fleet, pods="9")
    fleet.await_settled()
    fleet.until(lambda: conditions(fleet) == FINE, what="the end of it in status")
    assert min(sum(map(ready, state)) for state in fleet.history(mark)) == 2
