"""What the API server refuses of an LLMDeployment's own objects: told with its words, the rest goes on, and it comes later."""

from __future__ import annotations

import itertools

import pytest

from tests.api.fleet import Fleet, Operator, ready

names = (f"refused-{number}" for number in itertools.count())
pytestmark = pytest.mark.slow  # what was refused is tried again after half a minute
POLICIES = "/apis/admissionregistration.k8s.io/v1"


@pytest.fixture(scope="module")
def operator(control_plane, tmp_path_factory):
    folder = tmp_path_factory.mktemp("operator")
    settings = {"user": "operator-refused", "debounce_seconds": "0.1", "tick_seconds": "3600"}
    with Operator(plane=control_plane, folder=folder, **settings) as running:
        yield running


@pytest.fixture
def fleet(operator, control_plane):
    fleet = Fleet(plane=control_plane, namespace=next(names))
    yield fleet
    fleet.clear()


def limit(fleet, **hard):
    """Sets a quota, and waits until it counts; returns where it stands."""
    path = f"/api/v1/namespaces/{fleet.namespace}/resourcequotas/few"
    meta = {"name": "few", "namespace": fleet.namespace}
    fleet.plane.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard}})
    fleet.until(lambda: (fleet.plane.http.get(path).json().get("status") or {}).get("hard") == hard, what="the quota")
    return path


def told(fleet):
    """The message, once it is told that something is refused."""
    refused = ("True", "ObjectRefused")
    fleet.until(lambda: fleet.condition("Degraded") == refused, what="Degraded=True/ObjectRefused", seconds=60)
    return fleet.whole_condition("Degraded")["message"]


@pytest.mark.parametrize("resource", ["services", "count/services"])
def test_a_service_that_a_quota_refuses_is_told_and_pods_serve_all_the_same(fleet, operator, resource):
    quota = limit(fleet, **{resource: "0"})
    fleet.apply()
    message = told(fleet)
    assert "Kubernetes refuses Service chat: " in message
    assert "exceeded quota: few" in message
    assert "raise the quota" in message
    fleet.until(lambda: len(fleet.pods()) == 2 and all(map(ready, fleet.pods())), what="two replicas")
    fleet.until(lambda: fleet.condition("Ready") == ("True", "AllReplicasReady"), what="Ready=True")
    assert fleet.condition("Valid") == ("True", "Valid")
    assert fleet.owned("poddisruptionbudgets")
    assert not fleet.list("services")
    fleet.patch("llmdeployments", "chat", {"spec": {"replicas": 3}})
    fleet.until(lambda: len(fleet.pods()) == 3, what="a third replica")
    before = {p["metadata"]["uid"] for p in fleet.pods()}
    fleet.plane.http.delete(quota).raise_for_status()
    fleet.until(lambda: len(fleet.owned("services")) == 2, what="the Services")
    fleet.until(lambda: fleet.condition("Degraded") == ("False", "AsExpected"), what="that it is over")
    fleet.await_settled(replicas=3)
    assert {p["metadata"]["uid"] for p in fleet.pods()} == before
    events = [e for e in fleet.list("events") if e["reason"] == "ObjectRefused"]
    assert len(events) == 1, "told once"


@pytest.fixture
def policy(fleet):
    """A policy that refuses this namespace a third replica."""
    http, name = fleet.plane.http, f"few-{fleet.namespace}"
    rules = [
        {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"], "operations": ["UPDATE"]}
    ]
    here = {"matchLabels": {"kubernetes.io/metadata.name": fleet.namespace}}
    spec = {
        "matchConstraints": {"resourceRules": rules, "namespaceSelector": here},
        "validations": [{"expression": "object.spec.replicas < 3", "message": "three are too many"}],
    }
    bound = {"policyName": name, "validationActions": ["Deny"]}
    plurals = {"validatingadmissionpolicies": spec, "validatingadmissionpolicybindings": bound}
    for plural, words in plurals.items():
        http.post(f"{POLICIES}/{plural}", json={"metadata": {"name": name}, "spec": words}).raise_for_status()
    yield
    for plural in plurals:
        http.delete(f"{POLICIES}/{plural}/{name}").raise_for_status()


def test_replicas_that_a_policy_refuses_are_told(fleet, policy):
    fleet.apply()
    fleet.await_settled()
    name = fleet.list("deployments")[0]["metadata"]["name"]
    scale = {"content": '{"spec": {"replicas": 3}}', "headers": {"Content-Type": "application/merge-patch+json"}}
    path = fleet.path("deployments", name) + "/scale?dryRun=All"
    fleet.until(lambda: fleet.plane.http.patch(path, **scale).is_error, what="the policy in force")
    fleet.patch("llmdeployments", "chat", {"spec": {"replicas": 3}})
    message = told(fleet)
    assert f"Kubernetes refuses Deployment {name}: " in message
    assert "three are too many" in message
    assert len(fleet.pods()) == 2
    fleet.patch("llmdeployments", "chat", {"spec": {"replicas": 2}})
    fleet.until(lambda: fleet.condition("Degraded") == ("False", "AsExpected"), what="that it is over")
