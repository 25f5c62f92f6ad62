"""An Envoy that takes weights in late, or not at all: what it still does counts, not what status asks of it."""

from __future__ import annotations

from itertools import groupby

import pytest

from e2e.rollouts import weights
from tests.api.chronicle import Chronicle, broken
from tests.api.rollouts import Rollouts, rollouts
from tests.api.scripted_gateway import ENVOY

pytestmark = pytest.mark.story


@pytest.fixture(scope="module")
def fleet(control_plane):
    with rollouts(plane=control_plane, namespace="late-envoys") as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def operator(fleet, tmp_path_factory):
    with fleet.operator(folder=tmp_path_factory.mktemp("operator")) as operator:
        yield operator


@pytest.fixture(autouse=True)
def lost(fleet):
    """Nothing is sent to a revision without a ready pod, unless a test says so."""
    before, expected = fleet.traffic.lost, list[str]()
    yield expected
    fleet.gateway.late = 0.0
    fleet.gateway.withheld.clear()
    assert expected or fleet.traffic.lost == before


def new_revision(fleet: Rollouts, name: str, old: str) -> str:
    fleet.reach(name, lambda: fleet.weights(name).keys() - {old}, what="traffic for the new revision")
    return next(iter(fleet.weights(name).keys() - {old}))


def test_no_weight_is_raised_before_the_envoy_has_taken_the_last_one_in(fleet: Rollouts):
    old = fleet.serve("late")
    fleet.gateway.late = 2.0
    with Chronicle(fleet=fleet) as chronicle:
        fleet.change("late")
        new = new_revision(fleet, "late", old)
        fleet.reach_promotion("late", new)
    asked = [weights(state.llmdeployments["late"]["status"]) for state in chronicle.states]
    taken = [{r: w for r, w in one.items() if w} for name, one in fleet.gateway.taken if name == "late"]
    steps = [{old: 100}, {old: 80, new: 20}, {old: 50, new: 50}, {new: 100}]
    assert [one for one, _ in groupby(asked)] == steps
    assert [one for one, _ in groupby(taken) if one] == steps, "each was in force before the next was asked for"
    assert broken(chronicle.states, name="late", desired=2) == []


def test_a_step_does_not_begin_before_the_envoy_has_its_weight(fleet: Rollouts):
    old = fleet.serve("silent")
    fleet.gateway.withheld.add("silent")
    fleet.change("silent")
    fleet.reach("silent", lambda: fleet.hold("silent") == "RouterUnverified", what="the hold")
    new = new_revision(fleet, "silent", old)
    assert ENVOY in fleet.rollout("silent")["message"]
    assert "stepStartedAt" not in fleet.rollout("silent")
    assert (fleet.weights("silent"), fleet.traffic.requests[new]) == ({old: 80, new: 20}, 0)
    fleet.gateway.withheld.clear()
    fleet.reach_promotion("silent", new)


def test_stable_keeps_its_replicas_while_the_envoy_sends_it_requests(fleet: Rollouts):
    old, new = fleet.begin("kept", canary={"steps": [{"weight": 20}, {"pause": {}}, {"weight": 50}, {"pause": {}}]})
    fleet.reach("kept", lambda: fleet.hold("kept") == "ManualPause", what="the pause at 20 %")
    before = fleet.pods_of("kept", old)
    fleet.gateway.withheld.add("kept")
    assert fleet.act("kept", "promote-full 1")[0] == "Done"
    fleet.reach("kept", lambda: fleet.hold("kept") == "RouterUnverified", what="the hold")
    assert fleet.serving("kept") == old, "not promoted before it has the traffic"
    assert fleet.pods_of("kept", old) == before
    fleet.gateway.withheld.clear()
    fleet.reach_promotion("kept", new)


def test_an_abort_waits_for_it_only_for_a_time(fleet: Rollouts, lost: list[str]):
    old, new = fleet.begin("aborted", canary={"steps": [{"weight": 20}, {"pause": {}}]})
    lost.append("an Envoy that hears nothing goes on sending to the canary that ended")
    fleet.gateway.withheld.add("aborted")
    canary = fleet.pods_of("aborted", new)
    assert fleet.act("aborted", "abort 1")[0] == "Done"
    assert fleet.weights("aborted") == {old: 100}
    assert fleet.pods_of("aborted", new) == canary, "it may still get requests"
    fleet.reach("aborted", lambda: fleet.revisions_of_pods("aborted") == {old}, what="the end of the canary's pods")
    fleet.gateway.withheld.clear()
    fleet.await_settled("aborted")
    assert fleet.condition("Degraded", "aborted") == ("True", "Aborted")
