"""A new revision where no GPU is free: it waits and says what is missing, or goes in place, and never leaves a claim."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.cluster import external, whole
from e2e.holder import held, holding, release, users
from e2e.llm import Llm, leaving, ready, uids, unschedulable

pytestmark = pytest.mark.skipif(external.configured() is not None, reason="takes every GPU that there is")
WAITS = ("False", "InsufficientGPU")


@pytest.fixture(scope="module")
def full(shared: Llm) -> Iterator[Llm]:
    """One ready replica, and a pod of somebody else that holds every other GPU.

    It is there first: the operator lists the pods of others at most every 15 seconds.
    """
    with holding(shared, left=1):
        shared.have(replicas=1)
        assert held(users()) == whole.gpus()
        yield shared


def test_in_place_the_old_replica_goes_first(full: Llm) -> None:
    """Given a change that waits for a GPU, when it may go in place, then the old goes first, that is told, it serves."""
    before = uids(full.pods())
    full.patch({"rollout": {"capacity": "Auto"}})
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


def test_it_waits_for_a_gpu_and_goes_on_when_one_is_free(full: Llm) -> None:
    """Given no free GPU, when the spec changes, then it waits, serves and tells two ways on, until one is given back."""
    full.patch({"rollout": {"capacity": "Auto"}})
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
