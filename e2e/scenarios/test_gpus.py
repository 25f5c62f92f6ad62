"""A new revision where no GPU is free: it waits and says what is missing, or goes in place, and never leaves a claim."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from e2e.conftest import Cluster
from e2e.doubles.gpus import RESOURCE
from e2e.llm import Llm, leaving, ready, uids, unschedulable

WAITS = ("False", "InsufficientGPU")


def taken(cluster: Cluster) -> int:
    """GPUs that pods hold or wait for, over all namespaces."""
    pods = json.loads(cluster.kubectl("get", "pods", "-A", "-o", "json"))["items"]
    return sum(
        int((container.get("resources", {}).get("limits") or {}).get(RESOURCE, 0))
        for pod in pods
        if pod["status"].get("phase") not in {"Failed", "Succeeded"}
        for container in pod["spec"]["containers"]
    )


def release(llm: Llm) -> None:
    llm.kubectl("delete", "pod", "holder", "--ignore-not-found", "--wait=true")


@pytest.fixture
def full(shared: Llm, modelfleet: Cluster, images: dict[str, str]) -> Iterator[Llm]:
    """One ready replica, and a pod of somebody else that holds every GPU that is left."""
    shared.have(replicas=1)
    shared.until("only its pod", lambda: len(shared.owned("pods")) == 1, seconds=120)
    left = modelfleet.allocatable() - taken(modelfleet)
    container = {
        "name": "holder",
        "image": images["PAUSE_IMAGE"],
        "imagePullPolicy": "IfNotPresent",
        "resources": {"limits": {RESOURCE: str(left)}},
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    metadata = {"name": "holder", "namespace": shared.namespace}
    modelfleet.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    phase = ("get", "pod", "holder", "-o", "jsonpath={.status.phase}")
    shared.until("the holder", lambda: shared.kubectl(*phase) == "Running")
    assert taken(modelfleet) == modelfleet.allocatable()
    yield shared
    release(shared)


def test_it_waits_for_a_gpu_and_goes_on_when_one_is_free(full: Llm) -> None:
    """Given no free GPU, when the spec changes, then it waits, serves and tells two ways on, until one is given back."""
    with full.watched() as states:
        full.change()
        full.until("the wait is told", lambda: full.condition("CapacityAvailable") == WAITS)
        assert full.condition("Progressing") == ("True", "WaitingForCapacity")
        assert "rollout.capacity: InPlace" in full.message("CapacityAvailable")
        assert "rollout.maxUnavailable: 1" in full.message("CapacityAvailable")
        assert full.condition("Ready")[0] == "True"
        release(full)
        full.await_settled(replicas=1)
    assert full.condition("CapacityAvailable") == ("True", "Fits")
    assert not [pod for state in states for pod in state.values() if unschedulable(pod)]
    assert min(sum(map(ready, state.values())) for state in states) == 1


def test_in_place_the_old_replica_goes_first(full: Llm) -> None:
    """Given a change that waits for a GPU, when it may go in place, then the old goes first, that is told, it serves."""
    before = uids(full.pods())
    with full.watched() as states:
        full.change()
        full.until("the wait is told", lambda: full.condition("CapacityAvailable") == WAITS)
        full.patch({"rollout": {"capacity": "InPlace"}})
        told = full.until("the gap is told", lambda: full.status()["readyReplicas"] == 0 and full.status())
        assert told["phase"] == "RollingOut"
        assert "in place" in told["rollout"]["message"]
        full.await_settled(replicas=1)
    assert not before & uids(full.pods())
    assert not [pod for state in states for pod in state.values() if unschedulable(pod)]
    alive = [sum(not leaving(pod) for pod in state.values()) for state in states]
    assert (min(alive), max(alive)) == (0, 1)
