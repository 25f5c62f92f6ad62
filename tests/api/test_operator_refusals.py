"""What cannot be, as it is written or as the cluster is: it is told with what to do, and what serves goes on serving."""

from __future__ import annotations

import itertools

import pytest

from tests.api.fleet import Fleet, Operator, ready

names = (f"refusals-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def operator(control_plane, tmp_path_factory):
    folder = tmp_path_factory.mktemp("operator")
    settings = {"user": "operator-refusals", "debounce_seconds": "0.1", "tick_seconds": "3600"}
    with Operator(plane=control_plane, folder=folder, **settings) as running:
        yield running


@pytest.fixture
def fleet(operator, control_plane):
    fleet = Fleet(plane=control_plane, namespace=next(names))
    yield fleet
    fleet.clear()


@pytest.mark.parametrize(
    ("typo", "word"),
    [
        ({"spec": {"containers": [{"name": "engine", "imagePullPolicy": "Sometimes"}]}}, "imagePullPolicy"),
        ({"spec": {"contaners": []}}, "contaners"),
        ({"sepc": {}}, "sepc"),
    ],
    ids=["value", "field", "field at the top"],
)
def test_a_template_that_the_api_refuses_leaves_the_old_revision_serving(fleet, typo, word):
    fleet.apply()
    fleet.await_settled()
    before = {p["metadata"]["uid"] for p in fleet.pods()}
    fleet.patch("llmdeployments", "chat", {"spec": {"template": typo}})
    refused = ("False", "TemplateInvalid")
    fleet.until(lambda: fleet.condition("Valid") == refused, what="Valid=False/TemplateInvalid")
    message = fleet.whole_condition("Valid")["message"]
    assert word in message
    assert "correct spec.template" in message
    assert {p["metadata"]["uid"] for p in fleet.pods()} == before
    assert all(map(ready, fleet.pods()))
    assert len(fleet.list("deployments")) == 1
    fleet.patch("llmdeployments", "chat", {"spec": {"template": None}})
    fleet.until(lambda: fleet.condition("Valid") == ("True", "Valid"), what="Valid=True")
    assert {p["metadata"]["uid"] for p in fleet.pods()} == before


@pytest.mark.parametrize(
    "template",
    [
        {"spec": {"containers": {"name": "engine"}}},
        {"spec": {"containers": ["engine"]}},
        {"spec": {"containers": [{"name": "engine", "resources": "much"}]}},
        {"spec": {"containers": [{"name": "engine", "resources": {"limits": ["nvidia.com/gpu"]}}]}},
        {"spec": {"containers": [{"name": "engine", "env": "A=1"}]}},
        {"spec": {"volumes": {"name": "x"}, "nodeSelector": "gpu"}},
        {"spec": ["containers"]},
        {"metadata": "labels"},
        {"metadata": {"labels": ["a"], "annotations": "b"}},
    ],
    ids=str,
)
def test_an_overlay_of_another_shape_is_told_at_the_first_apply(fleet, template):
    answer = fleet.plane.http.post(
        fleet.path("llmdeployments"),
        json={
            "apiVersion": "modelfleet.dev/v1alpha1",
            "kind": "LLMDeployment",
            "metadata": {"name": "chat", "namespace": fleet.namespace},
            "spec": {"model": {"uri": "hf://org/model"}, "replicas": 1, "template": template},
        },
    )
    if answer.is_success:  # else the API server has said it already
        fleet.until(
            lambda: fleet.condition("Valid") == ("False", "TemplateInvalid"), what="Valid=False/TemplateInvalid"
        )
        assert not fleet.list("deployments")
    else:
        assert "spec.template" in answer.json()["message"]


def test_an_overlay_that_breaks_the_selector_is_told(fleet):
    overlay = {"metadata": {"labels": {"modelfleet.dev/llmdeployment": "another"}}}
    fleet.apply(template=overlay)
    fleet.until(lambda: fleet.condition("Valid") == ("False", "TemplateInvalid"), what="Valid=False/TemplateInvalid")
    assert "selector" in fleet.whole_condition("Valid")["message"]
    assert not fleet.list("deployments")


def test_more_gpus_than_any_node_has(fleet):
    accelerator = fleet.add_gpus(2) | {"count": 4}
    fleet.apply(accelerator=accelerator, replicas=1)
    fleet.until(lambda: fleet.condition("CapacityAvailable")[0] == "False", what="CapacityAvailable=False")
    fleet.until(lambda: fleet.condition("CapacityAvailable")[1] == "NoSuchNode", what="NoSuchNode")
    message = fleet.whole_condition("CapacityAvailable")["message"]
    assert "the most is 2" in message
    assert "lower accelerator.count" in message
    assert "or add such a node" in message


def test_a_claim_that_is_missing_is_told_and_not_a_gpu(fleet):
    fleet.apply(model={"uri": "pvc://no-such-claim/model"}, accelerator=fleet.add_gpus(1), replicas=1)
    fleet.until(lambda: fleet.condition("CapacityAvailable") == ("False", "Unschedulable"), what="Unschedulable")
    message = fleet.whole_condition("CapacityAvailable")["message"]
    assert 'persistentvolumeclaim "no-such-claim" not found' in message
    assert "create that claim, or correct spec.model.uri" in message
    assert "ccelerator" not in message
    waits = "0 of 1 replicas ready: 1 without a node"
    fleet.until(lambda: fleet.whole_condition("Ready")["message"] == waits, what=waits)
