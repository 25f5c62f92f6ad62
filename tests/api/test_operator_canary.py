"""Canaries on a real control plane with faked nodes: judged by counters, promoted, rolled back, held, steered by hand."""

from __future__ import annotations

import pytest

from tests.api.fleet import Fleet, Operator
from tests.api.scripted_gateway import ScriptedGateway
from tests.api.scripted_traffic import ScriptedTraffic

NAMESPACE = "canaries"
SLOW_START = 90.0
"""Seconds for a whole rollout: a step takes four blocks of 5 s."""
ROLLOUT = {
    "strategy": "Canary",
    "canary": {"steps": [{"weight": 20}, {"weight": 50}]},
    "analysis": {"intervalSeconds": 5, "minSamples": 10, "minSeconds": 10, "warmupSeconds": 0},
    "scaleDownDelaySeconds": 5,
    "abortScaleDownDelaySeconds": 1,
}


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
def traffic(fleet):
    scripted = ScriptedTraffic(fleet=fleet)
    yield scripted
    scripted.stop()


@pytest.fixture(scope="module")
def start(control_plane, fleet, gateway, traffic, tmp_path_factory):
    def start() -> Operator:
        return Operator(
            plane=control_plane,
            folder=tmp_path_factory.mktemp("operator"),
            user="operator-canaries",
            namespace=NAMESPACE,
            watch_namespaces=NAMESPACE,
            gateway_url="http://gateway.example",
            gateway_ack_timeout_seconds="4",
            prometheus_url=traffic.url,
            tick_seconds="1",
            debounce_seconds="0.05",
            lease_seconds="6",
        )

    return start


@pytest.fixture
def operator(start):
    with start() as operator:
        yield operator


def begin(fleet, name, **rollout):
    """Let a first revision serve, then ask for another; gives both hashes."""
    fleet.apply(name, replicas=2, accelerator={"resource": "none"}, rollout={**ROLLOUT, **rollout})
    fleet.await_settled(name)
    old = serving(fleet, name)
    fleet.change(name)
    fleet.until(lambda: weights(fleet, name).keys() - {old}, what=f"traffic for the new revision of {name}")
    return old, next(iter(weights(fleet, name).keys() - {old}))


def weights(fleet, name):
    return {r["hash"]: r["weight"] for r in fleet.status(name).get("revisions", ()) if r.get("weight")}


def serving(fleet, name):
    return next((r["hash"] for r in fleet.status(name).get("revisions", ()) if r["role"] == "stable"), "")


def rollout(fleet, name):
    return fleet.status(name).get("rollout", {})


def reasons(fleet, name):
    return [d["reason"] for d in fleet.status(name)["decisions"]]


def test_a_good_canary_is_promoted_by_itself(fleet, operator):
    old, new = begin(fleet, "good")
    fleet.until(lambda: serving(fleet, "good") == new, what="the promotion", seconds=SLOW_START)
    assert reasons(fleet, "good")[-6:] == [
        "WeightSet",
        "StepPassed",
        "WeightSet",
        "StepPassed",
        "WeightSet",
        "Promoted",
    ]
    assert weights(fleet, "good") == {new: 100}
    assert rollout(fleet, "good")["previous"] == old
    fleet.await_settled("good")
    assert {p["metadata"]["labels"]["modelfleet.dev/revision"] for p in fleet.pods("good")} == {new}


def test_a_slow_canary_is_rolled_back_with_numbers(fleet, traffic, operator):
    fleet.apply("slow", replicas=2, accelerator={"resource": "none"}, rollout=ROLLOUT)
    fleet.await_settled("slow")
    old = serving(fleet, "slow")
    before = {p["metadata"]["uid"] for p in fleet.pods("slow")}
    fleet.change("slow")
    fleet.until(lambda: rollout(fleet, "slow").get("revision"), what="the rollout")
    new = rollout(fleet, "slow")["revision"]
    traffic.slow[new] = 0.4
    fleet.until(lambda: "RolledBack" in reasons(fleet, "slow"), what="the rollback", seconds=SLOW_START)
    assert weights(fleet, "slow") == {old: 100}
    degraded = fleet.whole_condition("Degraded", "slow")
    assert (degraded["status"], degraded["reason"]) == ("True", "RolledBack")
    assert "stable 0.00% of" in degraded["message"]
    fleet.until(lambda: {p["metadata"]["uid"] for p in fleet.pods("slow")} == before, what="only stable's own pods")


def test_prometheus_away_holds_and_back_goes_on(fleet, traffic, operator):
    _, new = begin(fleet, "held")
    traffic.fault = "error"
    try:
        fleet.until(lambda: rollout(fleet, "held").get("hold") == "NoData", what="a hold for want of data")
        assert weights(fleet, "held")[new] < 100
    finally:
        traffic.fault = ""
    fleet.until(lambda: serving(fleet, "held") == new, what="the promotion", seconds=SLOW_START)


def test_a_person_aborts_and_the_same_spec_stays_aborted(fleet, operator):
    old, new = begin(fleet, "aborted")
    act(fleet, "aborted", "abort 1")
    answer = rollout(fleet, "aborted")["lastAction"]
    assert (answer["id"], answer["result"]) == ("1", "Done"), answer
    assert weights(fleet, "aborted") == {old: 100}
    fleet.await_settled("aborted")
    assert fleet.condition("Degraded", "aborted") == ("True", "Aborted")
    act(fleet, "aborted", f"rollback-to {new} 2")
    fleet.until(lambda: new in weights(fleet, "aborted"), what="a second try")


def test_a_person_takes_it_to_the_end(fleet, operator):
    _, new = begin(fleet, "full", canary={"steps": [{"weight": 20}, {"pause": {}}, {"weight": 50}]})
    act(fleet, "full", "promote-full 1")
    fleet.until(lambda: serving(fleet, "full") == new, what="the promotion")


def test_killed_in_the_middle_another_operator_ends_it(fleet, start):
    first = start()
    try:
        _, new = begin(fleet, "killed")
    finally:
        first.kill()
    for weight in (20, 50):
        with start() as operator:
            fleet.until(
                lambda w=weight: weights(fleet, "killed").get(new, 0) >= w, what=f"{weight} %", seconds=SLOW_START
            )
            operator.kill()
    with start():
        fleet.until(lambda: serving(fleet, "killed") == new, what="the promotion", seconds=SLOW_START)
        fleet.await_settled("killed")


def act(fleet, name, text):
    fleet.patch("llmdeployments", name, {"metadata": {"annotations": {"modelfleet.dev/action": text}}})
    known = text.split()[-1]
    fleet.until(lambda: rollout(fleet, name).get("lastAction", {}).get("id") == known, what=f"the answer to {text}")
