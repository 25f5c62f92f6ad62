"""Named cases of `scale()`: one per rule, and one per scar of other autoscalers."""

from dataclasses import replace

import pytest

from modelfleet.core.scaling.signals import Signals
from modelfleet.core.scaling.target import (
    MetricTarget,
    PodState,
    Recommendation,
    ScalingInputs,
    ScalingResult,
    scale,
)

NOW = 10_000.0
QUEUE = MetricTarget(type="QueueDepth", target=5)
GPU = MetricTarget(type="GPUUtilization", target=0.8)


def given(queue=(), *, unready=0, current=None, **more) -> ScalingInputs:
    """One ready replica per value of `queue`; None is a ready replica without a value."""
    pods = tuple(PodState(name=f"p{i}", ready=True, started_at=0) for i in range(len(queue)))
    pods += tuple(PodState(name=f"u{i}", ready=False, started_at=0) for i in range(unready))
    values = {f"p{i}": value for i, value in enumerate(queue) if value is not None}
    base = ScalingInputs(
        now=NOW,
        current=len(pods) if current is None else current,
        pods=pods,
        min_replicas=1,
        max_replicas=20,
        metrics=(QUEUE,),
        stabilization_seconds=300,
        history=(),
        observed_since=0,
        signals=Signals(observed_at=NOW, values={"QueueDepth": values}),
    )
    return replace(base, **more)


def simulate(start: ScalingInputs, *, seconds: int, queue) -> list[ScalingResult]:
    """Tick every 15 s; every replica is ready at once and shows `queue(now - NOW, replicas)`."""
    results, inputs = [], start
    for at in range(0, seconds, 15):
        now = NOW + at
        pods = tuple(PodState(name=f"p{i}", ready=True, started_at=0) for i in range(inputs.current))
        value = queue(at, inputs.current)
        values = {} if value is None else {pod.name: value for pod in pods}
        signals = Signals(observed_at=now, values={"QueueDepth": values})
        result = scale(replace(inputs, now=now, pods=pods, signals=signals))
        results.append(result)
        inputs = replace(inputs, current=result.desired, history=result.history)
    return results


@pytest.mark.parametrize(
    ("queue", "unready", "expected"),
    [
        ([10, 10], 0, 4),
        ([5.5, 5.5], 0, 2),  # tolerance, upper edge
        ([4.5, 4.5], 0, 2),  # tolerance, lower edge
        ([5.6, 5.6], 0, 3),
        ([1, 1, 1, 1], 0, 1),
        ([0, 0, 0], 0, 1),
        ([20], 1, 4),  # the loading one counts as 0: (20 + 0) / 2 / 5 * 2
        ([7], 1, 2),  # ... and here it is enough: nothing to add
        ([20, None], 0, 4),  # a missing one counts as 0 upwards
        ([1, None], 0, 2),  # and forbids downwards
    ],
)
def test_standard_arithmetic(queue, unready, expected):
    assert scale(given(queue, unready=unready)).desired == expected


def test_a_ratio_above_one_never_lowers_while_pods_are_being_created():
    assert scale(given([6, 6], current=5)).desired == 5


def test_the_metric_that_asks_for_most_decides():
    signals = Signals(
        observed_at=NOW,
        values={"QueueDepth": {"p0": 0.0, "p1": 0.0}, "GPUUtilization": {"p0": 1.0, "p1": 1.0}},
    )
    result = scale(given([0, 0], metrics=(QUEUE, GPU), signals=signals))
    assert (result.desired, result.binding) == (3, "GPUUtilization")


def test_one_failed_query_lets_the_other_metric_raise_but_nothing_lower():
    errors = {"GPUUtilization": "Prometheus at http://p:9090 cannot be reached"}
    busy = Signals(observed_at=NOW, values={"QueueDepth": {"p0": 50.0}}, errors=errors)
    result = scale(given([50], metrics=(QUEUE, GPU), signals=busy))
    assert (result.desired, result.metrics_reason) == (5, "QueryFailed")
    idle = replace(busy, values={"QueueDepth": {"p0": 0.0, "p1": 0.0}})
    result = scale(given([0, 0], metrics=(QUEUE, GPU), signals=idle))
    assert (result.desired, result.reason, result.metrics_available) == (2, "MetricsUnavailable", False)
    assert result.metrics_message == "GPUUtilization: Prometheus at http://p:9090 cannot be reached"


def test_an_old_answer_is_no_answer():
    result = scale(given([0, 0], signals=Signals(observed_at=NOW - 61, values={"QueueDepth": {"p0": 0, "p1": 0}})))
    assert (result.desired, result.metrics_reason) == (2, "Stale")


@pytest.mark.parametrize("signals", [None, Signals(observed_at=NOW), Signals(observed_at=NOW, values={"InFlight": {}})])
def test_no_data_holds(signals):
    result = scale(given([0, 0, 0], signals=signals))
    assert (result.desired, result.metrics_available, result.reason != "ScaleDown") == (3, False, True)


def test_a_replica_that_just_became_ready_is_no_fault_but_nothing_falls():
    pods = (PodState(name="p0", ready=True, started_at=0), PodState(name="new", ready=True, ready_since=NOW - 5))
    result = scale(given([0], pods=pods, current=2))
    assert (result.desired, result.metrics_available, result.reason) == (2, True, "AwaitingData")


def test_no_ready_replica_waits_without_blaming_prometheus():
    result = scale(given([], unready=2))
    assert (result.desired, result.metrics_reason, result.reason) == (2, "AwaitingData", "AwaitingData")


def test_many_missing_replicas_are_named_in_part():
    message = scale(given([1, None, None, None, None])).metrics_message
    assert "4 of 5 ready replicas (p1, p2, p3, ...)" in message


def test_falling_waits_for_the_window_and_then_goes_to_its_highest_wish():
    load = [(0, 40), (60, 15), (120, 0)]  # requests in all, from second

    def queue(at, replicas):
        return [total for since, total in load if since <= at][-1] / replicas

    results = simulate(given([10, 10, 10, 10]), seconds=600, queue=queue)
    series = [result.desired for result in results]
    assert series[0] == 8
    # 40 requests want 8 until second 45 -> 8 held up to 345; 15 want 3 until 105 -> 3 held up to 405; then 1.
    first_below = {count: series.index(count) * 15 for count in (3, 1)}
    assert first_below == {3: 345, 1: 405}
    assert results[10].reason == "Stabilizing"
    assert max(len(result.history) for result in results) <= 4


def test_no_fall_in_the_first_window_after_a_restart():
    restarted = given([0, 0, 0], observed_since=NOW - 299)
    assert scale(restarted).desired == 3
    assert scale(replace(restarted, observed_since=NOW - 300)).desired == 1


def test_an_outage_of_ten_minutes_lowers_nothing_and_restarts_the_window():
    """KEDA reads an empty answer as 0 and scales down; here it holds, and 300 s of data come before a fall."""

    def queue(at, replicas):
        return None if 60 <= at < 660 else 20 / replicas

    results = simulate(given([5, 5, 5, 5]), seconds=900, queue=queue)
    assert {result.desired for result in results} == {4}
    idle_after = simulate(
        given([5, 5, 5, 5]), seconds=1200, queue=lambda at, _: 5 if at < 60 else None if at < 660 else 0
    )
    fell = next(i * 15 for i, result in enumerate(idle_after) if result.desired < 4)
    assert fell == 660 + 285


def test_rising_is_limited_to_four_or_double_per_15_s_however_often_it_is_called():
    inputs = given([100] * 2, max_replicas=200)
    first = scale(inputs)
    assert (first.desired, first.clipped) == (6, "UpLimit")
    at_once = replace(inputs, current=6, history=first.history, now=NOW + 1)
    second = scale(at_once)
    assert second.desired == 6
    later = replace(at_once, history=second.history, now=NOW + 15)
    assert scale(later).desired == 12


def test_a_rise_that_capacity_refused_is_asked_again_unchanged():
    inputs = given([100] * 2)
    wishes = []
    for at in range(5):
        result = scale(replace(inputs, now=NOW + at))
        wishes.append(result.desired)
        inputs = replace(inputs, history=result.history)
    assert wishes == [6] * 5


@pytest.mark.parametrize(
    ("current", "bounds", "expected", "reason"),
    [(1, (3, 8), 3, "BelowMinimum"), (9, (1, 4), 4, "AboveMaximum"), (0, (2, 4), 2, "BelowMinimum")],
)
def test_bounds_hold_without_any_metric(current, bounds, expected, reason):
    inputs = given([None] * current, min_replicas=bounds[0], max_replicas=bounds[1], signals=None)
    assert (scale(inputs).desired, scale(inputs).reason) == (expected, reason)


def test_clipping_says_which_bound():
    up = scale(given([100, 100], max_replicas=3))
    assert (up.desired, up.clipped, up.recommendation) == (3, "MaxReplicas", 40)
    assert "maxReplicas is 3" in up.message
    down = scale(given([0, 0, 0], min_replicas=2))
    assert (down.desired, down.clipped) == (2, "MinReplicas")


def test_advise_reckons_and_changes_nothing():
    result = scale(given([10, 10], mode="Advise"))
    assert (result.desired, result.advised, result.reason) == (2, 4, "ScaleUp")
    assert result.message == "2 -> 4: QueueDepth 10 per replica, target 5; mode Advise: nothing is changed"


def test_messages_for_conditions_do_not_change_with_the_samples():
    messages = {scale(given([value, None])).metrics_message for value in (1, 2, 3.3)}
    assert len(messages) == 1


def test_history_survives_a_clock_that_jumps_back():
    ahead = (Recommendation(time=NOW + 500, replicas=4, current=4),)
    assert scale(given([0, 0, 0, 0], history=ahead)).desired == 4
