"""Blue-green that is judged: the preview before its switch, and what serves after it, while the way back is warm."""

import pytest

from modelfleet.core.assess import Assessment
from tests.unit.core.staged_cluster import FAIL, PASS, verdict, weighed

LIMITED = {"metrics": [{"name": "ttft", "minRatio": 0.9}]}


@pytest.fixture
def fleet(judged):
    """A blue-green whose preview is warm and of which nothing is known yet."""

    def make(*, auto=False, says=None, gpus=8, **more):
        rollout = {"strategy": "BlueGreen", "scaleDownDelaySeconds": 600, "blueGreen": {"autoPromote": auto}}
        fleet = judged(rollout=rollout | {"analysis": LIMITED} | more, says=says or Assessment(), gpus=gpus)
        old, new = fleet.update()
        fleet.history()
        assert fleet.counts() == {old: 2, new: 2}
        return fleet, old, new

    return make


@pytest.fixture
def switched(fleet):
    """One that has just switched, by a person."""

    def make(**more):
        found, old, new = fleet(**more)
        found.act_on("promote 1")
        found.until(lambda: found.roles.get(new) == "stable", seconds=1)
        assert found.weights == {new: 100}
        return found, old, new

    return make


def test_an_automatic_switch_waits_for_the_limits(fleet):
    fleet, old, new = fleet(auto=True)
    assert (fleet.weights, fleet.rollout["phase"], fleet.rollout["stage"]) == ({old: 100}, "Preview", "Trial")
    assert fleet.silent(seconds=4000) == ((), {})
    fleet.says = PASS
    assert weighed(fleet.history()) == [{old: 100}, {new: 100}]


def test_without_a_limit_of_the_users_it_switches_unjudged_and_says_so(fleet):
    fleet, _, new = fleet(auto=True, analysis={"metrics": [{"name": "errors", "maxRatio": 0.1}]})
    assert fleet.weights == {new: 100}
    assert any("switched to unjudged" in note for note in fleet.rollout["analysis"]["notes"])


def test_what_is_not_compared_is_told(fleet):
    fleet, _, _ = fleet()
    notes = " ".join(fleet.rollout["analysis"]["notes"])
    assert "nothing is compared" in notes
    assert "interToken without minRatio" in notes
    assert "before the switch, errors are not judged" in notes


@pytest.mark.parametrize("auto", [True, False])
def test_a_bad_preview_is_given_up_before_any_traffic(fleet, auto):
    fleet, old, _ = fleet(auto=auto)
    fleet.says = FAIL
    assert weighed(fleet.history()) == [{old: 100}]
    assert fleet.counts() == {old: 2}
    assert fleet.condition("Degraded")["reason"] == "RolledBack"


@pytest.mark.parametrize(
    "missing", [verdict("NoData"), Assessment(no_data="Prometheus does not answer")], ids=["none", "no answer"]
)
def test_an_automatic_switch_without_data_holds_and_then_pauses(fleet, missing):
    fleet, old, _ = fleet(auto=True, maxHoldSeconds=100)
    fleet.says = missing
    fleet.turn(seconds=40)
    assert (fleet.weights, fleet.rollout["hold"]) == ({old: 100}, "NoData")
    fleet.now += 100
    fleet.history()
    assert (fleet.weights, fleet.rollout["paused"]) == ({old: 100}, "NoData")


def test_an_undecided_trial_pauses_also_with_continue(fleet):
    fleet, old, _ = fleet(auto=True, onInconclusive="Continue")
    fleet.says = verdict("Inconclusive", final=True, enough_samples=True)
    fleet.history()
    assert (fleet.weights, fleet.rollout["paused"]) == ({old: 100}, "Inconclusive")


@pytest.mark.parametrize("auto", [True, False])
@pytest.mark.parametrize("said", [Assessment(), verdict("NoData"), verdict("Inconclusive", reason="MinSamples")])
def test_a_persons_promote_waits_for_no_sample(fleet, auto, said):
    fleet, _, new = fleet(auto=auto)
    fleet.says = said
    fleet.act_on("promote 1")
    fleet.history()
    assert fleet.weights == {new: 100}
    assert fleet.rollout["lastAction"]["result"] == "Done"


def test_a_broken_limit_after_the_switch_switches_back_by_itself(switched):
    fleet, old, _ = switched()
    fleet.says = PASS
    fleet.turn(seconds=1)
    warm = {name for name, pod in fleet.pods.items() if pod.revision == old}
    assert fleet.rollout["watching"]
    assert "switches back by itself" in fleet.rollout["message"]
    fleet.says = FAIL
    fleet.turn(seconds=1)
    assert weighed(fleet.history()) == [{old: 100}]
    assert warm <= set(fleet.pods), "one change of weights, and none of the old set came or went"
    assert fleet.condition("Degraded")["reason"] == "RolledBack"
    assert "Fail!" in fleet.condition("Degraded")["message"]
    assert fleet.rollout["override"]["revision"] == old
    assert fleet.reasons.count("RolledBack") == 1
    assert fleet.counts() == {old: 2}, "what failed does not stay warm"
    fleet.now += 700
    assert fleet.silent(seconds=4000) == ((), {}), "and it stays so, whatever is said of it now"


@pytest.mark.parametrize("said", [Assessment(), verdict("NoData"), Assessment(no_data="no answer")])
def test_no_way_back_is_promised_where_nobody_can_say_that_a_limit_is_broken(switched, said):
    fleet, _, _ = switched()
    fleet.says = said
    fleet.turn(seconds=1)
    fleet.turn(seconds=1)
    assert fleet.rollout["watching"]
    assert "stays warm for 600 s" in fleet.rollout["message"]
    assert "by itself" not in fleet.rollout["message"]


def test_what_was_switched_away_from_is_judged_again_when_it_comes_back(switched):
    fleet, old, new = switched()
    fleet.says = FAIL
    fleet.history()
    fleet.says = Assessment()
    fleet.act_on(f"rollback-to {new} 2")
    fleet.history()
    assert (fleet.weights, fleet.rollout["hold"]) == ({old: 100}, "ManualPause")


@pytest.mark.parametrize("said", [PASS, Assessment(), verdict("NoData"), Assessment(no_data="no answer")])
def test_without_a_fail_the_switch_stands(switched, said):
    fleet, _, new = switched()
    fleet.says = said
    fleet.history()
    fleet.now += 600
    fleet.history()
    assert (fleet.weights, fleet.counts()) == ({new: 100}, {new: 2})
    assert "watching" not in fleet.rollout
    assert fleet.silent(seconds=4000) == ((), {})


def test_when_the_old_set_is_gone_nothing_switches_back(switched):
    fleet, _, new = switched()
    fleet.now += 600
    fleet.history()
    fleet.says = FAIL
    fleet.history()
    assert (fleet.weights, fleet.counts()) == ({new: 100}, {new: 2})


def test_on_failure_pause_it_is_told_once_and_a_person_goes_back(switched):
    fleet, old, new = switched(onFailure="Pause")
    fleet.says = FAIL
    fleet.turn(seconds=1)
    fleet.turn(seconds=1)
    assert (fleet.weights, fleet.reasons.count("RolloutPaused")) == ({new: 100}, 1)
    assert fleet.rollout["analysis"]["verdict"] == "Fail"
    fleet.act_on(f"rollback-to {old} 2")
    fleet.history()
    assert fleet.weights == {old: 100}


def test_a_suspended_one_switches_back_when_it_may_act_again(switched):
    fleet, old, new = switched()
    fleet.says = FAIL
    fleet.change(suspend=True)
    fleet.history()
    assert fleet.weights == {new: 100}
    fleet.change(suspend=False)
    fleet.history()
    assert fleet.weights == {old: 100}


def test_going_back_by_hand_is_not_watched(switched):
    fleet, old, _ = switched()
    fleet.act_on(f"rollback-to {old} 2")
    fleet.history()
    assert "watching" not in fleet.rollout
    fleet.says = FAIL
    fleet.history()
    assert fleet.weights == {old: 100}


def test_a_switch_back_that_was_cut_short_ends_the_same(switched):
    fleet, old, _ = switched()
    fleet.says = FAIL
    fleet.turn(seconds=1)
    status = fleet.status
    fleet.reconcile()
    fleet.status = status  # its last write was lost
    fleet.history()
    assert fleet.weights == {old: 100}
    assert fleet.rollout["override"]["revision"] == old


def test_a_canary_that_was_promoted_is_not_watched(judged):
    fleet = judged(rollout={"scaleDownDelaySeconds": 600, "canary": {"steps": [{"weight": 50}]}})
    _, new = fleet.update()
    fleet.history()
    assert "watching" not in fleet.rollout
    fleet.says = FAIL
    fleet.history()
    assert fleet.weights == {new: 100}
