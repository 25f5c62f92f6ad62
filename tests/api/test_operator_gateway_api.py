"""Provider GatewayAPI against the Gateway API's own CRDs: the route, its weights, and what a Gateway says of it."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.cluster import audit, gateway_api
from tests.api.fleet import Fleet, Operator, ready
from tests.api.played_gateway import PlayedGateway, routing, weights

pytestmark = pytest.mark.slow

NAMESPACE = "gateway-api"
ACCEPTED = ("True", "Accepted")
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def fleet(control_plane):
    crds = gateway_api.crds("httproutes")
    for crd in crds:
        control_plane.apply(crd)
    yield Fleet(plane=control_plane, namespace=NAMESPACE)
    for crd in crds:
        control_plane.http.delete(f"{CRDS}/{crd['metadata']['name']}").raise_for_status()


@pytest.fixture(scope="module")
def operator(control_plane, fleet, tmp_path_factory):
    with Operator(
        plane=control_plane,
        folder=tmp_path_factory.mktemp("operator"),
        user="operator-gateway-api",
        namespace=NAMESPACE,
        watch_namespaces=NAMESPACE,
        gateway_ack_timeout_seconds="60",
        debounce_seconds="0.05",
    ) as operator:
        yield operator


@pytest.fixture
def gateway(fleet, operator):
    yield PlayedGateway(fleet=fleet)
    fleet.clear()


def start(fleet: Fleet, gateway: PlayedGateway, name: str, *, replicas: int = 2, **changes: Any) -> None:
    """An LLMDeployment that serves, and whose route the Gateway has taken in."""
    fleet.apply(name, replicas=replicas, accelerator={"resource": "none"}, routing=routing(**changes))
    fleet.await_settled(name, replicas=replicas)
    service = fleet.owned("deployments", name)[0]["metadata"]["name"]
    fleet.until(lambda: route_weights(fleet, name) == {service: replicas}, what="a route to all replicas")
    gateway.answer(name)
    fleet.until(lambda: fleet.condition("RouteAccepted", name) == ACCEPTED, what="an accepted route")


def route(fleet: Fleet, name: str) -> dict[str, Any]:
    """The HTTPRoute of this name; empty when there is none."""
    return next((one for one in fleet.list("httproutes") if one["metadata"]["name"] == name), {})


def route_weights(fleet: Fleet, name: str) -> dict[str, int]:
    found = route(fleet, name)
    return weights(found) if found else {}


def test_a_route_of_its_own_says_what_its_gateway_answers(fleet, gateway):
    fleet.apply("chat", accelerator={"resource": "none"}, routing=routing(hostnames=["chat.test"]))
    fleet.await_settled()
    waits = ("Unknown", "AwaitingGateway")
    fleet.until(lambda: fleet.condition("RouteAccepted") == waits, what="the wait for the Gateway")
    found = route(fleet, "chat")
    owner = fleet.get("llmdeployments", "chat")["metadata"]["uid"]
    assert [one["uid"] for one in found["metadata"]["ownerReferences"]] == [owner]
    assert found["spec"]["hostnames"] == ["chat.test"]
    assert fleet.status()["url"] == "http://chat.test"
    services = {one["metadata"]["name"] for one in fleet.owned("services")}
    fleet.until(lambda: list(route_weights(fleet, "chat").values()) == [2], what="a weight of two")
    assert set(route_weights(fleet, "chat")) < services
    gateway.answer("chat", accepted="False", reason="NoMatchingListenerHostname")
    said = ("False", "NoMatchingListenerHostname")
    fleet.until(lambda: fleet.condition("RouteAccepted") == said, what="the Gateway's refusal")
    assert "as the test says" in fleet.whole_condition("RouteAccepted")["message"]
    gateway.answer("chat")
    fleet.until(lambda: fleet.condition("RouteAccepted") == ACCEPTED, what="an accepted route")


def test_a_rolling_update_takes_the_weight_away_before_the_last_replica(fleet, gateway):
    start(fleet, gateway, "rolling")
    (old,) = route_weights(fleet, "rolling")
    fleet.change("rolling")

    def emptied() -> bool:
        now = fleet.get("httproutes", "rolling")
        if weights(now).get(old) == 0:
            return True
        gateway.answer("rolling", seen=now)
        return False

    fleet.until(emptied, what="a weight of 0 for the old revision")
    wait = ("Unknown", "AwaitingGateway")
    fleet.until(lambda: fleet.condition("RouteAccepted", "rolling") == wait, what="the wait for the Gateway")
    olds = [p for p in fleet.pods("rolling") if p["metadata"]["name"].startswith(old)]
    assert any(map(ready, olds)), "a Gateway that does not know yet must find somebody there"
    gateway.answer("rolling")
    fleet.await_settled("rolling")
    fleet.until(lambda: old not in route_weights(fleet, "rolling"), what="a route without the old revision")


def test_a_route_of_another_is_never_written(fleet, gateway):
    spec = {"parentRefs": [{"name": "theirs"}], "hostnames": ["theirs.test"]}
    metadata = {"name": "taken", "namespace": NAMESPACE}
    theirs = fleet.plane.apply(
        {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": spec}
    )
    fleet.apply("taken", accelerator={"resource": "none"}, routing=routing())
    fleet.await_settled("taken")
    theirs_is = ("False", "RouteNotOurs")
    fleet.until(lambda: fleet.condition("RouteAccepted", "taken") == theirs_is, what="RouteNotOurs")
    assert "rename or delete it" in fleet.whole_condition("RouteAccepted", "taken")["message"]
    assert route(fleet, "taken")["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]
    fleet.delete("httproutes", "taken")
    fleet.until(lambda: route(fleet, "taken").get("metadata", {}).get("ownerReferences"), what="a route of its own")


@pytest.mark.parametrize("hand", ["a filter", "another listener", "no labels", "nothing left"])
def test_a_change_by_hand_is_put_back(fleet, gateway, hand):
    name = hand.replace(" ", "-")
    start(fleet, gateway, name)
    before = route(fleet, name)
    redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": "elsewhere.test"}}
    listener = [{**before["spec"]["parentRefs"][0], "sectionName": "other"}]
    if hand == "a filter":
        rules = [{"filters": [redirect], "matches": before["spec"]["rules"][0]["matches"]}]
        fleet.patch("httproutes", name, {"spec": {"rules": rules}})
    elif hand == "another listener":
        fleet.patch("httproutes", name, {"spec": {"parentRefs": listener}})
    elif hand == "no labels":
        fleet.patch("httproutes", name, {"metadata": {"labels": dict.fromkeys(before["metadata"]["labels"])}})
    else:
        fleet.delete("httproutes", name)

    def put_back() -> bool:
        now = route(fleet, name)
        return bool(now) and (now["spec"], now["metadata"].get("labels")) == (
            before["spec"],
            before["metadata"]["labels"],
        )

    fleet.until(put_back, what="the route as it was")


def test_another_provider_takes_the_route_away_and_back(fleet, gateway):
    start(fleet, gateway, "moving", hostnames=["moving.test"])
    fleet.patch("llmdeployments", "moving", {"spec": {"routing": {"provider": "Service", "gatewayAPI": None}}})
    fleet.until(lambda: not route(fleet, "moving"), what="the route's end")
    url = f"http://moving.{NAMESPACE}.svc"
    fleet.until(lambda: fleet.status("moving")["url"] == url, what="the plain Service's address")
    assert fleet.condition("RouteAccepted", "moving") == ACCEPTED
    fleet.patch("llmdeployments", "moving", {"spec": {"routing": routing()}})
    fleet.until(lambda: route(fleet, "moving"), what="a new route")


def test_what_the_api_server_refuses_is_told_and_holds_up_nothing_else(fleet, gateway):
    start(fleet, gateway, "refused")
    last = route(fleet, "refused")["spec"]
    twice = [{"name": "edge"}, {"name": "edge"}]
    fleet.patch("llmdeployments", "refused", {"spec": {"replicas": 3, "routing": routing(parentRefs=twice)}})
    fleet.until(lambda: fleet.condition("RouteAccepted", "refused") == ("False", "RouteRefused"), what="RouteRefused")
    assert "sectionName must be unique" in fleet.whole_condition("RouteAccepted", "refused")["message"]
    fleet.await_settled("refused", replicas=3)
    assert route(fleet, "refused")["spec"] == last
    fleet.patch("llmdeployments", "refused", {"spec": {"routing": routing()}})
    fleet.until(lambda: list(route_weights(fleet, "refused").values()) == [3], what="the newest route")


def test_passes_over_an_unchanged_route_write_nothing(fleet, gateway, operator):
    start(fleet, gateway, "idle")

    def note(number: int) -> None:
        passes = operator.passes
        fleet.patch("httproutes", "idle", {"metadata": {"annotations": {"note": str(number)}}})
        fleet.until(lambda: operator.passes > passes, what="one more pass")

    note(0)  # which may still tell what came before
    mark = audit.end(fleet.plane.audit_log)
    for number in range(1, 4):
        note(number)
    assert operator.writes(since=mark) == 0
