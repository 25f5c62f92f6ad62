"""Rollouts in stages behind a Gateway that is not ours: its word is waited for, and only the engines tell of requests."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from e2e.cluster import gateway_api
from tests.api.played_gateway import PlayedGateway, routing, weights
from tests.api.rollouts import NO_DEVICE, ROLLOUT, STANDSTILL_SECONDS, Rollouts, rollouts

NAMESPACE = "gateway-api-rollouts"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WAITS = ("Unknown", "AwaitingGateway")

pytestmark = pytest.mark.story


@pytest.fixture(scope="module")
def fleet(control_plane):
    crds = gateway_api.crds("httproutes")
    for crd in crds:
        control_plane.apply(crd)
    with rollouts(plane=control_plane, namespace=NAMESPACE) as found:
        found.traffic.by_envoys = False
        yield found
    for crd in crds:
        control_plane.http.delete(f"{CRDS}/{crd['metadata']['name']}").raise_for_status()


@pytest.fixture(scope="module", autouse=True)
def operator(fleet, tmp_path_factory):
    with fleet.operator(folder=tmp_path_factory.mktemp("operator"), gateway_url="") as operator:
        yield operator


@pytest.fixture
def gateway(fleet):
    yield PlayedGateway(fleet=fleet)
    fleet.clear()


def start(fleet: Rollouts, gateway: PlayedGateway, name: str, **rollout: object) -> str:
    """A first revision that serves behind the Gateway; gives its hash."""
    words = {word: value for word, value in {**ROLLOUT, **rollout}.items() if value is not None}
    fleet.apply(name, accelerator=NO_DEVICE, routing=routing(), rollout=words)
    fleet.await_settled(name, seconds=STANDSTILL_SECONDS)

    def accepted() -> bool:
        gateway.answer(name)  # the route may be written once more
        return fleet.condition("RouteAccepted", name) == ("True", "Accepted")

    fleet.until(accepted, what="an accepted route")
    return fleet.serving(name)


def written(fleet: Rollouts, gateway: PlayedGateway, name: str, wanted: Mapping[str, int]) -> None:
    """Wait until the route has these weights by revision; the Gateway takes in each one before, and not this one."""

    def look() -> bool:
        now = fleet.get("httproutes", name)
        if weights(now) == {f"{name}-{revision}": weight for revision, weight in wanted.items()}:
            return True
        gateway.answer(name, seen=now)
        return False

    fleet.reach(name, look, what=f"a route with {wanted}")


def silent(fleet: Rollouts, name: str) -> None:
    """The rollout waits for the Gateway and says so; nothing is judged meanwhile."""
    fleet.reach(name, lambda: fleet.hold(name) == "RouterUnverified", what="a hold, as the Gateway is silent")
    assert fleet.condition("RouteAccepted", name) == WAITS
    assert "Gateway infra/edge has not taken in the newest route" in fleet.rollout(name)["message"]
    assert "stepStartedAt" not in fleet.rollout(name), "no time runs"


def test_a_canary_is_judged_by_engines_alone_and_no_step_begins_before_the_gateway_knows(fleet, gateway):
    name = "canary"
    old = start(fleet, gateway, name)
    fleet.change(name)
    fleet.reach(name, lambda: fleet.rollout(name).get("revision"), what="the rollout")
    new = fleet.rollout(name)["revision"]
    for step in (20, 50):
        written(fleet, gateway, name, {old: 100 - step, new: step})
        silent(fleet, name)
        gateway.answer(name)
        compared = fleet.reach(
            name, lambda: (fleet.rollout(name).get("analysis") or {}).get("results"), what="a comparison"
        )
        analysis = fleet.rollout(name)["analysis"]
        assert [one["name"] for one in compared] == ["ttft", "interToken", "badOutputs"], "what engines count"
        assert any(note.startswith("errors are not judged") for note in analysis["notes"]), analysis
    written(fleet, gateway, name, {new: 100, old: 0})
    silent(fleet, name)
    assert fleet.serving(name) == old
    gateway.answer(name)
    fleet.reach(name, lambda: fleet.serving(name) == new, what="the promotion")
    assert fleet.weights(name) == {new: 100}


def test_a_slow_canary_loses_its_share_of_the_route(fleet, gateway):
    name = "slow"
    old = start(fleet, gateway, name)
    fleet.change(name)
    fleet.reach(name, lambda: fleet.rollout(name).get("revision"), what="the rollout")
    new = fleet.rollout(name)["revision"]
    fleet.traffic.slow[new] = 0.4
    written(fleet, gateway, name, {old: 80, new: 20})
    gateway.answer(name)
    fleet.reach(name, lambda: "RolledBack" in fleet.reasons(name), what="the rollback")
    assert fleet.weights(name) == {old: 100}
    assert fleet.condition("Degraded", name) == ("True", "RolledBack")
    written(fleet, gateway, name, {old: 100, new: 0})
    assert fleet.pods_of(name, new), "a Gateway that does not know yet must find somebody there"


def test_a_blue_green_switch_is_one_change_of_the_route(fleet, gateway):
    name = "blue-green"
    analysis = {"intervalSeconds": 5}
    old = start(fleet, gateway, name, strategy="BlueGreen", canary=None, analysis=analysis)
    fleet.change(name)
    fleet.reach(name, lambda: fleet.rollout(name).get("revision"), what="the rollout")
    new = fleet.rollout(name)["revision"]
    written(fleet, gateway, name, {old: 100, new: 0})
    gateway.answer(name)
    fleet.reach(name, lambda: fleet.hold(name) == "ManualPause", what="the preview")
    assert fleet.weights(name) == {old: 100}
    assert fleet.act(name, "promote 1")[0] == "Done"
    written(fleet, gateway, name, {old: 0, new: 100})
    silent(fleet, name)
    assert fleet.serving(name) == old
    gateway.answer(name)
    fleet.reach(name, lambda: fleet.serving(name) == new, what="the promotion")
