"""Kubernetes writes some words of a template otherwise than they were sent: that is no hand edit, and must stop nothing."""

from __future__ import annotations

import pytest

from tests.api.fleet import Fleet, Operator, ready

OVERLAY = {
    "spec": {
        "hostNetwork": False,
        "containers": [{"name": "engine", "resources": {"requests": {"cpu": "0.5"}}}],
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "10240Mi"}}],
    }
}
"""Each of these comes back in other words, or not at all."""


@pytest.fixture
def fleet(control_plane, tmp_path):
    fleet = Fleet(plane=control_plane, namespace="normalised")
    settings = {"user": "operator-normalised", "debounce_seconds": "0.1", "tick_seconds": "3600"}
    with Operator(plane=control_plane, folder=tmp_path, **settings):
        yield fleet
        fleet.clear()


def test_what_kubernetes_writes_otherwise_is_no_hand_edit(fleet):
    fleet.apply(engine={"type": "vLLM", "env": [{"name": "EMPTY", "value": ""}]}, template=OVERLAY)
    fleet.await_settled()
    assert fleet.condition("Drifted") == ("False", "AsRendered")
    fleet.patch("llmdeployments", "chat", {"spec": {"replicas": 1}})
    fleet.until(lambda: sum(map(ready, fleet.pods())) == 1, what="one replica less")
    assert not drifted(fleet)

    (deployment,) = fleet.list("deployments")
    name, template = deployment["metadata"]["name"], deployment["spec"]["template"]
    assert "hostNetwork" not in template["spec"], "Kubernetes keeps this word by now: choose another"
    fleet.patch("deployments", name, {"spec": {"template": {"spec": {"enableServiceLinks": None}}}}, manager="someone")
    fleet.until(lambda: fleet.get("deployments", name)["spec"]["template"] == template, what="a real edit's repair")
    fleet.until(lambda: drifted(fleet), what="the Event of the repair")
    fleet.until(lambda: fleet.condition("Drifted") == ("False", "AsRendered"), what="rest after it")
    fleet.patch("llmdeployments", "chat", {"spec": {"replicas": 2}})
    fleet.await_settled()
    assert len(drifted(fleet)) == 1, "one edit, one repair"


def drifted(fleet: Fleet) -> list[str]:
    return [event["message"] for event in fleet.list("events") if event["reason"] == "TemplateDrifted"]
