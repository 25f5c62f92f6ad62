"""What a person asks of a rollout under way, and the answers: Done, Refused, Stale, each once."""

from dataclasses import fields

import pytest

from modelfleet.api.v1alpha1.status import RolloutStatus
from modelfleet.core.rollout.memory import Memory, written

PAUSED = {"canary": {"steps": [{"weight": 20}, {"pause": {}}, {"weight": 50}, {"pause": {}}]}}


@pytest.fixture
def canary(judged):
    fleet = judged(rollout=PAUSED)
    fleet.old, fleet.new = fleet.update()
    fleet.history()
    assert (fleet.weights, fleet.rollout["hold"]) == ({fleet.old: 80, fleet.new: 20}, "ManualPause")
    return fleet


def answer(fleet, text):
    fleet.act_on(text)
    fleet.history()
    return fleet.rollout["lastAction"]["result"]


def test_a_pause_step_waits_for_promote_and_costs_nothing(canary):
    assert canary.silent(seconds=4000) == ((), {})
    assert answer(canary, "promote 1") == "Done"
    assert canary.weights == {canary.old: 50, canary.new: 50}
    assert "stage" in canary.rollout


def test_an_id_counts_once(canary):
    assert answer(canary, "promote 1") == "Done"
    weights = canary.weights
    assert canary.silent(seconds=4000) == ((), {})
    assert answer(canary, "abort 1") == "Done"
    assert canary.weights == weights, "the same id asks for nothing"


def test_a_timed_pause_ends_by_itself(judged):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 20}, {"pause": {"seconds": 100}}]}})
    _, new = fleet.update()
    fleet.until(lambda: fleet.rollout.get("stage") == "Pause 20 %" and fleet.rollout.get("stepStartedAt"))
    plan = fleet.turn(seconds=1)
    assert 90 <= plan.requeue_after <= 100
    fleet.history()
    assert fleet.weights[new] == 20
    fleet.now += 100
    fleet.history()
    assert fleet.counts() == {new: 2}


def test_promote_full_goes_to_the_end_without_verdicts(canary):
    assert answer(canary, f"promote-full {canary.new} 1") == "Done"
    assert canary.counts() == {canary.new: 2}


def test_pause_and_resume(judged):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 20}, {"weight": 50}]}})
    old, new = fleet.update()
    fleet.turn()
    assert answer(fleet, "pause 1") == "Done"
    assert fleet.weights == {old: 100}
    assert fleet.silent(seconds=4000) == ((), {})
    assert answer(fleet, "resume 2") == "Done"
    assert fleet.counts() == {new: 2}


@pytest.mark.parametrize("verb", ["promote", "promote-full", "pause", "resume"])
def test_an_action_for_another_revision_is_stale(canary, verb):
    before = canary.weights
    assert answer(canary, f"{verb} 0123456789 1") == "Stale"
    assert canary.weights == before


@pytest.mark.parametrize("verb", ["promote", "promote-full", "pause"])
def test_an_action_that_was_meant_for_what_came_before_is_stale(judged, verb):
    fleet = judged()
    old, _new = fleet.update()
    fleet.act_on(f"{verb} 1")
    fleet.turn()
    assert fleet.rollout["lastAction"]["result"] == "Stale"
    assert fleet.weights == {old: 100}


@pytest.mark.parametrize("verb", ["promote", "promote-full", "pause", "resume"])
def test_nothing_to_steer_is_refused(judged, verb):
    fleet = judged()
    assert answer(fleet, f"{verb} 1") == "Refused"
    assert fleet.silent() == ((), {})


def test_a_rolling_update_has_no_steps(judged):
    fleet = judged(rollout={"strategy": "RollingUpdate"}, gpus=2)
    old, _new = fleet.update()
    fleet.history()
    assert answer(fleet, "promote 1") == "Refused"
    assert answer(fleet, "abort 2") == "Done"
    assert fleet.counts() == {old: 2}
    assert fleet.condition("Degraded")["reason"] == "Aborted"


def test_rollback_to_needs_a_revision_that_is_there(canary):
    assert answer(canary, "rollback-to 0123456789 1") == "Refused"
    assert canary.old in canary.rollout["lastAction"]["message"]
    assert canary.weights == {canary.old: 80, canary.new: 20}


def test_rollback_to_stable_under_way_ends_it_without_a_failure(canary):
    assert answer(canary, f"rollback-to {canary.old} 1") == "Done"
    assert canary.counts() == {canary.old: 2}
    assert canary.condition("Degraded")["status"] == "False"
    assert canary.silent(seconds=4000) == ((), {})


def test_rollback_to_any_revision_of_the_history_needs_no_steps(judged):
    fleet = judged()
    first, _second = fleet.update()
    fleet.history()
    _, third = fleet.update(seed=2)
    fleet.history()
    fleet.now += 700
    fleet.history()
    assert fleet.counts() == {third: 2}
    assert answer(fleet, f"rollback-to {first} 1") == "Done"
    assert fleet.weights == {first: 100}
    assert fleet.rollout["override"]["reason"] == "RollbackTo"
    fleet.change(engine={"args": ["--seed=4"]})
    fleet.history()
    assert fleet.roles[fleet.revision] == "stable", "it holds until the spec changes"


@pytest.mark.parametrize("delay", [0, 3600])
def test_rollback_to_a_third_revision_starts_it_anew_and_only_the_previous_one_is_warm(judged, delay):
    fleet = judged(rollout={"scaleDownDelaySeconds": delay})
    first, second = fleet.update()
    fleet.until(lambda: fleet.roles.get(second) == "stable")
    _, third = fleet.update(seed=2)
    fleet.until(lambda: fleet.roles.get(third) == "stable")
    fleet.history()
    assert fleet.counts().keys() - {third} == ({second} if delay else set()), "who served before it is all that stays"
    before = set(fleet.pods)
    assert answer(fleet, f"rollback-to {first} 1") == "Done"
    assert fleet.weights == {first: 100}
    assert {pod.revision for name, pod in fleet.pods.items() if name not in before} == {first}, "it had no replica left"
    assert fleet.rollout["previous"] == third


@pytest.mark.parametrize("passes", range(1, 9))
def test_an_abort_is_right_at_any_moment_and_idempotent(judged, passes):
    fleet = judged(rollout=PAUSED | {"abortScaleDownDelaySeconds": 0})
    old, _new = fleet.update()
    for _ in range(passes):
        fleet.turn()
    assert answer(fleet, "abort 1") == "Done"
    assert (fleet.weights, fleet.counts()) == ({old: 100}, {old: 2})
    assert answer(fleet, "abort 2") == "Done"
    assert fleet.silent(seconds=4000) == ((), {})


def test_an_abort_hurries_what_goes_back_already(judged):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 75}, {"pause": {}}]}}, replicas=4, gpus=5)
    old, new = fleet.update()
    fleet.until(lambda: fleet.counts() == {old: 1, new: 3} and fleet.weights.get(new) == 75)
    fleet.gpus = 4  # somebody else took the spare one: stable cannot grow
    fleet.change(engine=None)
    fleet.history()
    assert fleet.weights == {old: 25, new: 75}
    assert fleet.condition("CapacityAvailable")["status"] == "False"
    assert answer(fleet, "abort 1") == "Done"
    assert (fleet.weights, fleet.counts()) == ({old: 100}, {old: 4})
    assert fleet.condition("Degraded")["status"] == "False", "the spec asks for what is served"


def test_an_abort_of_a_rollback_serves_what_the_spec_asks_for(judged):
    fleet = judged(rollout={"scaleDownDelaySeconds": 0})
    old, new = fleet.update()
    fleet.history()
    fleet.act_on(f"rollback-to {old} 1")
    fleet.turn(warm=False)
    assert answer(fleet, "abort 2") == "Done"
    assert fleet.counts() == {new: 2}
    assert fleet.condition("Degraded")["status"] == "False"


def test_suspended_everything_stands_but_an_abort_works(canary):
    canary.change(suspend=True)
    canary.history()
    assert canary.weights == {canary.old: 80, canary.new: 20}
    assert canary.silent(seconds=4000) == ((), {})
    assert answer(canary, "promote 1") == "Refused"
    assert answer(canary, "abort 2") == "Done"
    assert canary.weights == {canary.old: 100}
    assert canary.counts() == {canary.old: 2, canary.new: 1}, "no replica is touched"
    canary.change(suspend=False)
    canary.history()
    assert canary.counts() == {canary.old: 2}


def test_every_field_that_is_remembered_is_in_the_api():
    full = {f.name: f.default for f in fields(Memory)}
    some = {name: {bool: True, int: 1, float: 60.0, str: "x"}.get(type(value)) for name, value in full.items()}
    said = written(Memory(**{name: value for name, value in some.items() if value is not None}))
    assert RolloutStatus.model_validate(said).manifest().keys() == said.keys()
