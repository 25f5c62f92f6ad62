"""Retries that leave their revision: the other's failures are not the canary's, and the load that they bring is seen."""

from dataclasses import replace

import pytest

from modelfleet.core.judgement import default_config, judge
from tests.unit.judgement.counted import (
    CANARY,
    SERVING,
    STABLE,
    fleet,
    of_envoy,
    of_pod,
    seen,
    steady,
    three_stable_pods,
)

CONFIG = default_config()


def errors(window, arm):
    found = [getattr(block, arm).known("errors") for block in window.blocks]
    return [(one.bad, one.total) for one in found]


def test_retries_of_stables_requests_that_fail_are_no_errors_of_the_canary():
    """A kind of request fails everywhere: one in a hundred of stable's, whose three retries the canary gets."""
    series = three_stable_pods(fleet(blocks=40, canary=5, stable=95))
    for revision, requests in ((CANARY, 5), (STABLE, 95)):
        series |= of_envoy(revision, "first_attempts", steady(requests / 100, blocks=40), kind="unavailable")
        series |= of_envoy(revision, "first_attempts", steady(requests * 0.99, blocks=40), kind="ok")
    series |= of_envoy(CANARY, "attempts", steady(3 * 95 / 100, blocks=40), kind="unavailable")
    series |= of_envoy(CANARY, "requests", steady(95 / 100, blocks=40), kind="unavailable")
    window = seen(series, serving=SERVING)
    assert errors(window, "canary") == [(pytest.approx(0.05), pytest.approx(5))] * 40
    assert errors(window, "stable") == [(pytest.approx(0.95), pytest.approx(95))] * 40
    assert judge(replace(window, weight=0.05), config=CONFIG).outcome == "Inconclusive"


def test_retries_of_stables_requests_load_the_canary_and_its_own_refusals_do_not():
    """Each block stable cannot answer 10 of its 30 requests, and the canary takes them on; or it refuses 10 itself."""
    more = fleet(blocks=40) | of_envoy(CANARY, "attempts_started", steady(20, blocks=40))
    of_stable = more | of_envoy(CANARY, "attempts", steady(20, blocks=40), kind="ok")
    its_own = more | of_envoy(CANARY, "attempts", steady(10, blocks=40), kind="overloaded")
    slow = of_pod(CANARY, "first_tokens_in_time", steady(5, blocks=40))
    verdicts = [
        judge(seen(three_stable_pods(series | slow), serving=SERVING), config=CONFIG) for series in (of_stable, its_own)
    ]
    assert [(v.outcome, v.reason) for v in verdicts] == [("Inconclusive", "Undecided"), ("Fail", "Worse")]
    assert {v.load_ratio for v in verdicts} == {1.0}, "of the requests that were drawn for each"
