"""Revisions whose replicas have different numbers of devices: a budget or quota counts each with its own."""

from typing import Any

import pytest

from modelfleet.core.quota import Left
from tests.unit.core.cluster import Cluster, words
from tests.unit.core.staged_cluster import StagedCluster, scripted

METRICS = [{"type": "QueueDepth", "target": 5}]
BIGGER = {"accelerator": {"count": 4}}
CLOSED = {"window": {"cron": "0 0 1 1 *", "durationMinutes": 1}}
STEPS = {"strategy": "Canary", "canary": {"steps": [{"weight": 50}]}, "scaleDownDelaySeconds": 0}


def busy(*, budget: int, replicas: int = 6, rollout: dict[str, Any] | None = None, **more: Any) -> Any:
    """So many replicas, and nothing that says that fewer would do."""
    scaling = {"minReplicas": replicas, "maxReplicas": 8, "maxGPUs": budget, "metrics": METRICS}
    cluster = StagedCluster(spec=words(replicas=None, scaling=scaling, rollout=rollout or {}, **more), gpus=60)
    cluster.settle()
    cluster.change(scaling=scaling | {"minReplicas": 1})
    return cluster


def within(cluster: Cluster, **changes: Any) -> None:
    cluster.change(scaling=cluster.spec["scaling"] | changes)


def left(devices: int) -> dict[str, Any]:
    return {"quotas": (Left(quota="gpus", left=devices, hard=8),)}


def told(cluster: Cluster) -> str:
    found = cluster.condition("CapacityAvailable")
    return "" if found["status"] == "True" else str(found["message"])


@pytest.mark.parametrize("rollout", [{}, {"maxUnavailable": 1}, {"capacity": "InPlace"}, STEPS, STEPS | CLOSED, CLOSED])
def test_who_serves_is_not_taken_away_for_a_revision_that_needs_more_devices(rollout: dict[str, Any]) -> None:
    with scripted():
        cluster = busy(budget=6, rollout=rollout)
        cluster.change(**BIGGER)
        loss = 1 if {"maxUnavailable", "capacity"} & rollout.keys() else 0
        for _ in range(30):
            cluster.turn()
            assert cluster.ready() >= 6 - loss, cluster.counts()
        assert cluster.revision not in cluster.counts()
        if rollout.keys() & CLOSED.keys():
            return
        assert (
            f"needs 4 nvidia.com/gpu and scaling.maxGPUs leaves {loss} of 6 nvidia.com/gpu; raise it, or lower the"
            in (told(cluster))
        )
        within(cluster, maxReplicas=1)  # the load would have to fall as far
        cluster.history()
        assert cluster.counts() == {cluster.revision: 1}


def test_a_larger_budget_lets_it_go_on() -> None:
    cluster = busy(budget=6)
    cluster.change(**BIGGER)
    cluster.settle()
    within(cluster, maxGPUs=28)
    cluster.settle()
    assert cluster.counts() == {cluster.revision: 6}


def test_one_that_needs_fewer_devices_replaces_all_before_there_are_more() -> None:
    cluster = busy(budget=9, replicas=2, **BIGGER)
    within(cluster, minReplicas=7)
    cluster.change(accelerator={"count": 1})
    seen = [cluster.counts() for _ in range(12) if cluster.turn()]
    replacing = [counts for counts in seen if counts.keys() - {cluster.revision}]
    assert {sum(counts.values()) for counts in replacing} == {2, 3}
    assert seen[-1] == {cluster.revision: 7}


def aborted(**more: Any) -> Any:
    """Five replicas of before are served instead of a revision that the budget or quota had no room for."""
    cluster = StagedCluster(spec=words(replicas=5, rollout=STEPS, **more), gpus=60)
    cluster.settle()
    before, _ = cluster.update()
    cluster.extra = left(0)
    cluster.turn()
    cluster.act_on("abort 1")
    cluster.history()
    assert cluster.counts() == {before: 5}
    return cluster, before


def test_what_is_served_instead_grows_by_its_own_devices() -> None:
    with scripted():
        cluster, before = aborted(accelerator={"count": 1})
        cluster.change(replicas=8)
        override = cluster.status["rollout"]["override"]
        cluster.spec |= BIGGER
        cluster.status["rollout"]["override"] = override | {"specRevision": cluster.revision}
        cluster.extra = left(3)
        cluster.turn()
        assert cluster.counts() == {before: 8}


def test_what_is_served_instead_asks_for_no_more_than_its_own_devices() -> None:
    with scripted():
        cluster, before = aborted(accelerator={"count": 4})
        cluster.change(replicas=6)
        override = cluster.status["rollout"]["override"]
        cluster.spec |= {"accelerator": {"count": 1}}
        cluster.status["rollout"]["override"] = override | {"specRevision": cluster.revision}
        cluster.extra = left(3)
        plan = cluster.turn()
        assert cluster.counts() == {before: 5}
        assert told(cluster).startswith("a new replica needs 4 nvidia.com/gpu and quota gpus leaves 3 of 8")
        assert plan.requeue_after is not None


def waiting(why: str) -> Any:
    """Five replicas serve while a revision with four devices each may not begin."""
    cluster = Cluster(spec=words(replicas=5, rollout=CLOSED if why == "window" else {}), gpus=60)
    cluster.settle()
    cluster.change(replicas=8, **BIGGER)
    cluster.extra = {"rejected": {cluster.revision: "no such field"}} if why == "refused" else {}
    return cluster


@pytest.mark.parametrize("why", ["window", "refused"])
def test_who_serves_meanwhile_grows_as_far_as_a_quota_goes_and_says_where_it_ends(why: str) -> None:
    cluster = waiting(why)
    cluster.extra |= left(2)
    cluster.reconcile()
    assert sum(w.replicas for w in cluster.workloads.values()) == 7
    cluster.extra |= left(0)
    plan = cluster.settle()
    assert told(cluster) == (
        "a new replica needs 1 nvidia.com/gpu and quota gpus leaves 0 of 8 nvidia.com/gpu; raise it, or lower the replicas"
    )
    assert plan.requeue_after is not None
    assert plan.requeue_after <= 30, "a raised quota has to be noticed"
    cluster.extra |= left(1)
    cluster.reconcile()
    assert sum(w.replicas for w in cluster.workloads.values()) == 8
    assert not told(cluster)


def test_stable_grows_beside_its_canary_by_its_own_devices() -> None:
    pause = STEPS | {"canary": {"steps": [{"weight": 20}, {"pause": {}}, {"weight": 50}]}}
    with scripted():
        cluster = StagedCluster(spec=words(replicas=4, rollout=pause, **BIGGER), gpus=60)
        cluster.settle()
        old = cluster.revision
        cluster.change(accelerator={"count": 1})
        cluster.until(lambda: cluster.rollout.get("phase") == "Paused")
        assert cluster.counts() == {old: 4, cluster.revision: 1}
        cluster.change(replicas=8)
        cluster.extra = left(7)
        cluster.turn()
        assert cluster.counts()[old] == 5, "seven devices are one replica of four"
