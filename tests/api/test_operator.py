"""What an LLMDeployment becomes, by the real operator on a control plane with faked nodes."""

from __future__ import annotations

import itertools
import re

import pytest

from tests.api.fleet import Fleet, Operator, pending, ready

names = (f"fleet-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def operator(control_plane, tmp_path_factory):
    folder = tmp_path_factory.mktemp("operator")
    # No pass by the clock helps out: what a test waits for comes of an event.
    settings = {"user": "operator-ordinary", "debounce_seconds": "0.1", "tick_seconds": "3600"}
    with Operator(plane=control_plane, folder=folder, **settings) as running:
        yield running


@pytest.fixture
def fleet(operator, control_plane):
    fleet = Fleet(plane=control_plane, namespace=next(names))
    yield fleet
    fleet.clear()


def test_it_becomes_objects_that_it_owns(fleet):
    uid = fleet.apply()["metadata"]["uid"]
    fleet.await_settled()
    status = fleet.status()
    (revision,) = status["revisions"]
    owned = {kind: fleet.list(kind) for kind in ("controllerrevisions", "deployments", "services")}
    budgets = fleet.list("poddisruptionbudgets")
    found = {kind: [one["metadata"]["name"] for one in items] for kind, items in owned.items()}
    assert found == {
        "controllerrevisions": [revision["name"]],
        "deployments": [revision["name"]],
        "services": ["chat", revision["name"]],
    }
    for one in [*itertools.chain(*owned.values()), *budgets]:
        (owner,) = one["metadata"]["ownerReferences"]
        assert owner["uid"] == uid
        assert "finalizers" not in one["metadata"]
    assert fleet.condition("Ready") == ("True", "AllReplicasReady")
    assert status["phase"] == "Ready"
    metadata = fleet.get("llmdeployments", "chat")["metadata"]
    assert "finalizers" not in metadata
    assert not metadata.get("annotations")


def test_kubectl_scale_up_and_down(fleet):
    fleet.apply()
    fleet.await_settled()
    before = {p["metadata"]["uid"] for p in fleet.pods()}
    for replicas in (4, 1):
        fleet.plane.kubectl("scale", "llmdep/chat", f"--replicas={replicas}", "-n", fleet.namespace)
        fleet.await_settled(replicas=replicas)
        after = {p["metadata"]["uid"] for p in fleet.pods()}
        assert after <= before or before <= after, "scaling replaced a replica that could have stayed"
        before = after
    reasons = [one["reason"] for one in fleet.status()["decisions"]]
    assert reasons.count("ReplicasSet") == 2


@pytest.mark.parametrize(("surge", "unavailable"), [(1, 0), (2, 1)])
def test_a_rolling_update_keeps_its_floor_and_its_ceiling(fleet, surge, unavailable):
    fleet.apply(replicas=3, rollout={"maxSurge": surge, "maxUnavailable": unavailable})
    fleet.await_settled(replicas=3)
    mark = fleet.mark()
    fleet.change()
    fleet.await_settled(replicas=3)
    states = fleet.history(mark)
    alive = [[pod for pod in state if "deletionTimestamp" not in pod["metadata"]] for state in states]
    assert len(states) > 9
    assert min(sum(map(ready, state)) for state in states) >= 3 - unavailable
    assert max(map(len, alive)) <= 3 + surge
    assert not {p["metadata"]["uid"] for p in states[0]} & {p["metadata"]["uid"] for p in fleet.pods()}
    deployments = {d["metadata"]["name"]: d["spec"]["replicas"] for d in fleet.list("deployments")}
    assert sorted(deployments.values()) == [0, 3]


def test_going_back_finds_the_old_revision(fleet):
    fleet.apply(engine={"args": ["--max-model-len=256"]})
    fleet.await_settled()
    (first,) = fleet.list("deployments")
    fleet.change(length=512)
    fleet.await_settled()
    fleet.change(length=256)
    fleet.await_settled()
    assert len(fleet.list("deployments")) == 2
    assert fleet.get("deployments", first["metadata"]["name"])["metadata"]["uid"] == first["metadata"]["uid"]
    assert {p["metadata"]["labels"]["modelfleet.dev/revision"] for p in fleet.pods()} == {
        first["metadata"]["labels"]["modelfleet.dev/revision"]
    }


def test_a_name_may_be_as_long_as_admitted(fleet):
    name = "n" * 45
    fleet.apply(name)
    fleet.await_settled(name)
    fleet.change(name)
    fleet.await_settled(name)
    assert len(fleet.owned("deployments", name)) == 2


def held(operator, fleet):
    """Why the metrics say that this namespace's rollout is held; empty when they do not."""
    labels = f'llmdeployment="chat",model_namespace="{fleet.namespace}"'
    found = re.search(rf'rollout_held_timestamp_seconds{{{labels},reason="(\w+)"}} [1-9]', operator.metrics())
    return found[1] if found else ""


def test_without_a_free_gpu_it_waits_and_goes_on_when_one_is_there(fleet, operator):
    accelerator = fleet.add_gpus(2)
    fleet.apply(accelerator=accelerator)
    fleet.await_settled()
    mark = fleet.mark()
    fleet.change()
    waits = ("False", "InsufficientGPU")
    fleet.until(lambda: fleet.condition("CapacityAvailable") == waits, what="CapacityAvailable=False")
    assert fleet.condition("Progressing") == ("True", "WaitingForCapacity")
    message = fleet.whole_condition("CapacityAvailable")["message"]
    assert "rollout.capacity: InPlace" in message
    assert "rollout.maxUnavailable: 1" in message
    fleet.until(lambda: held(operator, fleet) == "InsufficientCapacity", what="the metric of the hold")
    states = fleet.history(mark)
    assert not any(pending(pod) for state in states for pod in state)
    assert all(sum(map(ready, state)) == 2 for state in states)
    fleet.plane.http.patch(
        f"/api/v1/nodes/{fleet.namespace}/status",
        headers={"Content-Type": "application/merge-patch+json"},
        json={"status": {key: {"nvidia.com/gpu": "3"} for key in ("capacity", "allocatable")}},
    ).raise_for_status()
    fleet.await_settled()
    assert fleet.condition("CapacityAvailable") == ("True", "Fits")
    fleet.until(lambda: held(operator, fleet) == "", what="the end of that metric")
    assert min(sum(map(ready, state)) for state in fleet.history(mark)) >= 2


@pytest.mark.parametrize("rollout", [{"capacity": "InPlace"}, {"maxUnavailable": 1}])
def test_without_a_free_gpu_it_replaces_one_by_one_where_it_may(fleet, rollout):
    accelerator = fleet.add_gpus(2)
    fleet.apply(accelerator=accelerator, rollout=rollout)
    fleet.await_settled()
    mark = fleet.mark()
    fleet.change()
    fleet.await_settled()
    states = fleet.history(mark)
    alive = [[pod for pod in state if "deletionTimestamp" not in pod["metadata"]] for state in states]
    assert max(map(len, alive)) <= 2
    assert min(sum(map(ready, state)) for state in states) >= 1


def test_two_that_roll_share_one_free_gpu(fleet):
    accelerator = fleet.add_gpus(3)
    for name in ("one", "two"):
        fleet.apply(name, accelerator=accelerator, replicas=1)
    for name in ("one", "two"):
        fleet.await_settled(name, replicas=1)
    mark = fleet.mark()
    for name in ("one", "two"):
        fleet.change(name)
    for name in ("one", "two"):
        fleet.await_settled(name, replicas=1)
    assert not any(pending(pod) for state in fleet.history(mark) for pod in state)


def test_a_gpu_that_another_gives_back_wakes_the_one_that_waits(fleet):
    accelerator = fleet.add_gpus(2)
    for name in ("one", "two"):
        fleet.apply(name, accelerator=accelerator, replicas=1)
    for name in ("one", "two"):
        fleet.await_settled(name, replicas=1)
    fleet.change("one")
    fleet.until(lambda: fleet.condition("CapacityAvailable", "one")[0] == "False", what="waiting for a GPU")
    fleet.delete("llmdeployments", "two")
    fleet.await_settled("one", replicas=1)


def test_a_template_edited_by_hand_is_put_back(fleet):
    fleet.apply()
    fleet.await_settled()
    (deployment,) = fleet.list("deployments")
    template = deployment["spec"]["template"]
    name = deployment["metadata"]["name"]
    edit = {"spec": {"template": {"metadata": {"annotations": {"edited": "by-hand"}}}}}
    fleet.patch("deployments", name, edit, manager="someone")
    fleet.until(lambda: fleet.get("deployments", name)["spec"]["template"] == template, what="the repair")
    fleet.await_settled()
    fleet.until(lambda: fleet.condition("Drifted") == ("False", "AsRendered"), what="Drifted=False")
    told = [event for event in fleet.list("events") if event["reason"] == "TemplateDrifted"]
    assert len(told) == 1
    assert "someone" in told[0]["message"]


def test_a_deployment_scaled_by_hand_gets_its_replicas_back(fleet):
    fleet.apply()
    fleet.await_settled()
    (deployment,) = fleet.list("deployments")
    name, before = deployment["metadata"]["name"], deployment["metadata"]["generation"]
    fleet.patch("deployments", name, {"spec": {"replicas": 5}}, manager="someone")

    def put_back():
        live = fleet.get("deployments", name)
        return live["spec"]["replicas"] == 2 and live["metadata"]["generation"] > before + 1

    fleet.until(put_back, what="two replicas again")
    fleet.await_settled()


def test_owned_objects_that_are_deleted_or_edited_come_back(fleet):
    fleet.apply()
    fleet.await_settled()
    pods = {p["metadata"]["uid"] for p in fleet.pods()}
    uid = fleet.get("services", "chat")["metadata"]["uid"]
    fleet.delete("services", "chat")
    fleet.patch("poddisruptionbudgets", "chat", {"spec": {"maxUnavailable": 0}})
    (stored,) = fleet.list("controllerrevisions")
    fleet.delete("controllerrevisions", stored["metadata"]["name"])

    def repaired():
        service = fleet.plane.http.get(fleet.path("services", "chat"))
        again = [one["metadata"]["uid"] for one in fleet.list("controllerrevisions")]
        return (
            service.is_success
            and service.json()["metadata"]["uid"] != uid
            and fleet.get("poddisruptionbudgets", "chat")["spec"]["maxUnavailable"] == 1
            and again not in ([], [stored["metadata"]["uid"]])
        )

    fleet.until(repaired, what="the repair of Service, budget and ControllerRevision")
    assert {p["metadata"]["uid"] for p in fleet.pods()} == pods


def test_suspend_freezes_and_resume_goes_on(fleet, operator):
    fleet.apply()
    fleet.await_settled()
    fleet.patch("llmdeployments", "chat", {"spec": {"suspend": True, "replicas": 4}})
    fleet.until(lambda: fleet.condition("Suspended") == ("True", "Suspended"), what="Suspended=True")
    fleet.change()
    generation = fleet.get("llmdeployments", "chat")["metadata"]["generation"]
    fleet.until(lambda: fleet.status()["observedGeneration"] == generation, what="a look at the change")
    assert len(fleet.list("deployments")) == 1
    assert len(fleet.pods()) == 2
    victim = fleet.pods()[0]["metadata"]["name"]
    fleet.delete("pods", victim)
    fleet.until(lambda: sum(map(ready, fleet.pods())) == 2, what="the broken pod's replacement")
    fleet.patch("llmdeployments", "chat", {"spec": {"suspend": False}})
    fleet.await_settled(replicas=4)


def test_delete_removes_everything(fleet):
    fleet.apply()
    fleet.await_settled()
    fleet.change()
    fleet.until(lambda: len(fleet.list("deployments")) == 2, what="a rollout")
    fleet.delete("llmdeployments", "chat")
    kinds = ("deployments", "controllerrevisions", "services", "poddisruptionbudgets", "pods", "llmdeployments")
    fleet.until(lambda: not any(fleet.list(kind) for kind in kinds), what="the removal of everything")


def test_a_served_name_belongs_to_the_older(fleet):
    model = {"uri": "hf://org/model", "servedName": f"{fleet.namespace}/shared"}
    fleet.apply("first", model=model)
    fleet.await_settled("first")
    fleet.apply("second", model=model)
    lost = ("False", "ServedNameConflict")
    fleet.until(lambda: fleet.condition("RouteAccepted", "second") == lost, what="the conflict")
    assert f"{fleet.namespace}/first" in fleet.whole_condition("RouteAccepted", "second")["message"]
    assert fleet.condition("RouteAccepted", "first") == ("True", "Accepted")
    fleet.delete("llmdeployments", "first")
    fleet.until(lambda: fleet.condition("RouteAccepted", "second") == ("True", "Accepted"), what="the succession")


def test_a_change_that_says_nothing_costs_no_write(fleet, operator):
    fleet.apply()
    fleet.await_settled()

    def note(text: str) -> int:
        """The writes until a pass over an annotation has ended."""
        passes = operator.passes
        fleet.patch("llmdeployments", "chat", {"metadata": {"annotations": {"note": text}}})
        fleet.until(lambda: operator.passes > passes, what="a pass over the annotation")
        return operator.writes()

    assert note("first") == note("second"), "the first pass may still have told what came before"
