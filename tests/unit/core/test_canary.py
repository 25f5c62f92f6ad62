"""Canary on the pure cluster: exact sequences for every capacity, and what happens when people change their minds."""

import pytest

from modelfleet.core.plan import Rotate, Scale
from tests.unit.core.staged_cluster import weighed

STEPS = {"canary": {"steps": [{"weight": 20}, {"weight": 50}]}}


def test_a_good_canary_is_promoted_step_by_step(judged):
    fleet = judged(rollout=STEPS)
    old, new = fleet.update()
    assert fleet.history() == [
        ({old: 100}, {old: 2}),
        ({old: 100}, {old: 2, new: 1}),
        ({old: 80, new: 20}, {old: 2, new: 1}),
        ({old: 50, new: 50}, {old: 2, new: 1}),
        ({old: 50, new: 50}, {old: 1, new: 1}),
        ({old: 50, new: 50}, {old: 1, new: 2}),
        ({new: 100}, {old: 1, new: 2}),
        ({new: 100}, {new: 2}),
    ]
    assert fleet.roles[new] == "stable"
    assert fleet.rollout["previous"] == old


def test_one_replica_needs_one_device_more(judged):
    fleet = judged(rollout=STEPS, replicas=1, gpus=2)
    old, new = fleet.update()
    assert fleet.history() == [
        ({old: 100}, {old: 1}),
        ({old: 100}, {old: 1, new: 1}),
        ({old: 80, new: 20}, {old: 1, new: 1}),
        ({old: 50, new: 50}, {old: 1, new: 1}),
        ({new: 100}, {old: 1, new: 1}),
        ({new: 100}, {new: 1}),
    ]


def test_in_place_the_canary_takes_the_device_of_a_stable_replica(judged):
    fleet = judged(rollout=STEPS | {"capacity": "InPlace"}, gpus=2)
    old, new = fleet.update()
    assert fleet.history() == [
        ({old: 100}, {old: 2}),
        ({old: 100}, {old: 1}),
        ({old: 100}, {old: 1, new: 1}),
        ({old: 80, new: 20}, {old: 1, new: 1}),
        ({old: 50, new: 50}, {old: 1, new: 1}),
        ({new: 100}, {old: 1, new: 1}),
        ({new: 100}, {new: 1}),
        ({new: 100}, {new: 2}),
    ]


def test_in_place_with_one_replica_is_a_replacement_without_steps(judged):
    fleet = judged(rollout=STEPS | {"capacity": "InPlace"}, replicas=1, gpus=1)
    old, new = fleet.update()
    assert [counts for _, counts in fleet.history()] == [{old: 1}, {}, {new: 1}]
    assert fleet.weights == {}


def test_argo_rollouts_430_without_a_spare_device_nothing_is_left_pending(judged):
    fleet = judged(rollout=STEPS, gpus=2)
    old, new = fleet.update()
    fleet.history()
    assert fleet.counts() == {old: 2}
    assert (fleet.rollout["hold"], fleet.condition("Progressing")["reason"]) == (
        "InsufficientCapacity",
        "WaitingForCapacity",
    )
    assert "1 nvidia.com/gpu" in fleet.condition("CapacityAvailable")["message"]
    assert fleet.silent(seconds=4000) == ((), {})
    fleet.gpus = 3
    fleet.reconcile()
    assert fleet.counts() == {old: 2, new: 1}, "a spare device is used within one reconcile"


@pytest.mark.parametrize("replicas", [2, 3, 4])
@pytest.mark.parametrize("steps", [[20, 50], [50], [34, 67], [99]], ids=str)
def test_with_one_that_may_be_missing_it_goes_on_without_a_spare_device(judged, replicas, steps):
    rollout = {"canary": {"steps": [{"weight": weight} for weight in steps]}, "maxUnavailable": 1}
    fleet = judged(rollout=rollout, replicas=replicas, gpus=replicas)
    _, new = fleet.update()
    seen = fleet.history()
    assert min(sum(counts.values()) for _, counts in seen) >= replicas - 1
    assert (fleet.weights, fleet.counts()) == ({new: 100}, {new: replicas})


@pytest.mark.parametrize("capacity", ["Auto", "Surge", "InPlace"])
@pytest.mark.parametrize("replicas", [1, 2, 3, 4])
@pytest.mark.parametrize("steps", [[1], [33, 66], [99], [99, 100]], ids=str)
def test_no_promotion_is_ever_stuck(judged, capacity, replicas, steps):
    rollout = {"canary": {"steps": [{"weight": weight} for weight in steps]}, "capacity": capacity}
    fleet = judged(rollout=rollout, replicas=replicas, gpus=replicas + (capacity != "InPlace"))
    _, new = fleet.update()
    fleet.history(passes=400)
    assert fleet.counts() == {new: replicas}


BEFORE_TRAFFIC = {
    "copies": {"canary": {"steps": [{"weight": 50}], "mirror": {"percent": 10, "minSeconds": 30}}},
    "a pause": {"canary": {"steps": [{"pause": {"seconds": 30}}, {"weight": 50}]}},
}


@pytest.mark.parametrize("capacity", ["Auto", "Surge", "InPlace"])
@pytest.mark.parametrize("stage", BEFORE_TRAFFIC)
def test_what_comes_before_any_traffic_needs_no_replica_that_stable_would_have_to_give(judged, stage, capacity):
    fleet = judged(rollout=BEFORE_TRAFFIC[stage] | {"capacity": capacity}, replicas=4, gpus=8)
    old, new = fleet.update()
    seen = fleet.history()
    before_traffic = [counts for weights, counts in seen if weights == {old: 100} and new in counts]
    assert before_traffic[-1] == {old: 3 if capacity == "InPlace" else 4, new: 1}
    assert fleet.counts() == {new: 4}


def test_traffic_never_rises_above_what_warm_replicas_carry(judged):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 50}]}}, replicas=4, gpus=5)
    old, new = fleet.update()
    assert weighed(fleet.history()) == [
        {old: 100},
        {old: 75, new: 25},  # all that five devices hold beside four stable ones
        {old: 50, new: 50},
        {old: 25, new: 75},
        {new: 100},
    ]


def test_a_fixed_number_of_canary_replicas(judged):
    rollout = {"canary": {"replicas": 1, "steps": [{"weight": 50}]}}
    fleet = judged(rollout=rollout, replicas=4, gpus=5)
    old, new = fleet.update()
    fleet.until(lambda: fleet.weights == {old: 50, new: 50})
    assert fleet.counts() == {old: 4, new: 1}


@pytest.mark.parametrize("capacity", ["Auto", "Surge", "InPlace"])
@pytest.mark.parametrize("number", [2, 9])
def test_more_canary_replicas_than_fit_beside_stable_are_cut_and_that_is_told(judged, capacity, number):
    rollout = {"canary": {"replicas": number, "steps": [{"weight": 5}, {"weight": 50}]}, "capacity": capacity}
    fleet = judged(rollout=rollout, replicas=4, gpus=9)
    old, new = fleet.update()
    fleet.until(lambda: fleet.weights == {old: 95, new: 5})
    assert fleet.counts()[new] == 1
    assert f"1 of canary.replicas {number} at 5 %: rollout.maxSurge leaves room" in fleet.rollout["plan"]
    seen = fleet.history()
    assert max(sum(counts.values()) for weights, counts in seen if set(weights) == {old, new}) <= 5
    assert fleet.counts() == {new: 4}


def test_stable_is_not_kept_whole_beside_the_canary(judged):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 50}, {"pause": {}}]}}, replicas=4, gpus=8)
    old, new = fleet.update()
    fleet.history()
    assert fleet.counts() == {old: 2, new: 2}
    assert fleet.silent() == ((), {})


def test_a_promotion_restarts_nothing(judged):
    fleet = judged(rollout=STEPS)
    _, new = fleet.update()
    fleet.until(lambda: fleet.weights == {new: 100})
    serving = {name for name, pod in fleet.pods.items() if pod.revision == new}
    fleet.history()
    assert serving == set(fleet.pods)


def test_a_new_spec_under_way_first_takes_the_traffic_back(judged):
    fleet = judged(rollout=STEPS)
    old, first = fleet.update()
    fleet.until(lambda: fleet.weights == {old: 50, first: 50} and fleet.counts() == {old: 1, first: 1})
    _, second = fleet.update(seed=2)
    seen = fleet.history()
    assert seen[:5] == [
        ({old: 50, first: 50}, {old: 2, first: 1}),
        ({old: 100}, {old: 2, first: 1}),
        ({old: 100}, {old: 2}),
        ({old: 100}, {old: 2, second: 1}),
        ({old: 80, second: 20}, {old: 2, second: 1}),
    ]
    assert fleet.counts() == {second: 2}


def test_a_git_revert_under_way_moves_traffic_back_no_faster_than_stable_grows(judged):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 75}, {"pause": {}}]}}, replicas=4, gpus=5)
    old, new = fleet.update()
    fleet.until(lambda: fleet.counts() == {old: 1, new: 3} and fleet.weights.get(new) == 75)
    fleet.change(engine=None)
    for weights, counts in fleet.history():
        assert weights[old] <= 25 * counts.get(old, 0)
    assert (fleet.weights, fleet.counts()) == ({old: 100}, {old: 4})


def test_a_revert_after_the_promotion_is_instant_while_the_old_one_is_warm(judged):
    fleet = judged(rollout=STEPS | {"scaleDownDelaySeconds": 600}, replicas=1, gpus=2)
    old, new = fleet.update()
    fleet.until(lambda: fleet.roles.get(new) == "stable")
    warm = set(fleet.pods)
    fleet.change(engine=None)
    assert weighed(fleet.history()) == [{old: 100}]
    assert set(fleet.pods) == warm
    assert fleet.reasons.count("Promoted") == 2


@pytest.mark.parametrize(("replicas", "counts"), [(4, (2, 2)), (1, (1, 1))])
def test_scaling_under_way_is_no_rollout(judged, replicas, counts):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 50}, {"pause": {}}]}})
    old, new = fleet.update()
    fleet.history()
    assert fleet.counts() == {old: 1, new: 1}
    fleet.change(replicas=replicas)
    seen = fleet.history()
    assert weighed(seen) == [{old: 50, new: 50}]
    assert seen[-1][1] == dict(zip((old, new), counts, strict=True))


def test_argo_rollouts_4369_one_wish_for_both_revisions_is_split_by_weight(judged):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 50}, {"pause": {}}]}})
    old, new = fleet.update()
    fleet.history()
    bounds = {"minReplicas": 4, "maxReplicas": 6, "metrics": [{"type": "QueueDepth", "target": 5}]}
    fleet.change(replicas=None, scaling=bounds)
    assert weighed(fleet.history()) == [{old: 50, new: 50}]
    assert fleet.counts() == {old: 2, new: 2}
    assert fleet.status["scaling"]["desired"] == 4


def test_edited_steps_skip_nothing_that_was_not_passed(judged):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 20}, {"weight": 50}, {"pause": {}}]}}, replicas=2)
    old, new = fleet.update()
    fleet.history()
    assert fleet.rollout["step"] == 2
    fleet.change(rollout=fleet.spec["rollout"] | {"canary": {"steps": [{"weight": 50}, {"weight": 80}]}})
    assert weighed(fleet.history()) == [{old: 50, new: 50}, {old: 20, new: 80}, {new: 100}]


def test_another_strategy_under_way_begins_its_own_steps(judged):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 20}, {"pause": {}}]}}, replicas=1)
    old, new = fleet.update()
    fleet.history()
    assert fleet.weights == {old: 80, new: 20}
    fleet.change(rollout={"strategy": "BlueGreen"})
    fleet.history()
    assert fleet.weights == {old: 80, new: 20}
    assert fleet.rollout["hold"] == "ManualPause"
    fleet.act_on("promote 1")
    assert weighed(fleet.history()) == [{old: 80, new: 20}, {new: 100}]


def test_a_rolling_update_instead_moves_nothing_while_envoys_know_weights(judged):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 20}, {"pause": {}}]}}, replicas=1)
    old, new = fleet.update()
    fleet.history()
    fleet.change(rollout={"strategy": "RollingUpdate"})
    plan = fleet.reconcile()
    assert not [action for action in plan.actions if isinstance(action, Scale | Rotate)]
    assert plan.requeue_after == 0
    fleet.history()
    assert fleet.counts() == {new: 1}
    assert fleet.rollout["previous"] == old


def test_a_lost_status_under_way_begins_again_at_the_first_step(judged):
    fleet = judged(rollout=STEPS)
    old, new = fleet.update()
    fleet.until(lambda: fleet.weights == {old: 50, new: 50})
    fleet.status = {}
    assert weighed(fleet.history()) == [{old: 100}, {old: 80, new: 20}, {old: 50, new: 50}, {new: 100}]


def test_a_stable_deployment_that_somebody_deleted_comes_back(judged):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 20}, {"pause": {}}]}})
    old, new = fleet.update()
    fleet.history()
    del fleet.workloads[f"chat-{old}"]
    for name in [name for name, pod in fleet.pods.items() if pod.revision == old]:
        del fleet.pods[name]
    fleet.history()
    assert fleet.roles[old] == "stable"
    assert fleet.counts() == {old: 2, new: 1}
