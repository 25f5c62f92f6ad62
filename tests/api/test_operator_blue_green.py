"""Blue-green on a real control plane with faked nodes: preview, switch, instant undo, the old set's end."""

from __future__ import annotations

import pytest

from tests.api.rollouts import Rollouts, rollouts, warm

pytestmark = pytest.mark.slow

ANALYSIS = {"intervalSeconds": 5, "minSamples": 10, "minSeconds": 5, "warmupSeconds": 0}
LIMITED = {**ANALYSIS, "metrics": [{"name": "ttft", "minRatio": 0.9}]}
ROLLOUT = {"strategy": "BlueGreen", "canary": None, "scaleDownDelaySeconds": 3600, "analysis": ANALYSIS}


@pytest.fixture(scope="module")
def fleet(control_plane):
    with rollouts(plane=control_plane, namespace="blue-green") as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def operator(fleet, tmp_path_factory):
    with fleet.operator(folder=tmp_path_factory.mktemp("operator")) as operator:
        yield operator


def preview(fleet, name):
    """Let a whole second set be warm beside the one that serves; gives both hashes."""
    old = fleet.serve(name, **ROLLOUT)
    fleet.change(name)
    fleet.reach(name, lambda: fleet.hold(name) == "ManualPause", what="the preview")
    return old, fleet.rollout(name)["revision"]


def test_a_preview_is_whole_and_gets_no_traffic_until_a_person_switches(fleet: Rollouts):
    old, new = preview(fleet, "switched")
    assert [warm(fleet.pods("switched"), revision) for revision in (old, new)] == [2, 2]
    assert fleet.weights("switched") == {old: 100}
    roles = {r["hash"]: r["role"] for r in fleet.status("switched")["revisions"]}
    assert roles == {old: "stable", new: "preview"}
    assert f"switched-{new}" in {service["metadata"]["name"] for service in fleet.owned("services", "switched")}
    before = fleet.pods_of("switched", new)
    assert fleet.act("switched", "promote 1")[0] == "Done"
    fleet.reach("switched", lambda: fleet.serving("switched") == new, what="the switch")
    assert fleet.weights("switched") == {new: 100}
    assert fleet.pods_of("switched", new) == before, "a promotion restarts nothing"


def test_within_the_delay_an_undo_is_one_change_of_weights(fleet: Rollouts):
    old, new = preview(fleet, "undone")
    assert fleet.act("undone", "promote 1")[0] == "Done"
    fleet.reach("undone", lambda: fleet.serving("undone") == new, what="the switch")
    both = {pod["metadata"]["uid"] for pod in fleet.pods("undone")}
    mark = fleet.mark()
    assert fleet.act("undone", f"rollback-to {old} 2")[0] == "Done"
    fleet.reach("undone", lambda: fleet.weights("undone") == {old: 100}, what="the way back")
    assert {pod["metadata"]["uid"] for pod in fleet.pods("undone")} == both, "no pod came or went"
    assert min(warm(state, old) for state in fleet.history(mark)) == 2


def test_errors_after_the_switch_switch_back_by_themselves(fleet: Rollouts):
    old, new = preview(fleet, "regretted")
    assert fleet.act("regretted", "promote 1")[0] == "Done"
    fleet.reach("regretted", lambda: fleet.serving("regretted") == new, what="the switch")
    before = fleet.pods_of("regretted", old)
    fleet.traffic.failing[new] = 0.5
    fleet.reach("regretted", lambda: fleet.weights("regretted") == {old: 100}, what="the way back")
    assert fleet.pods_of("regretted", old) == before, "none of the old set came or went"
    fleet.reach("regretted", lambda: fleet.serving("regretted") == old, what="the old set as the stable one")
    degraded = fleet.whole_condition("Degraded", "regretted")
    assert (degraded["status"], degraded["reason"]) == ("True", "RolledBack")
    assert "attempts that failed" in degraded["message"]


def test_an_automatic_switch_comes_when_the_previews_own_traffic_keeps_the_limits(fleet: Rollouts):
    begun = {}
    for name, slow in (("kept", 0.0), ("broken", 0.5)):
        old = fleet.serve(name, **{**ROLLOUT, "analysis": LIMITED, "blueGreen": {"autoPromote": True}})
        fleet.change(name)
        fleet.reach(name, lambda name=name: fleet.rollout(name).get("stage") == "Trial", what="the trial")
        new = fleet.rollout(name)["revision"]
        assert fleet.weights(name) == {old: 100}
        fleet.traffic.slow[new], fleet.traffic.direct[new] = slow, 0.1
        begun[name] = (old, new)
    fleet.reach("kept", lambda: fleet.serving("kept") == begun["kept"][1], what="the switch")
    fleet.reach("broken", lambda: "RolledBack" in fleet.reasons("broken"), what="the end of the preview")
    assert fleet.weights("broken") == {begun["broken"][0]: 100}
    assert "first token" in fleet.whole_condition("Degraded", "broken")["message"]


def test_after_the_delay_the_old_set_is_gone(fleet: Rollouts):
    _, new = preview(fleet, "settled")
    fleet.patch("llmdeployments", "settled", {"spec": {"rollout": {"scaleDownDelaySeconds": 3}}})
    assert fleet.act("settled", "promote 1")[0] == "Done"
    fleet.reach_promotion("settled", new)
    fleet.await_settled("settled")


def test_an_automatic_one_waits_for_the_whole_second_set(fleet: Rollouts):
    accelerator = fleet.add_node("three", gpus=3, product="GPU-blue")
    old = fleet.serve("auto", accelerator=accelerator, **{**ROLLOUT, "blueGreen": {"autoPromote": True}})
    fleet.change("auto")
    fleet.reach("auto", lambda: fleet.hold("auto") == "InsufficientCapacity", what="the hold for want of devices")
    assert fleet.revisions_of_pods("auto") == {old}, "half a set would only hold a device"
    fleet.add_node("four", gpus=1, product="GPU-blue")
    fleet.reach("auto", lambda: fleet.serving("auto") not in {"", old}, what="the switch")
