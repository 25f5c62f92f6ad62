"""What is said of a replica that does not come: no node is large enough, nodes cannot be read, time is up."""

from dataclasses import replace

import pytest

from modelfleet.core import progress
from tests.unit.core.cluster import Cluster, running, words

OTHER = {"uri": "hf://org/other"}
FOUR = {"accelerator": {"count": 4}}
BLIND = {"nodes_readable": False, "free_gpus": None, "largest_node": None}
"""What a snapshot holds where nodes may not be read."""


def told(cluster, kind):
    condition = cluster.condition(kind)
    return condition["status"], condition["reason"]


def slow_rollout(*, seconds, **more):
    """A rollout whose new replica has a node and does not become ready."""
    cluster = running(rollout={"progressDeadlineSeconds": seconds}, **more)
    cluster.change(model=OTHER)
    for _ in range(5):
        plan = cluster.reconcile()
        cluster.controllers()
    return cluster, plan


def the_new_ones(cluster, **seen):
    """Let what is seen of the replicas that are not ready be this."""
    cluster.pods = {name: p if p.ready else replace(p, **seen) for name, p in cluster.pods.items()}


def test_a_new_revision_that_never_becomes_ready_is_told_and_the_old_one_serves():
    cluster, plan = slow_rollout(seconds=600)
    assert told(cluster, "Progressing") == ("True", "RevisionRollingOut")
    assert 0 < plan.requeue_after <= 601  # nothing may happen till then that would make anyone look
    cluster.now += plan.requeue_after
    plan = cluster.reconcile()
    assert told(cluster, "Progressing") == ("False", "ProgressDeadlineExceeded")
    assert "600 s" in cluster.condition("Progressing")["message"]
    assert plan.requeue_after is None
    assert cluster.ready() == 1
    writes = cluster.status_writes
    cluster.now += 3600
    assert not cluster.reconcile().actions
    assert cluster.status_writes == writes


def test_a_replica_that_comes_after_the_deadline_still_takes_over():
    cluster, plan = slow_rollout(seconds=600)
    cluster.now += 10 * plan.requeue_after
    cluster.reconcile()
    cluster.settle()
    assert told(cluster, "Progressing") == ("False", "UpToDate")
    assert {p.revision for p in cluster.pods.values()} == {cluster.revision}


def test_a_replica_that_comes_further_starts_the_deadline_anew():
    cluster, _ = slow_rollout(seconds=600)
    for _ in range(3):
        cluster.now += 500
        the_new_ones(cluster, got_on_at=cluster.now)
        cluster.reconcile()
    assert told(cluster, "Progressing") == ("True", "RevisionRollingOut")
    cluster.now += 601
    cluster.reconcile()
    assert told(cluster, "Progressing") == ("False", "ProgressDeadlineExceeded")


def test_replicas_that_are_evicted_and_replaced_again_and_again_run_out_of_time():
    cluster, _ = slow_rollout(seconds=600)
    for _ in range(4):
        assert told(cluster, "Progressing") == ("True", "RevisionRollingOut")
        cluster.now += 590
        the_new_ones(cluster, failed=True)
        cluster.controllers()
        cluster.reconcile()
    cluster.now += 50
    cluster.reconcile()
    assert told(cluster, "Progressing") == ("False", "ProgressDeadlineExceeded")


def test_a_slow_replica_that_is_not_replaced_may_take_the_whole_time_for_each_of_its_stages():
    cluster, _ = slow_rollout(seconds=600)
    for _ in range(progress.STAGES):
        cluster.now += 599
        the_new_ones(cluster, got_on_at=cluster.now)
        cluster.reconcile()
    cluster.now += 599
    cluster.reconcile()
    assert told(cluster, "Progressing") == ("True", "RevisionRollingOut")


def test_a_nodes_clock_that_is_ahead_neither_stops_the_deadline_nor_costs_writes():
    cluster, _ = slow_rollout(seconds=600)
    ahead = cluster.now + 90_000
    the_new_ones(cluster, got_on_at=ahead)
    cluster.reconcile()
    writes = cluster.status_writes
    for _ in range(20):
        cluster.now += 60
        cluster.reconcile()
    assert cluster.status_writes == writes
    cluster.now += 1201
    cluster.reconcile()
    assert told(cluster, "Progressing") == ("False", "ProgressDeadlineExceeded")


def test_every_replica_that_becomes_ready_starts_the_deadline_anew():
    cluster, _ = slow_rollout(seconds=600, replicas=2, gpus=4)
    cluster.now += 400
    cluster.warm(count=1)
    for _ in range(4):
        cluster.reconcile()
        cluster.controllers()
    cluster.now += 400
    plan = cluster.reconcile()
    assert told(cluster, "Progressing") == ("True", "RevisionRollingOut")
    cluster.now += plan.requeue_after
    cluster.reconcile()
    assert told(cluster, "Progressing") == ("False", "ProgressDeadlineExceeded")


def test_waiting_for_a_device_does_not_count_against_the_deadline():
    cluster, _ = slow_rollout(seconds=600, gpus=1)
    assert told(cluster, "Progressing") == ("True", "WaitingForCapacity")
    cluster.now += 3600
    cluster.reconcile()
    assert told(cluster, "Progressing") == ("True", "WaitingForCapacity")
    cluster.gpus = 2
    for _ in range(3):
        cluster.reconcile()
        cluster.controllers()
    assert told(cluster, "Progressing") == ("True", "RevisionRollingOut")
    cluster.now += 601
    cluster.reconcile()
    assert told(cluster, "Progressing") == ("False", "ProgressDeadlineExceeded")


def test_no_node_has_as_many_devices_as_a_replica_wants():
    cluster = Cluster(spec=words(**FOUR), gpus=0, extra={"largest_node": 2})
    cluster.reconcile()
    cluster.controllers()
    cluster.reconcile()
    assert told(cluster, "CapacityAvailable") == ("False", "NoSuchNode")
    message = cluster.condition("CapacityAvailable")["message"]
    assert "4 nvidia.com/gpu" in message
    assert "the most is 2" in message
    assert "accelerator.count" in message


def test_a_node_that_is_large_enough_and_taken_is_another_matter():
    cluster = Cluster(spec=words(**FOUR), gpus=0, extra={"largest_node": 4})
    cluster.reconcile()
    cluster.controllers()
    cluster.reconcile()
    assert told(cluster, "CapacityAvailable") == ("False", "InsufficientGPU")


def unplaced(said, *, replicas=1, **more):
    """A cluster with a replica of which the scheduler says this."""
    cluster = Cluster(spec=words(replicas=replicas, **more), gpus=0)
    cluster.reconcile()
    cluster.controllers()
    cluster.pods = {name: replace(pod, message=said) for name, pod in cluster.pods.items()}
    cluster.reconcile()
    return cluster


@pytest.mark.parametrize(
    ("said", "more", "reason", "advice"),
    [
        ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", {}, "InsufficientGPU", "add accelerators"),
        ('0/1 nodes are available: persistentvolumeclaim "m" not found.', {}, "Unschedulable", "create that claim"),
        ("pod has unbound immediate PersistentVolumeClaims.", {}, "Unschedulable", "spec.model.uri"),
        ("0/1 nodes are available: 1 Insufficient cpu.", {}, "Unschedulable", "spec.resources.requests"),
        (
            "0/1 nodes are available: 1 Insufficient memory.",
            {"accelerator": {"resource": "none"}},
            "Unschedulable",
            "spec.resources.requests",
        ),
        (
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            {},
            "Unschedulable",
            "spec.accelerator.product",
        ),
        ("0/1 nodes are available: 1 node(s) had untolerated taint(s).", {}, "Unschedulable", "tolerate it"),
        ("0/1 nodes are available: 1 node(s) were unschedulable.", {}, "Unschedulable", "kubectl uncordon"),
        ("0/1 nodes are available: 1 Too many pods.", {}, "Unschedulable", "add nodes"),
    ],
)
def test_only_a_missing_gpu_is_called_one(said, more, reason, advice):
    cluster = unplaced(said, **more)
    assert told(cluster, "CapacityAvailable") == ("False", reason)
    message = cluster.condition("CapacityAvailable")["message"]
    assert message.startswith(said)
    assert advice in message
    assert ("accelerators" in message) == (reason == "InsufficientGPU")


def test_everything_that_the_scheduler_misses_gets_its_advice():
    message = unplaced("2 Insufficient cpu, 1 Insufficient nvidia.com/gpu.").condition("CapacityAvailable")["message"]
    assert "add accelerators" in message
    assert "spec.resources.requests" in message


def test_a_rollout_that_waits_for_a_claim_does_not_ask_for_a_gpu():
    cluster = running(replicas=2, gpus=8)
    cluster.change(model={"uri": "pvc://nothing/here"})
    for _ in range(3):
        cluster.reconcile()
    cluster.gpus = 2
    cluster.controllers()
    cluster.gpus = 8
    said = '0/1 nodes are available: persistentvolumeclaim "nothing" not found.'
    cluster.pods = {name: pod if pod.scheduled else replace(pod, message=said) for name, pod in cluster.pods.items()}
    cluster.reconcile()
    assert told(cluster, "Progressing") == ("True", "WaitingForCapacity")
    for kind in ("Progressing", "CapacityAvailable"):
        message = cluster.condition(kind)["message"]
        assert "create that claim" in message, kind
        assert "InPlace" not in message, kind


def test_what_replicas_wait_for_is_counted_and_written_once():
    cluster = Cluster(spec=words(replicas=3), gpus=2)
    cluster.reconcile()
    cluster.controllers()
    for stage, said in (("Preparing", "2 getting volumes and image"), ("Pulling", "2 pulling the image"),
                        ("Loading", "2 loading the model")):  # fmt: skip
        cluster.pods = {name: replace(pod, stage=stage if pod.scheduled else "") for name, pod in cluster.pods.items()}
        cluster.reconcile()
        assert told(cluster, "Ready") == ("Unknown", "ReplicasLoading")
        assert cluster.condition("Ready")["message"] == f"0 of 3 replicas ready: 1 without a node, {said}"
    writes = cluster.status_writes
    cluster.now += 600
    cluster.reconcile()
    assert cluster.status_writes == writes


def test_where_nodes_cannot_be_read_capacity_is_unknown_and_the_fleet_serves():
    cluster = Cluster(spec=words(replicas=2), extra=BLIND)
    cluster.settle()
    assert told(cluster, "CapacityAvailable") == ("Unknown", "NodesNotReadable")
    assert told(cluster, "Ready") == ("True", "AllReplicasReady")
    writes = cluster.status_writes
    cluster.now += 3600
    cluster.reconcile()
    assert cluster.status_writes == writes


def test_where_nodes_cannot_be_read_a_replica_without_devices_needs_none():
    cluster = Cluster(spec=words(accelerator={"resource": "none"}), extra=BLIND)
    cluster.settle()
    assert told(cluster, "CapacityAvailable") == ("True", "Fits")


@pytest.mark.parametrize("spare", [0, 1])
def test_where_nodes_cannot_be_read_the_scheduler_is_asked_with_one_replica_at_a_time(spare):
    cluster = running(replicas=3, gpus=3 + spare, rollout={"maxSurge": 3})
    cluster.extra = BLIND
    cluster.change(model=OTHER)
    waiting = []
    for _ in range(12):
        cluster.reconcile()
        cluster.controllers()
        waiting.append(sum(not p.scheduled for p in cluster.pods.values()))
        assert cluster.ready() == 3
    assert max(waiting) == 1
    cluster.reconcile()
    assert told(cluster, "CapacityAvailable") == ("False", "InsufficientGPU")
    cluster.gpus = 6
    cluster.settle()
    assert {p.revision for p in cluster.pods.values()} == {cluster.revision}
    assert told(cluster, "CapacityAvailable") == ("Unknown", "NodesNotReadable")


def test_in_place_says_how_long_the_gap_will_be_until_it_is_over():
    cluster = running(replicas=1, rollout={"capacity": "InPlace"}, gpus=1)
    for pod in cluster.pods.values():
        cluster.pods[pod.name] = replace(pod, ready_since=pod.created_at + 23)
    cluster.change(model={"uri": "hf://org/another"})
    cluster.reconcile()
    assert "1 of 1 missing at a time, each for about 23 s" in cluster.status["rollout"]["message"]
    for _ in range(4):
        cluster.reconcile()
        cluster.controllers()
        cluster.now += 1
    assert cluster.ready() == 0
    assert (cluster.status["phase"], cluster.condition("Progressing")["reason"]) == ("RollingOut", "RevisionRollingOut")
    assert "in place" in cluster.status["rollout"]["message"]
    cluster.settle()
    assert set(cluster.status["rollout"]) == {"previous"}
    assert cluster.status["phase"] == "Ready"
