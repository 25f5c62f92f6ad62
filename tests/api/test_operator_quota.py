"""Devices that nodes have and that must not be taken: a namespace's quota, a budget, nodes that the template excludes."""

from __future__ import annotations

import pytest

from tests.api.fleet import Fleet, Operator

pytestmark = pytest.mark.slow

NAMESPACE = "quota"
QUOTA = f"/api/v1/namespaces/{NAMESPACE}/resourcequotas/gpus"
METRICS = [{"type": "QueueDepth", "target": 5}]


@pytest.fixture(scope="module")
def fleet(control_plane):
    return Fleet(plane=control_plane, namespace=NAMESPACE)


@pytest.fixture(scope="module")
def accelerator(fleet):
    return fleet.add_gpus(12)


@pytest.fixture(scope="module", autouse=True)
def operator(control_plane, fleet, tmp_path_factory):
    with Operator(
        plane=control_plane,
        folder=tmp_path_factory.mktemp("operator"),
        user="operator-quota",
        namespace=NAMESPACE,
        watch_namespaces=NAMESPACE,
        debounce_seconds="0.1",
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def emptied(fleet):
    """Nothing of one test claims anything in the next."""
    yield
    fleet.clear()
    fleet.plane.http.delete(QUOTA)
    fleet.until(lambda: not fleet.list("pods"), what="the end of all pods")


def limit(fleet: Fleet, gpus: int) -> None:
    meta = {"name": "gpus", "namespace": NAMESPACE}
    words = {"hard": {"requests.nvidia.com/gpu": str(gpus)}}
    fleet.plane.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": words})

    def enforced() -> bool:
        status = fleet.plane.http.get(QUOTA).json().get("status") or {}
        return bool(status.get("hard") == words["hard"])

    fleet.until(enforced, what=f"a quota of {gpus}")


def said(fleet: Fleet, name: str) -> str:
    """What is missing, once something is."""
    fleet.until(lambda: fleet.condition("CapacityAvailable", name) == ("False", "InsufficientGPU"), what="a hold")
    return str(fleet.whole_condition("CapacityAvailable", name)["message"])


def refused(fleet: Fleet) -> list[str]:
    """Pods that the API server did not take because of the quota."""
    return [e["message"] for e in fleet.list("events") if "exceeded quota" in e.get("message", "")]


@pytest.mark.parametrize("capacity", ["Auto", "Surge"])
def test_a_rollout_waits_for_its_quota_and_says_so(fleet, accelerator, capacity):
    name = f"one-{capacity.lower()}"
    limit(fleet, 2)
    fleet.apply(name, accelerator=accelerator, rollout={"capacity": capacity})
    fleet.await_settled(name)
    fleet.change(name)
    assert "quota gpus leaves 0 of 2 nvidia.com/gpu; raise it" in said(fleet, name)
    limit(fleet, 3)
    fleet.await_settled(name)
    assert refused(fleet) == []


def test_rollouts_at_once_never_claim_the_same_device_of_a_quota(fleet, accelerator):
    names = [f"many-{number}" for number in range(4)]
    limit(fleet, 9)
    for name in names:
        fleet.apply(name, accelerator=accelerator)
    for name in names:
        fleet.await_settled(name)
    mark = fleet.mark()
    for name in names:
        fleet.change(name)
    for name in names:
        fleet.await_settled(name)
    assert refused(fleet) == []
    assert max(len(state) for state in fleet.history(mark)) == 9, "the one that was left was used"


def test_more_replicas_than_the_quota_has_are_not_asked_for(fleet, accelerator):
    limit(fleet, 2)
    fleet.apply("wide", accelerator=accelerator, replicas=3)
    assert said(fleet, "wide").endswith("quota gpus leaves 0 of 2 nvidia.com/gpu; raise it, or lower the replicas")
    assert refused(fleet) == []
    limit(fleet, 3)
    fleet.await_settled("wide", replicas=3)


def test_a_rollout_stays_within_its_budget(fleet, accelerator):
    scaling = {"minReplicas": 2, "maxReplicas": 4, "maxGPUs": 2, "metrics": METRICS}
    fleet.apply("budget", accelerator=accelerator, scaling=scaling)
    fleet.await_settled("budget")
    mark = fleet.mark()
    fleet.change("budget")
    assert "scaling.maxGPUs leaves 0 of 2 nvidia.com/gpu; raise it" in said(fleet, "budget")
    assert max(len(state) for state in fleet.history(mark)) == 2
    fleet.patch("llmdeployments", "budget", {"spec": {"scaling": {"maxGPUs": 3}}})
    fleet.await_settled("budget")
    assert max(len(state) for state in fleet.history(mark)) == 3


def test_a_tainted_node_counts_for_a_template_that_tolerates_it_and_for_no_other(fleet):
    accelerator = {"count": 1, "product": f"GPU-{NAMESPACE}"}
    fleet.plane.kubectl("taint", "node", NAMESPACE, "team=llm:NoSchedule")
    try:
        tolerant = {"spec": {"tolerations": [{"key": "team", "operator": "Exists"}]}}
        fleet.apply("tolerant", accelerator=accelerator, template=tolerant)
        fleet.await_settled("tolerant")
        fleet.change("tolerant")
        fleet.await_settled("tolerant")
    finally:
        fleet.plane.kubectl("taint", "node", NAMESPACE, "team-")
    narrow = {"spec": {"nodeSelector": {"kubernetes.io/hostname": "elsewhere"}}}
    fleet.apply("narrow", accelerator=accelerator, rollout={"maxSurge": 1})
    fleet.await_settled("narrow")
    fleet.patch("llmdeployments", "narrow", {"spec": {"template": narrow}})
    fleet.until(lambda: fleet.condition("CapacityAvailable", "narrow") == ("False", "NoSuchNode"), what="the refusal")
    assert len(fleet.pods("narrow")) == 2, "no pod is asked for that no node takes"
