"""What a verdict does to a canary: rollback, pause, hold, going on; and what missing data never does."""

from dataclasses import replace

import pytest

from modelfleet.api.v1alpha1.status import LLMDeploymentStatus
from modelfleet.core.assess import Assessment
from modelfleet.core.judgement.verdict import MetricVerdict
from tests.unit.core.staged_cluster import FAIL, PASS, verdict, weighed

FIRST = {"canary": {"steps": [{"weight": 20}, {"weight": 50}]}, "abortScaleDownDelaySeconds": 30}


@pytest.fixture
def canary(judged):
    """A canary that serves 20 % and of which nothing is known yet."""

    def make(**rollout):
        fleet = judged(rollout=FIRST | rollout, says=Assessment())
        old, new = fleet.update()
        fleet.until(lambda: fleet.rollout.get("stepStartedAt"))
        assert fleet.weights == {old: 80, new: 20}
        return fleet, old, new

    return make


def test_a_fail_takes_the_traffic_at_once_and_the_replicas_a_little_later(canary):
    fleet, old, new = canary()
    serving = {name for name, pod in fleet.pods.items() if pod.revision == old}
    fleet.says, failed_at = FAIL, fleet.now
    fleet.turn(seconds=1)
    assert fleet.weights == {old: 100}
    fleet.until(lambda: new not in fleet.counts(), seconds=1)
    assert 30 <= fleet.now - failed_at <= 35
    fleet.history()
    assert set(fleet.pods) == serving, "stable was not touched"
    assert (fleet.status["phase"], fleet.condition("Degraded")["reason"]) == ("Degraded", "RolledBack")
    assert "Fail!" in fleet.condition("Degraded")["message"]
    assert f"rollback-to {new}" in fleet.condition("Degraded")["message"]


def test_what_was_rolled_back_stays_so_until_the_spec_changes(canary):
    fleet, old, _new = canary()
    fleet.says = FAIL
    fleet.history()
    fleet.says = PASS
    assert fleet.silent(seconds=4000) == ((), {})
    fleet.change(replicas=3)
    fleet.history()
    assert fleet.counts() == {old: 3}, "a replica change is no new revision"
    _, better = fleet.update(seed=2)
    fleet.history()
    assert fleet.counts() == {better: 3}
    assert fleet.condition("Degraded")["status"] == "False"


def test_rollback_to_what_the_spec_asks_for_tries_again_from_the_first_step(canary):
    fleet, old, new = canary()
    fleet.says = FAIL
    fleet.history()
    fleet.says = PASS
    fleet.act_on(f"rollback-to {new} 1")
    assert weighed(fleet.history()) == [{old: 100}, {old: 80, new: 20}, {old: 50, new: 50}, {new: 100}]
    assert fleet.counts() == {new: 2}


@pytest.mark.parametrize("verb", ["promote", "resume", "abort"])
def test_on_failure_pause_a_person_decides(canary, verb):
    fleet, old, new = canary(onFailure="Pause")
    fleet.says = FAIL
    fleet.history()
    assert (fleet.weights, fleet.rollout["paused"]) == ({old: 80, new: 20}, "Failed")
    assert fleet.silent(seconds=4000) == ((), {})
    windows = fleet.rollout["analysis"]["windows"]
    fleet.says = PASS
    fleet.act_on(f"{verb} 1")
    fleet.history()
    assert fleet.counts() == ({old: 2} if verb == "abort" else {new: 2})
    assert fleet.reasons.count("RolloutPaused") == 1
    assert windows == 1


def test_resume_after_a_fail_opens_another_window(canary):
    fleet, _, new = canary(onFailure="Pause")
    fleet.says = FAIL
    fleet.history()
    fleet.says = Assessment()
    fleet.act_on("resume 1")
    fleet.history()
    assert fleet.rollout["analysis"]["windows"] == 2
    assert fleet.weights[new] == 20


@pytest.fixture
def stuck(judged):
    """A canary of which `warm` replicas became ready and no more, until the deadline; a person decides."""

    def make(*, warm=0):
        steps = {"canary": {"steps": [{"weight": 50}]}}
        fleet = judged(rollout=steps | {"onFailure": "Pause", "progressDeadlineSeconds": 60}, replicas=4)
        old, new = fleet.update()
        for _ in range(3):
            fleet.turn(warm=False)
        fleet.warm(count=warm)
        fleet.until(lambda: fleet.rollout.get("paused"), warm=False)
        return fleet, old, new

    return make


def test_why_a_person_is_waited_for_stays_in_status(stuck):
    fleet, _, _ = stuck()
    words = "paused (Failed): no new replica became ready within 60 s"
    assert words in fleet.rollout["message"]
    fleet.history(warm=False)
    assert words in fleet.rollout["message"]
    assert words in fleet.condition("Progressing")["message"]
    fleet.act_on("abort 1")
    fleet.history()
    assert "pauseMessage" not in fleet.rollout


@pytest.mark.parametrize("verb", ["promote", "promote-full"])
def test_without_a_ready_replica_a_person_cannot_go_on_and_is_told(stuck, verb):
    fleet, old, new = stuck()
    fleet.act_on(f"{verb} 1")
    fleet.history(warm=False)
    assert fleet.rollout["lastAction"]["result"] == "Refused"
    assert f"no replica of revision {new} is ready" in fleet.rollout["lastAction"]["message"]
    assert (fleet.rollout["hold"], fleet.weights) == ("Failed", {old: 100})
    assert "within 60 s" in fleet.rollout["message"]
    assert fleet.reasons.count("RolloutPaused") == 1
    fleet.warm()
    fleet.act_on(f"{verb} 2")
    fleet.history()
    assert fleet.counts() == {new: 4}


@pytest.mark.parametrize("verb", ["promote", "promote-full", "resume"])
def test_after_a_persons_word_the_deadline_runs_once_more_and_holds_again(stuck, verb):
    fleet, _, new = stuck(warm=1)
    assert fleet.counts()[new] == 2, "one of two is ready"
    fleet.act_on(f"{verb} 1")
    fleet.turn(warm=False)
    assert (fleet.rollout["lastAction"]["result"], "paused" in fleet.rollout) == ("Done", False)
    said_at = fleet.now
    fleet.until(lambda: fleet.rollout.get("paused"), warm=False)
    assert 50 <= fleet.now - said_at <= 90
    assert "within 60 s" in fleet.rollout["message"]
    assert fleet.reasons.count("RolloutPaused") == 2
    fleet.now += 400
    fleet.history(warm=False)
    assert (fleet.rollout["hold"], fleet.reasons.count("RolloutPaused")) == ("Failed", 2), "it does not go on by itself"


MISSING = [verdict("NoData"), Assessment(no_data="Prometheus does not answer")]


@pytest.mark.parametrize("missing", MISSING, ids=["no data", "no answer"])
def test_without_data_it_holds_and_goes_on_when_they_are_back(canary, missing):
    fleet, old, new = canary()
    fleet.says = missing
    fleet.history()
    assert (fleet.weights, fleet.rollout["hold"]) == ({old: 80, new: 20}, "NoData")
    fleet.says = PASS
    fleet.history()
    assert fleet.counts() == {new: 2}


@pytest.mark.parametrize("missing", MISSING, ids=["no data", "no answer"])
def test_without_data_it_pauses_after_max_hold_seconds_and_never_rolls_back(canary, missing):
    fleet, old, new = canary(maxHoldSeconds=100)
    fleet.says = missing
    plan = fleet.turn(seconds=40)
    assert 0 < plan.requeue_after <= 100
    fleet.turn(seconds=70)
    fleet.history()
    assert (fleet.rollout["paused"], fleet.weights) == ("NoData", {old: 80, new: 20})
    assert "no data for 100 s: " in fleet.rollout["message"]
    fleet.says = PASS
    assert fleet.silent(seconds=4000) == ((), {}), "a person's word is awaited"
    fleet.act_on("resume 1")
    fleet.history()
    assert fleet.counts() == {new: 2}


def test_words_that_are_too_long_for_the_api_are_cut_so_that_a_hold_is_remembered(canary):
    fleet, _, _ = canary(maxHoldSeconds=100)
    metric = MetricVerdict(name="mine", outcome="NoData", reason="NoData", message="m" * 3000)
    found = verdict("NoData", metrics=(metric,) * 40).verdict
    fleet.says = Assessment(verdict=replace(found, message="v" * 3000), no_data="no answer of Prometheus; " * 100)
    fleet.turn(seconds=40)
    LLMDeploymentStatus.model_validate(fleet.status)
    fleet.now += 70
    fleet.history()
    LLMDeploymentStatus.model_validate(fleet.status)
    assert fleet.rollout["paused"] == "NoData"
    assert fleet.silent(seconds=4000) == ((), {})


@pytest.mark.parametrize(
    ("option", "more", "goes_on"),
    [("Pause", {"enough_samples": True}, False), ("Continue", {"enough_samples": True}, True), ("Continue", {}, False)],
)
def test_undecided_for_good(canary, option, more, goes_on):
    fleet, _old, new = canary(onInconclusive=option)
    fleet.says = verdict("Inconclusive", final=True, **more)
    fleet.history()
    assert fleet.weights[new] == (50 if goes_on else 20), "and 100 % always needs a Pass"
    assert fleet.rollout["paused"] == "Inconclusive"
    assert "Inconclusive!" in fleet.rollout["message"]
    assert fleet.silent(seconds=4000) == ((), {})


@pytest.mark.parametrize(
    ("reason", "hold"),
    [("MinSamples", "MinSamples"), ("SplitMismatch", "RouterUnverified"), ("StableUnhealthy", "StableUnhealthy")],
)
def test_what_holds_a_judgement_up_is_told(canary, reason, hold):
    fleet, _, new = canary()
    fleet.says = verdict("Inconclusive", reason=reason)
    fleet.history()
    assert (fleet.rollout["hold"], fleet.condition("Progressing")["reason"]) == (hold, hold)
    assert fleet.silent(seconds=4000) == ((), {})
    fleet.act_on("promote 1")
    fleet.says = PASS
    fleet.history()
    assert fleet.counts() == {new: 2}


def test_min_seconds_lengthens_a_step_that_has_passed(judged):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 20, "minSeconds": 300}]}})
    old, new = fleet.update()
    fleet.until(lambda: fleet.rollout.get("stepStartedAt"))
    fleet.turn(seconds=290)
    assert fleet.weights == {old: 80, new: 20}
    fleet.history()
    assert fleet.counts() == {new: 2}
    assert "progressedAt" not in fleet.rollout


def test_the_progress_deadline_does_not_run_while_it_is_judged(canary):
    fleet, old, new = canary(progressDeadlineSeconds=60)
    fleet.says = verdict("Inconclusive")
    for _ in range(5):
        fleet.turn(seconds=100)
    assert fleet.weights == {old: 80, new: 20}


def test_a_canary_whose_pods_are_evicted_again_and_again_is_given_up(judged):
    fleet = judged(rollout={"progressDeadlineSeconds": 60})
    old, new = fleet.update()
    for _ in range(30):
        fleet.turn(warm=False)
        for number, name in enumerate(sorted(name for name, pod in fleet.pods.items() if not pod.failed)):
            if fleet.pods[name].revision == new:
                fleet.fail(number)
        fleet.controllers()
    assert fleet.counts() == {old: 2}
    assert "within 60 s" in fleet.rollout["override"]["message"]
