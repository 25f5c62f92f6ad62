"""Behind a gateway: a replica ends when the Envoys have dropped it, and a refusal shows in status."""

from __future__ import annotations

import pytest

from tests.api.chronicle import Chronicle
from tests.api.fleet import Fleet, Operator
from tests.api.scripted_gateway import ENVOY, ScriptedGateway

pytestmark = pytest.mark.slow

NAMESPACE = "behind-a-gateway"
URL = "http://gateway.example"


@pytest.fixture(scope="module")
def fleet(control_plane):
    return Fleet(plane=control_plane, namespace=NAMESPACE)


@pytest.fixture(scope="module")
def gateway(fleet):
    scripted = ScriptedGateway(fleet=fleet)
    scripted.add_pods()
    yield scripted
    scripted.stop()


@pytest.fixture(scope="module")
def operator(control_plane, fleet, gateway, tmp_path_factory):
    with Operator(
        plane=control_plane,
        folder=tmp_path_factory.mktemp("operator"),
        user="operator-gateway",
        namespace=NAMESPACE,
        watch_namespaces=NAMESPACE,
        gateway_url=URL,
        gateway_ack_timeout_seconds="15",  # three ticks fit into it, on a busy machine too
        tick_seconds="1",
        debounce_seconds="0.05",
    ) as operator:
        yield operator


@pytest.fixture(autouse=True)
def fresh(gateway, operator):
    gateway.endpoints, gateway.confirmed, gateway.rejections = [], True, {}


def out(fleet, name):
    return [p for p in fleet.pods(name) if p["metadata"]["labels"]["modelfleet.dev/rotation"] == "out"]


def wanted(fleet, name):
    return sum(d["spec"]["replicas"] for d in fleet.list("deployments") if d["metadata"]["name"].startswith(f"{name}-"))


def test_a_replica_that_an_envoy_still_uses_stays_until_it_does_not(fleet, gateway):
    fleet.apply("used", replicas=2, accelerator={"resource": "none"})
    fleet.await_settled("used")
    assert fleet.status("used")["url"] == URL
    gateway.endpoints = [p["status"]["podIP"] for p in fleet.pods("used")]
    fleet.patch("llmdeployments", "used", {"spec": {"replicas": 1}})
    fleet.until(lambda: out(fleet, "used"), what="a replica out of rotation")
    asked = gateway.asked
    fleet.until(lambda: gateway.asked >= asked + 3, what="three more questions to the gateway")
    assert wanted(fleet, "used") == 2
    gone = out(fleet, "used")[0]["status"]["podIP"]
    gateway.endpoints = [address for address in gateway.endpoints if address != gone]
    fleet.await_settled("used", replicas=1)


def test_an_envoy_that_never_answers_holds_a_drain_only_for_a_time_and_is_named(fleet, gateway):
    fleet.apply("silent", replicas=2, accelerator={"resource": "none"})
    fleet.await_settled("silent")
    gateway.confirmed = False
    with Chronicle(fleet=fleet) as chronicle:  # it is told only as long as the replica takes to end
        fleet.patch("llmdeployments", "silent", {"spec": {"replicas": 1}})
        fleet.await_settled("silent", replicas=1)
    said = [one for state in chronicle.states for one in state.llmdeployments["silent"]["status"]["conditions"]]
    told = {one["message"] for one in said if (one["status"], one["reason"]) == ("Unknown", "RouterUnverified")}
    assert len(told) == 1, said
    assert ENVOY in told.pop()
    fleet.until(lambda: fleet.condition("RouteAccepted", "silent") == ("True", "Accepted"), what="accepted again")


def test_a_refusal_of_an_envoy_shows_and_goes(fleet, gateway):
    fleet.apply("refused", replicas=1, accelerator={"resource": "none"})
    fleet.await_settled("refused", replicas=1)
    gateway.confirmed, gateway.rejections = False, {"RouteConfiguration": "duplicate domain"}
    fleet.until(
        lambda: fleet.condition("RouteAccepted", "refused") == ("False", "RejectedByEnvoy"), what="RejectedByEnvoy"
    )
    assert "duplicate domain" in fleet.whole_condition("RouteAccepted", "refused")["message"]
    gateway.confirmed, gateway.rejections = True, {}
    fleet.until(lambda: fleet.condition("RouteAccepted", "refused") == ("True", "Accepted"), what="accepted again")


def test_without_the_gateway_nobody_is_asked(fleet, gateway):
    gateway.confirmed = False
    fleet.apply("direct", replicas=2, accelerator={"resource": "none"}, routing={"provider": "Service"})
    fleet.await_settled("direct")
    fleet.patch("llmdeployments", "direct", {"spec": {"replicas": 1}})
    fleet.await_settled("direct", replicas=1)
    assert fleet.condition("RouteAccepted", "direct") == ("True", "Accepted")
    assert fleet.status("direct")["url"] == f"http://direct.{NAMESPACE}.svc"
