"""What replicas wait for is told as an Event too, once for each kind of wait."""

from dataclasses import replace

from tests.unit.core.cluster import Cluster, running, words


def started(**changes):
    """A cluster whose replicas have a node and nothing else yet."""
    cluster = Cluster(spec=words(**changes))
    for _ in range(3):
        cluster.reconcile()
        cluster.controllers()
    return cluster


def events(cluster, *stages):
    """The Events of a pass that sees the replicas in these stages, by name."""
    for (name, pod), stage in zip(sorted(cluster.pods.items()), stages, strict=True):
        cluster.pods[name] = replace(pod, stage=stage if stage != "Ready" else "", ready=stage == "Ready")
    plan = cluster.reconcile()
    return [(r.reason, r.message, r.warning) for r in plan.reasons if r.kind == "Condition"]


def test_pulling_and_loading_are_told_once_and_not_for_each_replica():
    cluster = started(replicas=2)
    assert events(cluster, "Preparing", "Preparing") == []
    pulling = ("ReplicasLoading", "0 of 2 replicas ready: 1 getting volumes and image, 1 pulling the image", False)
    assert events(cluster, "Pulling", "Preparing") == [pulling]
    assert events(cluster, "Pulling", "Pulling") == []
    loading = ("ReplicasLoading", "0 of 2 replicas ready: 1 pulling the image, 1 loading the model", False)
    assert events(cluster, "Loading", "Pulling") == [loading]
    assert events(cluster, "Loading", "Loading") == []
    assert events(cluster, "Ready", "Loading") == []
    assert events(cluster, "Ready", "Ready") == []


def test_an_operator_that_starts_again_tells_nothing_twice():
    cluster = started()
    assert len(events(cluster, "Loading")) == 1
    again = Cluster(
        **{f: getattr(cluster, f) for f in ("spec", "now", "status", "stored", "workloads", "pods", "objects")}
    )
    assert events(again, "Loading") == []


def test_replicas_that_are_ready_at_once_are_no_event():
    cluster = Cluster(spec=words(replicas=2))
    told = []
    for _ in range(6):
        told += [reason for reason in cluster.reconcile().reasons if reason.kind == "Condition"]
        cluster.controllers()
        cluster.warm()
    assert cluster.ready() == 2
    assert told == []


def test_a_lack_of_devices_is_told_as_a_warning():
    cluster = running(replicas=1, gpus=1)
    cluster.change(replicas=2)
    told = []
    for _ in range(4):
        told += [reason for reason in cluster.reconcile().reasons if reason.kind == "Condition"]
        cluster.controllers()
    assert [(one.reason, one.warning) for one in told] == [("InsufficientGPU", True)]
    assert "free or add accelerators" in told[0].message
