"""What no capacity goes beyond: the budget of scaling, and the quotas of the namespace."""

from dataclasses import replace

import pytest

from modelfleet.core import quota
from modelfleet.core.allowance import allowance, held
from modelfleet.core.quota import Left
from tests.unit.core.cluster import Cluster, words
from tests.unit.core.staged_cluster import StagedCluster, scripted, sized
from tests.unit.core.staged_promises import used

METRICS = [{"type": "QueueDepth", "target": 5}]
OTHER = {"uri": "hf://org/other"}
TWO_STEPS = {"strategy": "Canary", "canary": {"steps": [{"weight": 50}]}, "scaleDownDelaySeconds": 0}


def budgeted(*, budget, replicas=2, **more):
    scaling = {"minReplicas": replicas, "maxReplicas": 8, "maxGPUs": budget, "metrics": METRICS}
    return words(replicas=None, scaling=scaling, **more)


def limited(left, hard=4):
    return {"quotas": (Left(quota="gpus", left=left, hard=hard),)}


def held_up(cluster):
    message = cluster.condition("CapacityAvailable")["message"]
    assert cluster.condition("CapacityAvailable")["status"] == "False", cluster.status
    assert cluster.condition("Progressing")["message"] == message
    return message


@pytest.mark.parametrize("capacity", ["Auto", "Surge"])
def test_a_rollout_without_budget_for_its_surge_waits_and_says_so(capacity):
    cluster = Cluster(spec=budgeted(budget=2, rollout={"capacity": capacity}))
    cluster.settle()
    cluster.change(model=OTHER)
    plan = cluster.settle()
    assert "scaling.maxGPUs leaves 0 of 2 nvidia.com/gpu; raise it, or set rollout.capacity: InPlace" in held_up(
        cluster
    )
    assert len(cluster.pods) == 2
    assert plan.requeue_after is not None
    cluster.change(scaling=cluster.spec["scaling"] | {"maxGPUs": 3})
    cluster.settle()
    assert {p.revision for p in cluster.pods.values()} == {cluster.revision}


@pytest.mark.parametrize("rollout", [{"maxUnavailable": 1}, {"capacity": "InPlace"}, {"strategy": "Recreate"}])
def test_a_budget_without_surge_still_lets_replicas_be_replaced(rollout):
    cluster = Cluster(spec=budgeted(budget=2, rollout=rollout), drain=2)
    cluster.settle()
    cluster.change(model=OTHER)
    for _ in range(40):
        cluster.reconcile()
        cluster.controllers()
        assert len(cluster.pods) <= 2, "a replica that drains has its device"
        cluster.warm()
        cluster.now += 1
    assert [p.revision for p in cluster.pods.values()] == [cluster.revision] * 2
    assert cluster.condition("CapacityAvailable")["status"] == "True"


@pytest.mark.parametrize("rollout", [{}, TWO_STEPS])
def test_who_grows_again_waits_for_its_own_replica_that_still_drains(rollout):
    with scripted():
        cluster = StagedCluster(spec=words(**sized(2, budget=2), rollout=rollout), drain=8)
        cluster.settle()
        cluster.change(**sized(1, budget=2))
        cluster.until(lambda: any(p.terminating for p in cluster.pods.values()))
        cluster.change(**sized(2, budget=2))
        for _ in range(12):
            cluster.turn()
            assert used(cluster) <= 2, "the one that drains has its device"
            assert cluster.condition("CapacityAvailable")["status"] == "True", "it frees it by itself"
        cluster.settle()
    assert cluster.ready() == 2


def test_a_canary_waits_for_its_budget_in_words_of_its_own():
    with scripted():
        cluster = StagedCluster(spec=budgeted(budget=2, rollout=TWO_STEPS))
        cluster.settle()
        cluster.update()
        cluster.until(lambda: cluster.rollout.get("hold") == "InsufficientCapacity")
        assert "scaling.maxGPUs leaves 0 of 2 nvidia.com/gpu" in cluster.rollout["message"] + held_up(cluster)


@pytest.mark.parametrize("nodes", [{}, {"nodes_readable": False, "free_gpus": None, "largest_node": None}])
@pytest.mark.parametrize("capacity", ["Auto", "InPlace"])
def test_a_canary_whose_budget_is_used_up_takes_from_stable_what_may_be_missing(capacity, nodes):
    with scripted():
        rollout = TWO_STEPS | {"maxUnavailable": 1, "capacity": capacity}
        cluster = StagedCluster(spec=budgeted(budget=3, replicas=3, rollout=rollout), extra=nodes)
        cluster.settle()
        cluster.update()
        for _ in range(40):
            cluster.turn()
            assert used(cluster) <= 3
        assert cluster.counts() == {cluster.revision: 3}


@pytest.mark.parametrize("strategy", [{}, TWO_STEPS])
def test_surge_gives_up_nothing_first_and_names_the_capacities_that_do(strategy):
    with scripted():
        rollout = strategy | {"maxUnavailable": 1, "capacity": "Surge"}
        cluster = StagedCluster(spec=budgeted(budget=3, replicas=3, rollout=rollout))
        cluster.settle()
        cluster.update()
        for _ in range(10):
            cluster.turn()
            assert cluster.ready() == 3
        assert held_up(cluster).endswith(
            "leaves 0 of 3 nvidia.com/gpu; raise it, or set rollout.capacity: InPlace or Auto"
        )
        cluster.change(rollout=rollout | {"capacity": "Auto"})
        cluster.history()
        assert cluster.counts() == {cluster.revision: 3}


def test_a_preview_needs_budget_for_all_of_it_at_once():
    rollout = {"strategy": "BlueGreen", "blueGreen": {"autoPromote": True}, "capacity": "Surge"}
    with scripted():
        cluster = StagedCluster(spec=budgeted(budget=3, rollout=rollout))
        cluster.settle()
        _, new = cluster.update()
        cluster.until(lambda: cluster.rollout.get("hold") == "InsufficientCapacity")
        assert "scaling.maxGPUs leaves 1 of 3 nvidia.com/gpu; raise it, lower rollout.blueGreen" in held_up(cluster)
        assert new not in cluster.counts()


def test_what_the_metrics_want_is_cut_by_the_budget():
    cluster = Cluster(spec=budgeted(budget=7, accelerator={"count": 2}))
    assert cluster.parsed.scaling.max_gpus == 7
    scaling = cluster.spec["scaling"]
    cluster.change(scaling=scaling | {"minReplicas": 3})
    cluster.settle()
    assert cluster.status["scaling"]["desired"] == 3
    cluster.change(scaling=scaling | {"minReplicas": 1, "maxGPUs": 2})
    cluster.settle()
    assert len(cluster.pods) == 1
    assert cluster.status["decisions"][-1]["message"].endswith("maxGPUs 2 is enough for 1")


def test_a_revision_counts_with_the_devices_that_it_has():
    cluster = Cluster(spec=budgeted(budget=8, replicas=1, accelerator={"count": 4}), gpus=8)
    cluster.settle()
    cluster.change(accelerator={"count": 1})
    assert held(cluster.snapshot()) == 4
    assert allowance(cluster.snapshot()).replicas == 4


def test_a_quota_limits_as_free_nodes_do_and_is_named():
    cluster = Cluster(spec=words(replicas=2, rollout={"capacity": "Surge"}), extra=limited(left=2))
    cluster.settle()
    cluster.extra = limited(left=0)
    cluster.change(model=OTHER)
    cluster.settle()
    assert "quota gpus leaves 0 of 4 nvidia.com/gpu; raise it" in held_up(cluster)
    cluster.extra = limited(left=1)
    cluster.settle()
    assert {p.revision for p in cluster.pods.values()} == {cluster.revision}


def test_more_replicas_than_a_quota_allows_are_not_asked_for_and_that_is_told():
    cluster = Cluster(spec=words(replicas=3), extra=limited(left=2))
    cluster.reconcile()
    assert cluster.condition("CapacityAvailable")["status"] == "True", "what is allowed is asked for first"
    cluster.controllers()
    cluster.warm()
    cluster.extra = limited(left=0)
    cluster.settle()
    assert len(cluster.pods) == 2
    assert held_up(cluster).endswith("quota gpus leaves 0 of 4 nvidia.com/gpu; raise it, or lower the replicas")
    assert cluster.condition("Progressing")["reason"] == "ReplicasStarting"
    assert cluster.status["phase"] == "Loading"
    cluster.extra = limited(left=1)
    cluster.settle()
    assert len(cluster.pods) == 3
    assert cluster.condition("CapacityAvailable")["reason"] == "Fits"


def test_where_nodes_cannot_be_read_a_quota_still_counts():
    blind = {"nodes_readable": False, "free_gpus": None, "largest_node": None}
    cluster = Cluster(spec=words(replicas=2), extra=blind)
    cluster.settle()
    cluster.extra = blind | limited(left=0)
    cluster.change(model=OTHER)
    cluster.settle()
    assert "quota gpus leaves 0" in held_up(cluster)


def test_cpu_replicas_have_no_such_limit():
    snapshot = Cluster(spec=words(replicas=1, accelerator={"resource": "none"}), extra=limited(left=0)).snapshot()
    assert not allowance(snapshot).by
    assert not allowance(replace(snapshot, spec=None)).by


def body(*, hard, used=None, **spec):
    meta = {"namespace": "team", "name": "gpus", "uid": "u"}
    status = {} if used is None else {"hard": hard, "used": used}
    return {"kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard, **spec}, "status": status}


def test_a_quota_is_read_with_kubernetes_numbers():
    found = quota.read(body(hard={"requests.nvidia.com/gpu": "1k", "pods": "4"}, used={"requests.nvidia.com/gpu": "3"}))
    assert found is not None
    assert (dict(found.hard), dict(found.used)) == ({"nvidia.com/gpu": 1000}, {"nvidia.com/gpu": 3})


@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        ({}, True),
        ({"scopes": ["NotTerminating"]}, True),
        ({"scopes": ["Terminating"]}, False),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists"}]}}, False),
    ],
)
def test_a_quota_for_some_pods_only_is_left_to_the_api_server(spec, counts):
    assert (quota.read(body(hard={"requests.nvidia.com/gpu": "4"}, **spec)) is not None) is counts


def test_a_quota_without_devices_is_none_of_ours():
    assert quota.read(body(hard={"requests.cpu": "4", "count/pods": "3"})) is None


@pytest.mark.parametrize(("claimed", "used", "left"), [(1, 3, 1), (3, 1, 1), (9, 0, 0)])
def test_the_larger_of_what_is_used_and_what_is_claimed_counts(claimed, used, left):
    found = quota.read(body(hard={"requests.nvidia.com/gpu": "4"}, used={"requests.nvidia.com/gpu": used}))
    assert quota.left(found, resource="nvidia.com/gpu", claimed=claimed) == Left(quota="gpus", left=left, hard=4)
    assert quota.left(found, resource="amd.com/gpu", claimed=claimed) is None
