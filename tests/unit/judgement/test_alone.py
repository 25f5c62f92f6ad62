"""What is judged where nobody is there to compare with: absolute limits, queries, restarts, and nothing else."""

from dataclasses import replace

import pytest

from modelfleet.core.judgement import CustomLimit, CustomValues, default_config, judge_alone
from tests.unit.judgement.windows import change, window

LIMITED = default_config(limits={"ttft": 0.1})
MINE = default_config(custom=(CustomLimit(name="mine", maximum=2.0),))


def alone(some, *required, config=LIMITED):
    return judge_alone(some, config=config, required=frozenset(required))


def test_a_broken_limit_fails_whatever_stable_does():
    some = window(canary={"errors": 0.3}, stable={"errors": 0.3})
    found = alone(some)
    assert (found.outcome, found.reason, found.final) == ("Fail", "LimitExceeded", True)
    assert "attempts that failed" in found.message


def test_a_slow_one_fails_only_by_a_limit_of_its_own():
    slow = window(canary={"ttft": 0.4})
    assert alone(slow, "ttft").outcome == "Fail"
    assert alone(slow, config=default_config()).outcome == "Inconclusive", "nobody to compare with"


def test_a_stable_that_is_worse_or_absent_changes_nothing():
    good = window(canary={"ttft": 0.0})
    nobody = replace(good, blocks=tuple(replace(block, stable=None) for block in good.blocks))
    worse = window(canary={"ttft": 0.0}, stable={"ttft": 0.9, "errors": 0.9})
    for some in (good, nobody, worse):
        found = alone(some, "ttft")
        assert (found.outcome, found.reason) == ("Pass", "WithinLimit"), found.message
        assert not found.compared
        assert all(metric.stable_samples == 0 for metric in found.metrics)


def test_metrics_without_a_limit_are_not_shown_as_judged():
    assert {metric.name for metric in alone(window()).metrics} == {"ttft", "errors", "badOutputs"}


def test_without_a_limit_of_the_users_there_is_no_pass():
    found = alone(window())
    assert (found.outcome, found.final, found.message) == ("Inconclusive", False, "no limit is broken")


def test_a_pass_needs_samples_and_time():
    few = window(canary={"ttft": 0.0}, requests=1)
    assert (alone(few, "ttft").outcome, alone(few, "ttft").reason) == ("Inconclusive", "MinSamples")
    assert alone(few, "ttft").hold == "MinSamples"
    short = window(8, canary={"ttft": 0.0})
    assert alone(short, "ttft").reason == "MinSeconds"


def test_what_stays_open_for_long_is_open_for_good():
    found = alone(window(130, canary={"ttft": 0.1}), "ttft")
    assert (found.outcome, found.reason, found.final) == ("Inconclusive", "TimedOut", True)


@pytest.mark.parametrize(
    ("values", "outcome", "reason"),
    [
        ((1.0, 1.0, 1.0, 1.0), "Pass", "WithinLimit"),
        ((1.0, 3.0, 3.0, 3.0), "Fail", "LimitExceeded"),
        ((3.0, 1.0, 3.0, 3.0), "Inconclusive", "CustomAboveLimit"),
        ((1.0, 1.0, 1.0, float("nan")), "NoData", "CustomNoData"),
        ((1.0, 1.0, 1.0, None), "NoData", "CustomNoData"),
        ((), "NoData", "CustomNoData"),
    ],
)
def test_a_query_of_the_users(values, outcome, reason):
    some = replace(window(), custom={"mine": CustomValues(values=values)})
    found = alone(some, "mine", config=MINE)
    assert (found.outcome, found.reason) == (outcome, reason)


def test_a_whole_set_may_restart_as_often_as_it_has_replicas():
    sixteen = replace(window(), canary_replicas=16)
    assert alone(replace(sixteen, canary_restarts=16)).outcome == "Inconclusive"
    found = alone(replace(sixteen, canary_restarts=17))
    assert (found.outcome, found.reason) == ("Fail", "CanaryRestarts")
    assert "16 allowed" in found.message


def test_restarts_fail_unless_the_other_set_restarts_as_well():
    assert alone(replace(window(), canary_restarts=2)).reason == "CanaryRestarts"
    assert alone(replace(window(), canary_restarts=2, stable_restarts=2)).outcome == "Inconclusive"


def test_old_or_missing_news_never_pass():
    good = window(canary={"ttft": 0.0})
    late = replace(good, now=good.now + 600)
    lost = change(good, *range(20, 24), canary=None)
    for some, reason in ((late, "Stale"), (lost, "NoData")):
        found = alone(some, "ttft")
        assert (found.outcome, found.reason) == ("NoData", reason)


def test_a_window_that_has_just_begun_says_nothing():
    found = alone(replace(window(), blocks=()), "ttft")
    assert found.outcome in {"NoData", "Inconclusive"}
    assert not found.final
