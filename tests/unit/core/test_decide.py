"""Named cases of a whole decision, played against a small pure cluster."""

from dataclasses import replace
from itertools import groupby

import pytest

from modelfleet.api.v1alpha1.status import LLMDeploymentStatus
from modelfleet.core.decide import decide
from modelfleet.core.plan import Create, Delete, DryRun, RestoreTemplate, Rotate, Scale
from modelfleet.core.scaling.signals import Signals
from modelfleet.core.world import Refusal, RenderSettings
from tests.unit.core.cluster import IMAGES, Cluster, running, words

OTHER = {"uri": "hf://org/other"}
SCALING = {
    "minReplicas": 1, "maxReplicas": 6, "metrics": [{"type": "QueueDepth", "target": 5}],
    "behavior": {"scaleDown": {"stabilizationSeconds": 0}},
}  # fmt: skip


def of(plan, kind):
    return [action for action in plan.actions if isinstance(action, kind)]


def test_the_first_revision_is_tried_stored_created_and_given_its_services():
    cluster = Cluster(spec=words(replicas=2))
    plan = decide(cluster.snapshot())
    assert isinstance(plan.actions[0], DryRun)
    assert [a.manifest["kind"] for a in of(plan, Create)] == [
        "ControllerRevision", "Deployment", "Service", "Service", "PodDisruptionBudget",
    ]  # fmt: skip
    assert of(plan, Create)[1].manifest["spec"]["replicas"] == 2
    assert [r.reason for r in plan.reasons] == ["RevisionStarted"]


def test_a_served_fleet_is_ready_and_costs_no_write():
    cluster = running(replicas=2)
    assert cluster.condition("Ready")["status"] == "True"
    assert cluster.status["phase"] == "Ready"
    writes = cluster.status_writes
    cluster.now += 86_400
    plan = cluster.reconcile()
    assert not plan.actions
    assert not plan.reasons
    assert cluster.status_writes == writes


def test_without_a_free_gpu_a_rollout_waits_and_says_the_two_ways_on():
    cluster = running(gpus=1)
    cluster.change(model=OTHER)
    plan = cluster.settle()
    assert plan.requeue_after
    assert cluster.ready() == 1
    assert all(pod.scheduled for pod in cluster.pods.values())
    told = cluster.condition("CapacityAvailable")
    assert told["status"] == "False"
    assert "rollout.capacity: InPlace" in told["message"]
    assert "rollout.maxUnavailable: 1" in told["message"]
    cluster.gpus = 2
    cluster.settle()
    assert {p.revision for p in cluster.pods.values()} == {cluster.revision}
    assert cluster.condition("CapacityAvailable")["status"] == "True"


def test_in_place_goes_from_one_to_none_and_comes_back_new():
    cluster = running(gpus=1, rollout={"capacity": "InPlace"})
    cluster.change(model=OTHER)
    seen = []
    for _ in range(8):
        cluster.reconcile()
        cluster.controllers()
        seen.append(len(cluster.pods))
        cluster.warm()
    assert min(seen) == 0
    assert max(seen) == 1
    assert [p.revision for p in cluster.pods.values() if p.ready] == [cluster.revision]


def test_suspend_freezes_what_exists():
    cluster = running(replicas=2)
    cluster.change(suspend=True, model=OTHER, replicas=5)
    plan = cluster.settle()
    assert not plan.actions
    assert len(cluster.pods) == 2
    assert cluster.condition("Suspended")["status"] == "True"


def test_a_hand_edited_template_is_put_back_from_the_stored_one():
    cluster = running()
    ((name, workload),) = cluster.workloads.items()
    cluster.workloads[name] = replace(workload, foreign_managers=("kubectl-edit",), template={"spec": {}})
    plan = cluster.reconcile()
    assert [a.template for a in of(plan, RestoreTemplate)] == [cluster.stored[name].template]
    assert "kubectl-edit" in plan.reasons[0].message
    assert cluster.condition("Drifted")["status"] == "True"
    cluster.settle()
    assert cluster.condition("Drifted")["status"] == "False"


def test_a_template_in_kubernetes_own_words_stops_nothing():
    cluster = running()
    ((name, workload),) = cluster.workloads.items()
    cluster.workloads[name] = replace(workload, rewritten=True, template={"spec": {}})
    cluster.change(replicas=3)
    cluster.settle()
    assert cluster.ready() == 3
    assert cluster.condition("Drifted")["status"] == "False"
    assert cluster.workloads[name].template == {"spec": {}}


def test_an_edit_that_may_not_be_put_back_is_told_and_stops_nothing():
    cluster = running()
    ((name, workload),) = cluster.workloads.items()
    cluster.workloads[name] = replace(workload, foreign_managers=("policy",), template={"spec": {}})
    cluster.extra = {"refused": (Refusal(action="RestoreTemplate", kind="Deployment", name=name, message="no"),)}
    cluster.change(replicas=3)
    cluster.settle()
    assert cluster.ready() == 3
    assert cluster.condition("Drifted")["status"] == "True"
    assert cluster.condition("Degraded")["reason"] == "ObjectRefused"
    before = cluster.status
    plan = cluster.reconcile()
    assert (plan.actions, plan.reasons, plan.status) == ((), (), before)


def test_a_refused_template_leaves_the_old_revision_serving():
    cluster = running(replicas=2)
    cluster.change(template={"spec": {"containers": "no list"}})
    cluster.extra = {"rejected": {cluster.revision: "spec.containers: wrong type"}}
    cluster.settle()
    assert cluster.ready() == 2
    told = cluster.condition("Valid")
    assert (told["status"], told["reason"]) == ("False", "TemplateInvalid")
    assert "correct spec.template" in told["message"]
    assert told["message"].endswith(": spec.containers: wrong type")
    assert len(cluster.workloads) == 1
    cluster.change(replicas=3)
    cluster.extra = {"rejected": {cluster.revision: "still"}}
    cluster.settle()
    assert cluster.ready() == 3


def test_an_engine_without_an_image_is_told():
    cluster = Cluster()
    cluster.extra = {"settings": replace(cluster.snapshot().settings, engine_images={})}
    cluster.settle()
    assert cluster.condition("Valid")["reason"] == "ImageUnknown"
    assert not cluster.workloads


def test_an_unreadable_spec_changes_nothing_but_the_status():
    cluster = running()
    plan = decide(cluster.snapshot(spec=None, spec_error="spec.x: unknown"))
    assert not plan.actions
    assert plan.status["phase"] == "Invalid"
    assert plan.status["readyReplicas"] == 1


def test_a_served_name_that_an_older_one_holds_is_a_conflict():
    cluster = Cluster(extra={"name_conflict": "team/older"})
    cluster.settle()
    told = cluster.condition("RouteAccepted")
    assert (told["status"], told["reason"]) == ("False", "ServedNameConflict")
    assert "team/older" in told["message"]
    assert "spec.model.servedName" in told["message"]
    assert "team/chat" not in told["message"]  # such a name works behind a gateway only
    gateway = RenderSettings(engine_images=IMAGES, gateway_url="http://gateway")
    plan = decide(cluster.snapshot(settings=gateway))
    message = next(c["message"] for c in plan.status["conditions"] if c["type"] == "RouteAccepted")
    assert "as team/chat" in message
    assert "Service" not in message


def test_scale_down_marks_victims_before_replicas_fall():
    cluster = running(replicas=3)
    cluster.change(replicas=1)
    plan = cluster.reconcile()
    assert len(of(plan, Rotate)) == 2
    assert not of(plan, Scale)
    plan = cluster.reconcile()
    assert [a.replicas for a in of(plan, Scale)] == [1]
    leaving = {p.name for p in cluster.pods.values() if not p.in_rotation}
    cluster.controllers()
    assert not leaving & set(cluster.pods)


def test_a_victim_that_is_none_any_more_is_put_back():
    cluster = running(replicas=2)
    cluster.change(replicas=1)
    cluster.reconcile()
    cluster.change(replicas=2)
    plan = cluster.reconcile()
    assert [a.in_rotation for a in of(plan, Rotate)] == [True]


def autoscaled():
    cluster = Cluster(spec=words(replicas=None, scaling=SCALING | {"minReplicas": 3}))
    cluster.settle()
    cluster.change(scaling=SCALING)
    cluster.now += 3600
    return cluster


@pytest.mark.parametrize("values", [{}, {"QueueDepth": {}}, {"QueueDepth": {"gone": 0.0}}])
def test_missing_metrics_never_lower(values):
    # NaN and stale samples are dropped by FleetSignals.of: here they are absent values.
    cluster = autoscaled()
    cluster.extra = {"signals": Signals(observed_at=cluster.now, values=values)}
    cluster.settle()
    assert cluster.ready() == 3
    assert cluster.condition("MetricsAvailable")["status"] == "False"


def test_idle_replicas_leave_when_metrics_say_so():
    cluster = autoscaled()
    cluster.extra = {
        "signals": Signals(observed_at=cluster.now, values={"QueueDepth": dict.fromkeys(cluster.pods, 0.0)})
    }
    cluster.settle()
    assert cluster.ready() == 1


def test_replicas_that_no_node_takes_stop_the_asking_for_more():
    cluster = autoscaled()
    cluster.gpus = 3
    cluster.extra = {
        "signals": Signals(observed_at=cluster.now, values={"QueueDepth": dict.fromkeys(cluster.pods, 50.0)})
    }
    for _ in range(5):
        cluster.reconcile()
        cluster.controllers()
    wanted = sum(w.replicas for w in cluster.workloads.values())
    unplaced = sum(not p.scheduled for p in cluster.pods.values())
    assert wanted == 6  # asked for once, before the scheduler had spoken
    assert unplaced == 3
    cluster.change(scaling=SCALING | {"maxReplicas": 12})
    for _ in range(3):
        cluster.reconcile()
    assert sum(w.replicas for w in cluster.workloads.values()) == wanted
    assert cluster.condition("CapacityAvailable")["reason"] == "InsufficientGPU"
    assert cluster.status["scaling"]["binding"] == "Nodes"
    (told,) = (d for d in cluster.status["decisions"] if d["reason"] == "NodeAwaited")
    assert "3 replica(s) wait for a node" in told["message"]
    cluster.gpus = 12
    for _ in range(5):
        cluster.controllers()
        cluster.reconcile()
    assert cluster.status["scaling"]["binding"] == "QueueDepth"
    assert sum(w.replicas for w in cluster.workloads.values()) > wanted


def test_a_hold_for_nodes_is_told_once_whoever_restarts():
    cluster = autoscaled()
    cluster.gpus = 3
    signals = Signals(observed_at=cluster.now, values={"QueueDepth": dict.fromkeys(cluster.pods, 50.0)})
    cluster.extra = {"signals": signals}
    for _ in range(5):
        cluster.reconcile()
        cluster.controllers()
    cluster.change(scaling=SCALING | {"maxReplicas": 12})
    cluster.reconcile()
    for seen in (None, signals):
        cluster.extra = {"signals": seen}
        cluster.reconcile()
        assert cluster.status["scaling"]["binding"] == "Nodes"
    assert sum(d["reason"] == "NodeAwaited" for d in cluster.status["decisions"]) == 1


def test_old_revisions_beyond_the_limit_are_forgotten():
    cluster = running(rollout={"revisionHistoryLimit": 1})
    for number in range(4):
        cluster.change(model={"uri": f"hf://org/m{number}"})
        cluster.settle()
    assert len(cluster.stored) == 2
    assert set(cluster.workloads) == set(cluster.stored)
    assert sum(kind == "Service" for kind, _ in cluster.objects) == 3


def test_going_back_uses_the_deployment_that_is_still_there():
    cluster = running()
    first = cluster.revision
    cluster.change(model=OTHER)
    cluster.settle()
    cluster.change(model={"uri": "hf://org/model"})
    plan = cluster.reconcile()
    assert cluster.revision == first
    assert not of(plan, Create)
    assert not of(plan, Delete)
    cluster.settle()
    assert {p.revision for p in cluster.pods.values()} == {first}


def test_a_surge_that_finds_no_device_is_given_back_rests_and_is_tried_again():
    cluster = running(gpus=1, rollout={"capacity": "Surge", "capacityTimeoutSeconds": 300})
    cluster.change(model=OTHER)
    cluster.reconcile()  # a revision beside another starts empty
    assert len(cluster.pods) == 1
    asked = []
    for _ in range(80):
        cluster.reconcile()
        cluster.controllers()
        asked.append(len(cluster.pods) - 1)
        cluster.now += 15
    assert cluster.ready() == 1
    runs = [len(list(group)) * 15 for _, group in groupby(asked)]
    assert [key for key, _ in groupby(asked)] == [1, 0, 1, 0]
    assert all(270 <= seconds <= 330 for seconds in runs), runs
    assert cluster.condition("CapacityAvailable")["status"] == "False"
    cluster.gpus = 2
    cluster.settle()
    assert {p.revision for p in cluster.pods.values()} == {cluster.revision}


def test_advice_is_told_once():
    # What status remembers must be in the schema: the API server drops the rest, and every pass would tell it again.
    cluster = Cluster(spec=words(replicas=None, scaling=SCALING | {"mode": "Advise"}))
    cluster.settle()
    cluster.now += 3600
    cluster.extra = {
        "signals": Signals(observed_at=cluster.now, values={"QueueDepth": dict.fromkeys(cluster.pods, 50.0)})
    }
    told = cluster.reconcile()
    assert [r.kind for r in told.reasons] == ["Advice"]
    LLMDeploymentStatus.model_validate(cluster.status)
    assert not cluster.reconcile().reasons
    assert cluster.ready() == 1


@pytest.mark.parametrize("mode", ["Auto", "Advise"])
@pytest.mark.parametrize("load", [None, 50.0])
def test_a_restarted_operator_that_has_not_asked_yet_writes_nothing(mode, load):
    cluster = Cluster(spec=words(replicas=None, scaling=SCALING | {"mode": mode}))
    cluster.settle()
    cluster.now += 3600
    for _ in range(5):
        values = {"QueueDepth": {} if load is None else dict.fromkeys(cluster.pods, load)}
        cluster.extra = {"signals": Signals(observed_at=cluster.now, values=values)}
        cluster.settle()
    said = cluster.condition("MetricsAvailable")["status"]
    assert said == ("False" if load is None else "True")
    writes = cluster.status_writes
    cluster.extra = {"signals": None}
    plan = cluster.reconcile()
    assert not plan.actions
    assert not plan.reasons
    assert cluster.status_writes == writes


def test_before_the_first_answer_metrics_are_unknown():
    cluster = Cluster(spec=words(replicas=None, scaling=SCALING))
    cluster.settle()
    told = cluster.condition("MetricsAvailable")
    assert (told["status"], told["reason"]) == ("Unknown", "AwaitingData")


def started(cluster):
    return [d["to"] for d in cluster.status["decisions"] if d["reason"] == "RevisionStarted"]


def test_a_revision_is_told_once_also_when_the_operator_died_before_it_could():
    cluster = Cluster(spec=words())
    cluster.execute(decide(cluster.snapshot()), first=99)  # everything was written but the status
    cluster.settle()
    assert started(cluster) == [cluster.revision]
    cluster.settle()
    assert started(cluster) == [cluster.revision]


def test_going_back_to_an_older_revision_is_told_too():
    cluster = running()
    first = cluster.revision
    cluster.change(model={"uri": "hf://org/other"})
    cluster.settle()
    second = cluster.revision
    cluster.change(model={"uri": "hf://org/model"})
    cluster.settle()
    assert started(cluster) == [first, second, first]


def test_in_place_the_new_replica_is_asked_for_when_the_old_one_has_left_its_device():
    cluster = running(rollout={"capacity": "InPlace"}, gpus=1)
    cluster.drain = 3
    cluster.change(model={"uri": "hf://org/other"})
    for _ in range(12):
        cluster.reconcile()
        assert all(p.scheduled for p in cluster.pods.values())
        assert cluster.condition("CapacityAvailable")["status"] == "True"
        cluster.controllers()
        assert all(p.scheduled for p in cluster.pods.values())
        cluster.warm()
        cluster.now += 1
    assert [p.revision for p in cluster.pods.values()] == [cluster.revision]
