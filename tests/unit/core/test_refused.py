"""Pods that Kubernetes refuses to make: there is none to look at, and yet status says why and what to do."""

from dataclasses import replace
from types import MethodType

import pytest

from modelfleet.core import observe
from modelfleet.core.failures import ADVICE
from tests.unit.core.cluster import Cluster, running, words

OTHER = {"uri": "hf://org/other"}
QUOTA = 'pods "chat-0" is forbidden: exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2'


def told(cluster, kind):
    condition = cluster.condition(kind)
    return condition["status"], condition["reason"]


def limit(cluster, *, pods):
    """Let the namespace admit no more than so many pods."""

    def controllers(self):
        before = set(self.pods)
        type(self).controllers(self)
        for name in [name for name in sorted(self.pods, reverse=True) if name not in before]:
            if len(self.pods) > pods:
                del self.pods[name]
        alive = [p.revision for p in self.pods.values() if not p.terminating]
        self.workloads = {
            name: replace(w, refused=QUOTA if w.replicas > alive.count(w.revision) else "")
            for name, w in self.workloads.items()
        }

    cluster.controllers = MethodType(controllers, cluster)


def test_pods_that_are_refused_are_told_with_what_to_do_and_come_by_themselves():
    cluster = Cluster(spec=words())
    limit(cluster, pods=0)
    cluster.settle()
    assert told(cluster, "Degraded") == ("True", "PodsRefused")
    assert told(cluster, "Ready") == ("False", "PodsRefused")
    assert cluster.condition("Ready")["message"] == f"{QUOTA}; {ADVICE['PodsRefused']}"
    assert cluster.condition("Degraded")["message"] == cluster.condition("Ready")["message"]
    assert cluster.status["phase"] == "Degraded"
    limit(cluster, pods=1)
    cluster.settle()
    assert told(cluster, "Degraded") == ("False", "AsExpected")
    assert told(cluster, "Ready") == ("True", "AllReplicasReady")


def test_pods_that_are_refused_are_told_once():
    cluster = Cluster(spec=words())
    limit(cluster, pods=0)
    events = []
    for _ in range(10):
        plan = cluster.reconcile()
        cluster.controllers()
        events += [reason for reason in plan.reasons if reason.reason == "PodsRefused"]
    assert [event.warning for event in events] == [True]
    writes = cluster.status_writes
    cluster.now += 300
    assert not cluster.reconcile().actions
    assert cluster.status_writes == writes


def test_replicas_that_serve_stay_ready_to_others_while_more_are_refused():
    cluster = running(replicas=2)
    cluster.change(replicas=3)
    limit(cluster, pods=2)
    cluster.settle()
    assert told(cluster, "Degraded") == ("True", "PodsRefused")
    assert told(cluster, "Ready") == ("Unknown", "ReplicasLoading")
    assert cluster.ready() == 2


@pytest.mark.parametrize("rollout", [{}, {"maxSurge": 2}, {"capacity": "Surge"}], ids=str)
def test_a_rollout_whose_pods_are_refused_takes_nothing_from_what_serves(rollout):
    cluster = running(replicas=2, rollout=rollout)
    serving = cluster.revision
    cluster.change(model=OTHER)
    limit(cluster, pods=2)
    cluster.settle()
    assert told(cluster, "Degraded") == ("True", "PodsRefused")
    assert told(cluster, "Ready") == ("True", "AllReplicasReady")
    assert [p.revision for p in cluster.pods.values() if p.ready and p.in_rotation] == [serving, serving]
    limit(cluster, pods=8)
    cluster.settle()
    assert told(cluster, "Degraded") == ("False", "AsExpected")
    assert {p.revision for p in cluster.pods.values()} == {cluster.revision}


def test_no_more_is_missing_than_may_be_while_pods_are_refused():
    cluster = running(replicas=3, rollout={"maxUnavailable": 1})
    cluster.change(model=OTHER)
    limit(cluster, pods=0)
    cluster.settle()
    assert told(cluster, "Degraded") == ("True", "PodsRefused")
    assert cluster.ready() == 2


@pytest.mark.parametrize("rollout", [{"capacity": "InPlace"}, {"maxUnavailable": 1}], ids=str)
def test_a_refused_rollout_goes_on_with_the_room_that_old_replicas_may_leave(rollout):
    cluster = running(replicas=2, rollout=rollout)
    cluster.change(model=OTHER)
    limit(cluster, pods=2)
    cluster.settle()
    assert {p.revision for p in cluster.pods.values()} == {cluster.revision}
    assert told(cluster, "Degraded") == ("False", "AsExpected")


def test_an_old_revision_that_lost_a_pod_and_gets_no_other_is_told_too():
    cluster = running(replicas=2, rollout={"maxUnavailable": 0})
    cluster.change(model=OTHER)
    limit(cluster, pods=2)
    cluster.settle()
    cluster.workloads = {
        name: replace(w, refused="" if w.revision == cluster.revision else "old ones") for name, w in cluster.workloads.items()
    }  # fmt: skip
    del cluster.pods[min(cluster.pods)]
    cluster.reconcile()
    assert cluster.condition("Degraded")["message"].startswith("old ones; ")


def test_an_old_word_about_replicas_that_nobody_wants_any_more_is_not_told():
    cluster = running(replicas=2)
    cluster.workloads = {name: replace(w, refused=QUOTA) for name, w in cluster.workloads.items()}
    cluster.reconcile()
    assert told(cluster, "Degraded") == ("False", "AsExpected")


def test_a_pod_that_fails_is_told_before_one_that_is_refused():
    cluster = running(replicas=1)
    cluster.change(replicas=2)
    limit(cluster, pods=1)
    for _ in range(3):
        cluster.reconcile()
        cluster.controllers()
    cluster.pods = {n: replace(p, ready=False, waiting_reason="ErrImagePull") for n, p in cluster.pods.items()}
    cluster.reconcile()
    assert told(cluster, "Degraded") == ("True", "ImagePullFailed")


def test_a_canary_whose_pods_are_refused_ends_by_its_deadline_and_says_why(judged):
    fleet = judged(rollout={"progressDeadlineSeconds": 60})
    old, new = fleet.update()
    limit(fleet, pods=2)
    for _ in range(5):
        fleet.turn()
    assert fleet.counts() == {old: 2, new: 1}
    assert told(fleet, "Degraded") == ("True", "PodsRefused")
    assert fleet.ready() == 2
    fleet.now += 60
    fleet.history()
    assert fleet.counts() == {old: 2}
    assert fleet.ready() == 2
    message = fleet.condition("Degraded")["message"]
    assert "no new replica became ready within 60 s: " in message
    assert "exceeded quota: few" in message


def deployment(kind, status, reason, message, *, name="chat-0123456789"):
    condition = {"type": kind, "status": status, "reason": reason, "message": message}
    fine = {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "none"}
    meta = {"name": name, "uid": "u", "resourceVersion": "1"}
    return {
        "metadata": meta, "spec": {"replicas": 1, "template": {}}, "status": {"conditions": [fine, condition]},
    }  # fmt: skip


@pytest.mark.parametrize("pod", ["7b76585958-g66z6", "7b76585958-qmwgr", "7b76585958-"])
def test_a_refusal_has_the_same_words_for_every_pod_that_is_tried(pod):
    message = f'pods "chat-0123456789-{pod}" is forbidden: exceeded quota: few'
    seen = observe.workload(deployment("ReplicaFailure", "True", "FailedCreate", message))
    assert seen.refused == 'pods "chat-0123456789" is forbidden: exceeded quota: few'


def test_a_made_up_name_is_found_where_kubernetes_cuts_a_long_one():
    name = f"{'long-' * 10}chat-0123456789"
    message = f'pods "{name[:58]}g66z6" is forbidden: no'
    seen = observe.workload(deployment("ReplicaFailure", "True", "FailedCreate", message, name=name))
    assert seen.refused == f'pods "{name}" is forbidden: no'


def test_a_quota_on_replica_sets_is_a_refusal_too():
    message = 'Failed to create new replica set "chat-0123456789-5b8b9f888": is forbidden: exceeded quota: sets'
    seen = observe.workload(deployment("Progressing", "False", "ReplicaSetCreateError", message))
    assert seen.refused == 'Failed to create new replica set "chat-0123456789": is forbidden: exceeded quota: sets'


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        ("ReplicaFailure", "False", "FailedCreate"),
        ("ReplicaFailure", "True", "FailedDelete"),
        ("Progressing", "False", "ProgressDeadlineExceeded"),
    ],
)
def test_what_else_a_deployment_says_is_no_refusal(kind, status, reason):
    assert observe.workload(deployment(kind, status, reason, "words")).refused == ""
