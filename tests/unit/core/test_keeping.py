"""What a revision change has had stays its own until it ends, and nothing beyond: seen in status, which the ledger reads."""

from typing import Any

import pytest

from modelfleet.core.plan import Scale
from modelfleet.core.quota import Left
from tests.unit.core.cluster import Cluster, running

IN_PLACE = {"capacity": "InPlace"}


def kept(cluster: Cluster) -> int:
    return int(cluster.status.get("rollout", {}).get("gpus", 0))


def turn(cluster: Cluster) -> None:
    cluster.reconcile()
    cluster.controllers()
    cluster.warm(count=1)
    cluster.now += 1


def watch(cluster: Cluster, *, had: int) -> None:
    """Let a change go to its end; all that it had stands in status whenever it gives something up."""
    before = cluster.revision
    cluster.change(engine={"args": ["--seed=2"]})
    given_up = 0
    for _ in range(60):
        said, ran = kept(cluster), {w.name: w.replicas for w in cluster.workloads.values()}
        scaled = [action for action in cluster.reconcile().actions if isinstance(action, Scale)]
        if any(action.replicas < ran[action.name] for action in scaled):
            assert said == had, cluster.status
            given_up += 1
        cluster.controllers()
        cluster.warm(count=1)
        cluster.now += 100
    assert given_up
    assert before not in {w.revision for w in cluster.workloads.values() if w.replicas}, cluster.shape()
    assert kept(cluster) == 0, cluster.status


@pytest.mark.parametrize("way", [IN_PLACE, {"maxUnavailable": 1}, {"strategy": "Recreate"}])
@pytest.mark.parametrize("replicas", [1, 3])
def test_it_stands_there_before_anything_is_given_up_and_goes_with_the_end(way: dict[str, Any], replicas: int) -> None:
    cluster = running(replicas=replicas, gpus=replicas + 1, rollout=way)
    assert kept(cluster) == 0
    watch(cluster, had=replicas)


@pytest.mark.parametrize("way", [{}, IN_PLACE, {"strategy": "BlueGreen", "blueGreen": {"autoPromote": True}}])
def test_a_rollout_in_stages_keeps_its_own_too(judged: Any, way: dict[str, Any]) -> None:
    cluster = judged(rollout={"scaleDownDelaySeconds": 0, **way}, gpus=4)
    watch(cluster, had=2)


def test_nothing_is_kept_beyond_what_a_quota_gives_and_what_is_wanted() -> None:
    cluster = running(replicas=3, rollout=IN_PLACE)
    cluster.extra["quotas"] = (Left(quota="gpus", left=0, hard=3),)
    cluster.change(model={"uri": "hf://org/other"}, replicas=8)
    turn(cluster)
    assert kept(cluster) == 3
    cluster.change(replicas=2)
    turn(cluster)
    assert kept(cluster) == 2


def test_a_spare_device_and_replicas_without_a_node_are_not_kept() -> None:
    cluster = running(replicas=2, gpus=3, rollout={"capacity": "Surge"})
    cluster.change(model={"uri": "hf://org/other"})
    for _ in range(3):
        turn(cluster)
        assert cluster.used <= 3
        assert kept(cluster) == 2
    cluster = running(replicas=2, gpus=2, rollout={"capacity": "Surge"})
    cluster.change(model={"uri": "hf://org/other"}, replicas=3)
    for _ in range(3):
        turn(cluster)
        assert kept(cluster) == 2, cluster.shape()


def test_the_size_of_what_runs_counts_not_that_of_what_comes() -> None:
    cluster = running(replicas=2, rollout=IN_PLACE, parallelism={"tensor": 4})
    cluster.change(parallelism={"tensor": 1}, replicas=8)
    turn(cluster)
    assert kept(cluster) == 8, "not 8 replicas of 4"
    cluster = running(replicas=2, rollout=IN_PLACE)
    cluster.change(parallelism={"tensor": 4})
    turn(cluster)
    assert kept(cluster) == 2


def test_it_costs_no_write_of_its_own() -> None:
    cluster = running(replicas=2, gpus=2, rollout={"capacity": "Auto"})
    cluster.change(model={"uri": "hf://org/other"})
    turn(cluster)
    turn(cluster)
    writes = cluster.status_writes
    for _ in range(5):
        turn(cluster)
    assert (kept(cluster), cluster.status_writes) == (2, writes), "it waits for a device"
