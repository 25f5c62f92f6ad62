"""Canaries on a real control plane with faked nodes: judged by counters, promoted, rolled back, held, steered by hand."""

from __future__ import annotations

import pytest

from tests.api.rollouts import NO_DEVICE, STANDSTILL_SECONDS, Rollouts, rollouts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fleet(control_plane):
    with rollouts(plane=control_plane, namespace="canaries") as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def operator(fleet, tmp_path_factory):
    with fleet.operator(folder=tmp_path_factory.mktemp("operator")) as operator:
        yield operator


def test_a_good_canary_is_promoted_by_itself(fleet: Rollouts):
    old, new = fleet.begin("good")
    fleet.reach_promotion("good", new)
    went = ["WeightSet", "StepPassed", "WeightSet", "StepPassed", "WeightSet", "Promoted"]
    assert [reason for reason in fleet.reasons("good") if reason in went][-6:] == went
    assert fleet.weights("good") == {new: 100}
    assert fleet.rollout("good")["previous"] == old
    fleet.await_settled("good")


def test_a_slow_canary_is_rolled_back_with_numbers(fleet: Rollouts):
    old = fleet.serve("slow")
    before = fleet.pods_of("slow", old)
    fleet.change("slow")
    fleet.reach("slow", lambda: fleet.rollout("slow").get("revision"), what="the rollout")
    fleet.traffic.slow[fleet.rollout("slow")["revision"]] = 0.4
    fleet.reach("slow", lambda: "RolledBack" in fleet.reasons("slow"), what="the rollback")
    assert fleet.weights("slow") == {old: 100}
    degraded = fleet.whole_condition("Degraded", "slow")
    assert (degraded["status"], degraded["reason"]) == ("True", "RolledBack")
    assert "stable 0.00% of" in degraded["message"]
    fleet.reach("slow", lambda: fleet.revisions_of_pods("slow") == {old}, what="only stable's own pods")
    assert fleet.pods_of("slow", old) == before


def test_a_canary_whose_requests_fail_is_rolled_back(fleet: Rollouts):
    old = fleet.serve("failing")
    fleet.change("failing")
    fleet.reach("failing", lambda: fleet.rollout("failing").get("revision"), what="the rollout")
    fleet.traffic.failing[fleet.rollout("failing")["revision"]] = 0.5
    fleet.reach("failing", lambda: "RolledBack" in fleet.reasons("failing"), what="the rollback")
    assert fleet.weights("failing") == {old: 100}
    assert "attempts that failed" in fleet.whole_condition("Degraded", "failing")["message"]


def test_prometheus_down_empty_or_without_numbers_holds_and_back_goes_on(fleet: Rollouts):
    names = {"error": "held-down", "empty": "held-empty", "nan": "held-nan"}
    begun = {}
    try:
        for fault, name in names.items():  # one after the other: it holds before it can be promoted
            begun[fault] = fleet.begin(name)
            fleet.traffic.faults[name] = fault
        for fault, name in names.items():
            fleet.reach(name, lambda name=name: fleet.hold(name) == "NoData", what=f"a hold, as Prometheus is {fault}")
            assert fleet.weights(name)[begun[fault][1]] < 100
    finally:
        fleet.traffic.faults.clear()
    for fault, name in names.items():
        fleet.reach_promotion(name, begun[fault][1])


def test_a_person_aborts_and_the_same_spec_stays_aborted(fleet: Rollouts):
    old, new = fleet.begin("aborted")
    assert fleet.act("aborted", "abort 1")[0] == "Done"
    assert fleet.weights("aborted") == {old: 100}
    fleet.reach("aborted", lambda: fleet.revisions_of_pods("aborted") == {old}, what="the end of the canary's pods")
    assert fleet.condition("Degraded", "aborted") == ("True", "Aborted")
    assert fleet.act("aborted", f"rollback-to {new} 2")[0] == "Done"
    fleet.reach("aborted", lambda: new in fleet.weights("aborted"), what="a second try")


def test_a_person_takes_it_to_the_end(fleet: Rollouts):
    _, new = fleet.begin("full", canary={"steps": [{"weight": 20}, {"pause": {}}, {"weight": 50}]})
    assert fleet.act("full", "promote-full 1")[0] == "Done"
    fleet.reach_promotion("full", new)


def test_actions_out_of_place_are_answered_and_change_nothing(fleet: Rollouts):
    name, other = "asked", "f" * 10
    old, new = fleet.begin(name, canary={"steps": [{"weight": 20}, {"pause": {}}]})
    result, message = fleet.act(name, f"promote-full {other} 1")
    assert (result, new in message) == ("Stale", True)
    result, message = fleet.act(name, f"rollback-to {other} 2")
    assert (result, old in message, new in message) == ("Refused", True, True)
    result, message = fleet.act(name, "publish 3")
    assert (result, "publish is no action" in message) == ("Refused", True)
    assert fleet.weights(name) == {old: 80, new: 20}
    assert fleet.act(name, "abort 4")[0] == "Done"
    fleet.reach(name, lambda: fleet.revisions_of_pods(name) == {old}, what="the end of the canary's pods")
    assert fleet.act(name, "promote 5") == ("Refused", "nothing is rolling out")
    assert fleet.weights(name) == {old: 100}


def test_without_a_gateway_it_is_refused_and_what_serves_goes_on(control_plane, tmp_path):
    with (
        rollouts(plane=control_plane, namespace="no-gateway") as fleet,
        fleet.operator(folder=tmp_path, gateway_url=""),
    ):
        fleet.apply(accelerator=NO_DEVICE)
        fleet.await_settled()
        before = {pod["metadata"]["uid"] for pod in fleet.pods()}
        fleet.patch("llmdeployments", "chat", {"spec": {"rollout": {"strategy": "Canary"}}})
        fleet.change()
        fleet.until(lambda: fleet.condition("Valid") == ("False", "GatewayRequired"), what="the refusal")
        assert fleet.condition("Ready")[0] == "True"
        assert {pod["metadata"]["uid"] for pod in fleet.pods()} == before
        fleet.patch("llmdeployments", "chat", {"spec": {"rollout": {"strategy": "RollingUpdate"}}})
        fleet.await_settled(seconds=STANDSTILL_SECONDS)
        assert {pod["metadata"]["uid"] for pod in fleet.pods()}.isdisjoint(before)
