"""What holds a rollout up, and that nothing else does: devices, Envoys, change windows, replicas that never come."""

from dataclasses import replace

import pytest

from modelfleet.core.rollout.stages import ALL
from tests.unit.core.cluster import words
from tests.unit.core.staged_cluster import SETTINGS, StagedCluster, weighed

PAUSED = {"canary": {"steps": [{"weight": 20}, {"pause": {}}]}}


def test_surge_gives_a_pending_claim_back_and_makes_it_again(judged):
    fleet = judged(rollout={"capacity": "Surge", "capacityTimeoutSeconds": 300}, gpus=2)
    old, new = fleet.update()
    fleet.history()
    assert fleet.counts() == {old: 2, new: 1}
    assert fleet.rollout.get("hold") is None, "a node autoscaler may act on the pending pod"
    fleet.now += 300
    fleet.history(passes=3)
    assert fleet.counts() == {old: 2}
    assert fleet.rollout["hold"] == "InsufficientCapacity"
    fleet.now += 300
    fleet.history(passes=3)
    assert fleet.counts() == {old: 2, new: 1}
    fleet.gpus = 3
    fleet.history()
    assert fleet.counts() == {new: 2}


def test_the_progress_deadline_stops_while_a_device_is_awaited(judged):
    fleet = judged(rollout={"progressDeadlineSeconds": 60}, gpus=2)
    _old, new = fleet.update()
    for _ in range(5):
        fleet.turn(seconds=100)
    fleet.gpus = 3
    fleet.history()
    assert fleet.counts() == {new: 2}


def test_the_node_of_the_canary_dies(judged):
    fleet = judged(rollout=PAUSED | {"progressDeadlineSeconds": 60, "capacityTimeoutSeconds": 300}, gpus=3)
    old, new = fleet.update()
    fleet.history()
    fleet.gpus = 2
    for name in [name for name, pod in fleet.pods.items() if pod.revision == new]:
        del fleet.pods[name]
    fleet.turn()
    assert fleet.weights == {old: 100}, "no traffic for what is gone"
    fleet.history()
    assert fleet.rollout["hold"] == "InsufficientCapacity"
    fleet.now += 400
    fleet.history()
    assert fleet.counts() == {old: 2}, "a claim that nothing can fill is given back"
    fleet.gpus = 3
    fleet.history()
    assert (fleet.weights, fleet.rollout["hold"]) == ({old: 80, new: 20}, "ManualPause")


def test_one_of_two_canary_replicas_dies(judged):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 50}, {"pause": {}}]}}, replicas=4)
    old, new = fleet.update()
    fleet.history()
    fleet.unready(sorted(p.name for p in fleet.pods.values()).index(max(fleet.pods)))
    fleet.turn(warm=False)
    assert fleet.weights == {old: 67, new: 33}, "each has its part of what is left"


def test_a_canary_that_ends_again_and_again(judged):
    fleet = judged()
    old, new = fleet.update()
    for _ in range(4):
        fleet.turn(warm=False)
    for name, pod in fleet.pods.items():
        if pod.revision == new:
            fleet.pods[name] = replace(pod, restarts=2, waiting_reason="CrashLoopBackOff", message="no such flag")
    fleet.history(warm=False)
    assert fleet.counts() == {old: 2}
    assert "no such flag" in fleet.condition("Degraded")["message"]


def test_a_canary_that_never_becomes_ready(judged):
    fleet = judged(rollout={"progressDeadlineSeconds": 60})
    old, new = fleet.update()
    for _ in range(5):
        plan = fleet.turn(warm=False)
    assert plan.requeue_after <= 60
    assert fleet.counts() == {old: 2, new: 1}
    fleet.now += 60
    fleet.history(warm=False)
    assert fleet.counts() == {old: 2}
    assert "within 60 s" in fleet.condition("Degraded")["message"]


def test_a_paused_rollout_has_no_progress_deadline(judged):
    fleet = judged(rollout=PAUSED | {"progressDeadlineSeconds": 60})
    old, _new = fleet.update()
    fleet.history()
    fleet.now += 4000
    assert fleet.silent(seconds=4000) == ((), {})
    fleet.unready(sorted(fleet.pods).index(max(fleet.pods)))
    fleet.turn(warm=False)
    assert fleet.weights == {old: 100}
    assert "override" not in fleet.rollout, "the deadline begins anew"


def test_envoys_that_take_nothing_in_hold_it(judged):
    fleet = judged(rollout=PAUSED)
    old, new = fleet.update()
    fleet.until(lambda: fleet.weights == {old: 80, new: 20})
    fleet.deaf = True
    plan = fleet.turn(seconds=1)
    assert plan.requeue_after < 1
    fleet.history()
    assert fleet.rollout["hold"] == "RouterUnverified"
    assert "envoy-0" in fleet.rollout["message"]
    assert "stepStartedAt" not in fleet.rollout
    assert fleet.silent(seconds=4000) == ((), {})
    assert fleet.reconcile().requeue_after <= 5
    fleet.deaf = False
    fleet.history()
    assert fleet.rollout["hold"] == "ManualPause"


def test_stable_keeps_its_replicas_until_every_envoy_sends_it_less(judged):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 50}, {"pause": {}}]}})
    old, new = fleet.update()
    fleet.until(lambda: fleet.weights == {old: 50, new: 50})
    fleet.deaf = True
    fleet.history()
    assert fleet.counts() == {old: 2, new: 1}


def test_an_abort_does_not_wait_for_deaf_envoys_for_ever(judged):
    fleet = judged(rollout=PAUSED | {"abortScaleDownDelaySeconds": 0})
    old, new = fleet.update()
    fleet.history()
    fleet.deaf = True
    fleet.act_on("abort 1")
    fleet.turn(seconds=1)
    assert fleet.weights == {old: 100}
    plan = fleet.turn(seconds=1)
    assert fleet.counts() == {old: 2, new: 1}, "some Envoy may still send it requests"
    assert plan.requeue_after < 1
    fleet.now += 31
    fleet.history()
    assert fleet.counts() == {old: 2}


NOON = 12 * 3600.0
NIGHTS = {"window": {"cron": "0 22 * * *", "durationMinutes": 120}}


def windowed(judged, *, now, **rollout):
    fleet = judged(rollout=NIGHTS | rollout)
    fleet.now = 10 * 86_400 + now
    return fleet


def test_outside_its_window_nothing_starts(judged):
    fleet = windowed(judged, now=NOON)
    old, new = fleet.update()
    fleet.history()
    assert fleet.counts() == {old: 2}
    assert new not in fleet.roles
    assert fleet.rollout["hold"] == "Window"
    fleet.change(replicas=3)
    fleet.history()
    assert fleet.counts() == {old: 3}, "scaling is no rollout"
    plan = fleet.reconcile()
    assert 9 * 3600 < plan.requeue_after <= 10 * 3600, "it comes back by itself when the window opens"
    fleet.now += plan.requeue_after
    fleet.history()
    assert fleet.counts() == {new: 3}


@pytest.mark.parametrize("strategy", ["RollingUpdate", "Recreate"])
def test_outside_its_window_no_replica_is_replaced(judged, strategy):
    fleet = windowed(judged, now=NOON, strategy=strategy)
    old, new = fleet.update()
    fleet.history()
    assert (fleet.counts(), fleet.rollout["hold"]) == ({old: 2}, "Window")
    assert fleet.condition("Progressing")["reason"] == "Window"
    assert fleet.silent(seconds=600) == ((), {})
    fleet.change(replicas=3)
    fleet.history()
    assert fleet.counts() == {old: 3}, "scaling is no rollout"
    fleet.now += fleet.reconcile().requeue_after
    fleet.history()
    assert fleet.counts() == {new: 3}
    assert "hold" not in fleet.rollout


def test_outside_its_window_no_step_advances_but_a_fail_and_an_abort_do(judged):
    fleet = windowed(judged, now=22.5 * 3600, **PAUSED)
    old, new = fleet.update()
    fleet.history()
    fleet.now += 12 * 3600
    fleet.act_on("promote 1")
    fleet.history()
    assert (fleet.weights, fleet.rollout["hold"]) == ({old: 80, new: 20}, "Window")
    assert fleet.silent(seconds=600) == ((), {})
    fleet.act_on("abort 2")
    fleet.history()
    assert fleet.counts() == {old: 2}


def test_rollback_to_does_not_wait_for_the_window(judged):
    fleet = windowed(judged, now=22.5 * 3600)
    old, _new = fleet.update()
    fleet.history()
    fleet.now += 12 * 3600
    fleet.act_on(f"rollback-to {old} 1")
    fleet.history()
    assert fleet.weights == {old: ALL}


REFUSED = {
    "GatewayRequired": ({}, {"settings": replace(SETTINGS, gateway_url="")}),
    "WindowInvalid": ({"window": {"cron": "0 0 31 2 *", "durationMinutes": 5}}, {}),
    "QueryInvalid": ({"analysis": {"metrics": [{"name": "mine", "query": "sum(", "max": 1}]}}, {}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_go_well_starts_nothing_and_says_so(judged, reason):
    rollout, extra = REFUSED[reason]
    fleet = judged()
    old, _ = fleet.update()
    fleet.change(rollout={"strategy": "Canary", **rollout})
    fleet.extra = extra
    fleet.history()
    assert fleet.counts() == {old: 2}
    assert fleet.condition("Valid")["reason"] == reason
    fleet.change(rollout={"strategy": "Canary"})
    fleet.extra = {}
    fleet.history()
    assert fleet.weights == {fleet.revision: 100}


@pytest.mark.parametrize("reason", REFUSED)
def test_the_first_revision_does_not_start_either(reason):
    rollout, extra = REFUSED[reason]
    fleet = StagedCluster(spec=words(rollout={"strategy": "Canary", **rollout}), extra=extra)
    fleet.history()
    assert fleet.counts() == {}
    assert fleet.condition("Valid")["reason"] == reason


def test_a_refused_spec_under_way_gives_the_devices_of_the_canary_back(judged):
    fleet = judged(rollout=PAUSED)
    old, _ = fleet.update()
    fleet.history()
    fleet.change(engine={"args": ["--seed=2"]})
    fleet.extra["rejected"] = {fleet.revision: "spec.template: no"}
    assert weighed(fleet.history()) == [{old: 100}]
    assert fleet.counts() == {old: 2}
    assert fleet.condition("Valid")["reason"] == "TemplateInvalid"
    assert fleet.silent() == ((), {})


@pytest.mark.parametrize(
    ("strategy", "replicas", "way"),
    [
        ("Canary", 2, "InPlace, or rollout.maxUnavailable: 1"),
        ("Canary", 1, "set rollout.capacity: InPlace"),
        ("BlueGreen", 2, "lower rollout.blueGreen.previewReplicas"),
    ],
)
def test_the_ways_on_that_are_named_lead_on(judged, strategy, replicas, way):
    fleet = judged(rollout={"strategy": strategy}, replicas=replicas, gpus=replicas)
    fleet.update()
    fleet.history()
    message = fleet.condition("CapacityAvailable")["message"]
    assert message.endswith(way) or f"{way}, or choose" in message


def test_no_message_outlives_what_it_was_about(judged):
    fleet = judged(rollout=PAUSED | {"abortScaleDownDelaySeconds": 0})
    _, _ = fleet.update()
    fleet.history()
    fleet.act_on("abort 1")
    fleet.history()
    assert "message" not in fleet.rollout


def test_a_canary_of_one_replica_without_surge_says_that_it_is_the_surge_that_is_missing(judged):
    fleet = judged(rollout={"maxSurge": 0, "maxUnavailable": 1}, replicas=1)
    fleet.update()
    fleet.history()
    message = fleet.condition("CapacityAvailable")["message"]
    assert message.startswith("rollout.maxSurge is 0, and the only replica")
    assert message in fleet.rollout["message"]
    fleet.spec["rollout"] |= {"maxSurge": 1}
    fleet.history()
    assert fleet.counts() == {fleet.revision: 1}


def test_what_is_set_already_is_no_advice(judged):
    fleet = judged(rollout={"maxSurge": 2, "maxUnavailable": 1, "canary": {"replicas": 3}}, replicas=3, gpus=3)
    fleet.update()
    fleet.history()
    assert fleet.condition("CapacityAvailable")["message"].endswith("none is free; free one")
