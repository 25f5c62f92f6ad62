"""The small parts of a decision: drift, room for devices, failures, conditions, and reading what the API shows."""

import pytest

from modelfleet.core import conditions, observe
from modelfleet.core.drift import holds
from modelfleet.core.failures import diagnose
from modelfleet.core.fit import Claim, Node, Want, room
from modelfleet.core.scheduling import node_choice
from modelfleet.core.world import Replica

GPU = "nvidia.com/gpu"


@pytest.mark.parametrize(
    ("desired", "live", "same"),
    [
        ({"a": 1}, {"a": 1, "defaulted": True}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": {}}, {}, True),
        ({"a": []}, {}, True),
        ({"a": [1]}, {}, False),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "defaulted": 2}]}, True),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"requests": {"memory": "1Gi"}}, {"requests": {"memory": "1073741824"}}, True),
        ({"limits": {"cpu": 1}}, {"limits": {"cpu": "1100m"}}, False),
        ({"limits": {"cpu": 1}}, {}, False),
    ],
)
def test_drift_is_what_people_change_not_what_the_server_adds(desired, live, same):
    assert holds(desired, live) is same


def node(name="n", *, gpus=4, **more):
    return Node(name=name, labels=more.pop("labels", {}), allocatable={GPU: gpus}, **more)


def fits(*nodes, count=1, claims=(), **pod):
    return room(want=Want(resource=GPU, count=count, choice=node_choice(pod)), nodes=nodes, claims=claims).replicas


def test_a_replica_needs_its_devices_on_one_node():
    assert fits(node("a", gpus=1), node("b", gpus=1), count=2) == 0
    assert fits(node("a", gpus=3), node("b", gpus=2), count=2) == 2


@pytest.mark.parametrize(
    "unfit",
    [
        node(schedulable=False),
        node(taints=(("maintenance", "", "NoSchedule"),)),
        node(taints=(("broken", "", "NoExecute"),)),
        node(gpus=0),
    ],
)
def test_a_node_that_takes_no_pods_has_no_room(unfit):
    assert fits(unfit) == 0


def test_the_taint_of_gpu_nodes_is_tolerated():
    assert fits(node(taints=((GPU, "", "NoSchedule"), ("soft", "", "PreferNoSchedule")))) == 4


def test_only_the_product_that_is_asked_for_counts():
    h100 = node(labels={"nvidia.com/gpu.product": "H100"})
    assert fits(h100, node("b"), nodeSelector={"nvidia.com/gpu.product": "H100"}) == 4
    assert fits(h100, nodeSelector={"nvidia.com/gpu.product": "A100"}) == 0


def test_claims_without_a_node_count_everywhere_they_could_go():
    assert fits(node(), claims=[Claim(resource=GPU, count=1)]) == 3
    assert fits(node(), claims=[Claim(resource=GPU, count=4)]) == 0
    assert fits(node(), claims=[Claim(resource="amd.com/gpu", count=1)]) == 4


def test_a_claim_that_fits_on_no_node_keeps_nobody_waiting():
    assert fits(node(), node("b"), claims=[Claim(resource=GPU, count=9, times=16)]) == 8
    assert fits(node(gpus=8), node("b"), claims=[Claim(resource=GPU, count=8)]) == 4


def test_counts_are_read_however_the_api_writes_them():
    status = {"allocatable": {"devices.kubevirt.io/kvm": "1k", GPU: "8", "odd/one": "many", "cpu": "3920m"}}
    seen = observe.node({"metadata": {"name": "n"}, "status": status})
    assert seen.allocatable == {"devices.kubevirt.io/kvm": 1000, GPU: 8, "odd/one": 0}
    limits = {"nvidia.com/gpumem": "3k", GPU: 1, "odd/one": "many"}
    claimed = observe.claims({"spec": {"containers": [{"resources": {"limits": limits}}]}})
    assert {claim.resource: claim.count for claim in claimed} == {"nvidia.com/gpumem": 3000, GPU: 1}


def broken(reason, message="", **more):
    return Replica(
        name=more.pop("name", "p"), uid="u", resource_version="1", revision="r", ready=more.pop("ready", False),
        in_rotation=True, waiting_reason=reason, message=message, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "message", "told"),
    [
        ("ImagePullBackOff", "not found", "ImagePullFailed"),
        ("CreateContainerConfigError", 'secret "x" not found', "ConfigMissing"),
        ("OOMKilled", "", "OutOfMemory"),
        ("CrashLoopBackOff", '{"reason": "ModelAccessDenied", "message": "401"}', "ModelAccessDenied"),
        ("CrashLoopBackOff", "vllm: error: unrecognized arguments: --x", "InvalidEngineArgument"),
        ("CrashLoopBackOff", "who knows", "CrashLooping"),
        ("Error", "{not json", "CrashLooping"),
        ("CrashLoopBackOff", '["a list"]', "CrashLooping"),
        ("Evicted", "low on memory", "Evicted"),
    ],
)
def test_a_failure_says_why_and_what_to_do(reason, message, told):
    failure = diagnose([broken(reason, message)])
    assert failure is not None
    assert failure.reason == told
    assert failure.message


@pytest.mark.parametrize(
    "fine", [broken("ContainerCreating"), broken(""), broken("Error", ready=True), broken("Error", terminating=True)]
)
def test_what_only_starts_or_leaves_is_no_failure(fine):
    assert diagnose([fine]) is None


def test_a_transition_time_changes_only_with_the_status():
    first = conditions.settle(wanted=[conditions.condition("Ready", None, "Loading")], before=[], now=0, generation=1)
    again = conditions.settle(
        wanted=[conditions.condition("Ready", None, "Other", "x")], before=first, now=60, generation=2
    )
    assert again[0]["lastTransitionTime"] == first[0]["lastTransitionTime"]
    assert (again[0]["reason"], again[0]["observedGeneration"]) == ("Other", 2)
    turned = conditions.settle(wanted=[conditions.condition("Ready", True, "Y")], before=again, now=60, generation=2)  # noqa: FBT003
    assert turned[0]["lastTransitionTime"] == "1970-01-01T00:01:00Z"


def pod(**status):
    return {
        "metadata": {
            "name": "p", "uid": "u", "resourceVersion": "7", "creationTimestamp": "1970-01-01T00:00:10Z",
            "labels": {"modelfleet.dev/revision": "r", "modelfleet.dev/rotation": "in"},
        },
        "spec": {"nodeName": "n", "containers": [{"resources": {"limits": {GPU: "2", "cpu": "1"}}}]},
        "status": status,
    }  # fmt: skip


def test_a_ready_pod_is_read():
    seen = observe.replica(
        pod(conditions=[{"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:20Z"}])
    )
    assert (seen.ready, seen.in_rotation, seen.scheduled, seen.failed) == (True, True, True, False)
    assert (seen.created_at, seen.ready_since, seen.revision) == (10.0, 20.0, "r")


def test_a_pod_that_crashes_shows_its_last_words():
    seen = observe.replica(
        pod(
            containerStatuses=[
                {
                    "restartCount": 3,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                    "lastState": {"terminated": {"reason": "Error", "message": '{"reason": "ModelNotFound"}'}},
                }
            ]
        )
    )
    assert (seen.waiting_reason, seen.message, seen.restarts) == ("CrashLoopBackOff", '{"reason": "ModelNotFound"}', 3)


def at(seconds):
    return f"1970-01-01T00:00:{seconds:02d}Z"


@pytest.mark.parametrize(
    ("state", "unready_since", "restarts"),
    [
        ({"running": {"startedAt": at(30)}}, 20, 2),  # it loads again
        ({"running": {"startedAt": at(30)}}, 50, 0),  # it was ready since, and misses a probe
        ({"waiting": {"reason": "CrashLoopBackOff"}}, 50, 2),
        ({"terminated": {"reason": "Error"}}, 50, 2),
    ],
)
def test_restarts_are_told_of_a_container_that_is_down(state, unready_since, restarts):
    last = {"terminated": {"reason": "Error", "startedAt": at(11), "finishedAt": at(20)}}
    one = {"restartCount": 2, "ready": False, "state": state, "lastState": last}
    unready = [{"type": "Ready", "status": "False", "lastTransitionTime": at(unready_since)}]
    seen = observe.replica(pod(containerStatuses=[one], conditions=unready))
    assert (seen.restarts, bool(seen.waiting_reason)) == (restarts, bool(restarts))
    assert seen.last_run == ((11.0, 20.0) if restarts else (0.0, 0.0))


def test_a_container_that_could_not_be_started_ran_for_no_time():
    last = {"terminated": {"reason": "StartError", "startedAt": "1970-01-01T00:00:00Z", "finishedAt": at(20)}}
    one = {"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": last}
    assert observe.replica(pod(containerStatuses=[one])).last_run == (20.0, 20.0)


def container(*, waiting="", started=False, ready=False):
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    return {"state": state, "started": started, "ready": ready, "restartCount": 0}


@pytest.mark.parametrize(
    ("containers", "sandbox", "stage"),
    [
        ([], "False", ""),
        ([container(waiting="ContainerCreating")], "False", "Preparing"),
        ([container(waiting="ContainerCreating")], "True", "Pulling"),
        ([container(waiting="PodInitializing")], "True", "Preparing"),
        ([container()], "True", "Loading"),
        ([container(started=True), container(waiting="ContainerCreating")], "True", "Pulling"),
        ([container(started=True, ready=True), container()], "True", "Loading"),
        ([container(started=True)], "True", ""),
        ([container(started=True, ready=True)], "True", ""),
        ([container(waiting="ImagePullBackOff")], "True", ""),
        ([container(waiting="CrashLoopBackOff")], "True", ""),
        ([container() | {"restartCount": 1}], "True", ""),
    ],
)
def test_how_far_a_pod_is_on_its_node_is_read(containers, sandbox, stage):
    conditions = [{"type": "PodReadyToStartContainers", "status": sandbox}]
    assert observe.replica(pod(containerStatuses=containers, conditions=conditions)).stage == stage


def test_a_pod_gets_on_with_a_node_and_its_first_start_and_not_with_another_one():
    placed = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "1970-01-01T00:00:20Z"}]
    waiting = [{"type": "Initialized", "status": "False", "lastTransitionTime": "1970-01-01T00:00:30Z"}]
    started = {"state": {"running": {"startedAt": "1970-01-01T00:01:00Z"}}, "restartCount": 0}
    for containers, seen in (([], 20.0), ([started], 60.0), ([started | {"restartCount": 1}], 20.0)):
        read = observe.replica(pod(conditions=[*placed, *waiting], containerStatuses=containers))
        assert read.got_on_at == seen, containers
    assert observe.replica(pod()).got_on_at == 0.0


def test_a_pod_without_status_is_no_trouble():
    seen = observe.replica({k: v for k, v in pod().items() if k != "status"})
    assert (seen.ready, seen.waiting_reason, seen.ready_since) == (False, "", None)


def test_devices_are_claimed_until_a_pod_has_ended():
    assert observe.claims(pod(phase="Running")) == (Claim(resource=GPU, count=2, node="n"),)
    assert observe.claims(pod(phase="Succeeded")) == ()


def test_the_editor_of_a_template_is_found_and_the_controller_is_not():
    edited = {"f:spec": {"f:template": {}}}
    deployment = {
        "metadata": {
            "name": "d", "uid": "u", "resourceVersion": "1", "generation": 2,
            "managedFields": [
                {"manager": "modelfleet", "fieldsV1": edited},
                {"manager": "kube-controller-manager", "subresource": "status", "fieldsV1": {"f:status": {}}},
                {"manager": "kubectl-edit", "fieldsV1": edited},
                {"manager": "scaler", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            ],
        },
        "spec": {"replicas": 0, "template": {}},
        "status": {"observedGeneration": 1},
    }  # fmt: skip
    seen = observe.workload(deployment)
    assert (seen.foreign_managers, seen.replicas, seen.settled) == (("kubectl-edit",), 0, False)


def test_a_nodes_extended_resources_are_read():
    seen = observe.node(
        {
            "metadata": {"name": "n"},
            "spec": {"unschedulable": True, "taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "4", GPU: "8"}},
        }
    )
    assert (seen.allocatable, seen.schedulable, seen.taints) == ({GPU: 8}, False, (("k", "", "NoSchedule"),))
