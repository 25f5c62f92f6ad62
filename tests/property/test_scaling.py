"""What must hold for `scale()` whatever it is given."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet.core.scaling.signals import FleetSignals, PodSignal, Signals
from modelfleet.core.scaling.target import MetricTarget, PodState, Recommendation, ScalingInputs, scale
from tests.property.effort import portion

NOW = 1_000_000.0
TYPES = ("QueueDepth", "InFlight", "GPUUtilization")
good_values = st.floats(min_value=0, max_value=1e6, allow_nan=False)
bad_samples = st.one_of(
    st.none(),
    st.builds(
        PodSignal,
        pod=st.just("x"),
        value=st.sampled_from([float("nan"), float("inf"), -1.0, None]),
        age_seconds=st.just(1.0),
    ),
    st.builds(PodSignal, pod=st.just("x"), value=good_values, age_seconds=st.sampled_from([61.0, 1e9, float("nan")])),
)


@st.composite
def inputs(draw, *, settled=False):
    """Any situation; `settled` ones have no history and are past the first window."""
    pods = tuple(
        PodState(name=f"p{i}", ready=draw(st.booleans()), started_at=draw(st.sampled_from([None, 0.0, NOW - 5])))
        for i in range(draw(st.integers(0, 6)))
    )
    metrics = tuple(
        MetricTarget(type=kind, target=draw(st.floats(0.01, 1000)))
        for kind in draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True))
    )
    values = {
        metric.type: {pod.name: draw(good_values) for pod in pods if draw(st.integers(0, 9))} for metric in metrics
    }
    errors = draw(st.dictionaries(st.sampled_from(TYPES), st.just("down"), max_size=1))
    low = draw(st.integers(1, 10))
    entries = st.builds(
        Recommendation, time=st.floats(NOW - 700, NOW), replicas=st.integers(0, 50), current=st.integers(0, 50)
    )
    history = () if settled else tuple(sorted(draw(st.lists(entries, max_size=6)), key=lambda entry: entry.time))
    return ScalingInputs(
        now=NOW,
        current=draw(st.integers(0, 12)),
        pods=pods,
        min_replicas=low,
        max_replicas=low + draw(st.integers(0, 40)),
        metrics=metrics,
        stabilization_seconds=draw(st.sampled_from([0.0, 60.0, 300.0, 3600.0])),
        history=history,
        observed_since=0.0 if settled else draw(st.sampled_from([0.0, NOW - 100, NOW])),
        signals=Signals(observed_at=NOW, values=values, errors={} if settled else errors),
    )


def within(some: ScalingInputs, count: int) -> int:
    return min(max(count, some.min_replicas), some.max_replicas)


@given(inputs())
def test_bounds_always_hold(some):
    assert some.min_replicas <= scale(some).desired <= some.max_replicas


@given(inputs(), st.data())
def test_missing_data_never_lowers(some, data):
    """One ready replica without a usable value of one metric is enough."""
    ready = [pod.name for pod in some.pods if pod.ready]
    metric = data.draw(st.sampled_from(some.metrics)).type
    gone = data.draw(st.sampled_from(ready)) if ready else None
    assert some.signals is not None
    samples = {
        kind: {("ns", pod): PodSignal(pod=pod, value=value, age_seconds=1) for pod, value in of.items()}
        for kind, of in some.signals.values.items()
    }
    if gone is not None:
        bad = data.draw(bad_samples)
        samples[metric].pop(("ns", gone), None)
        samples[metric] |= {("ns", gone): bad} if bad else {}
    fleet = FleetSignals(observed_at=NOW, samples=samples, errors=some.signals.errors)
    result = scale(replace(some, signals=fleet.of(namespace="ns", pods=[pod.name for pod in some.pods])))
    assert result.desired >= within(some, some.current)


@given(inputs(), st.sampled_from(["none", "error", "old", "empty"]))
def test_no_answer_never_lowers_and_says_so(some, fault):
    signals = {
        "none": None,
        "error": replace(some.signals, errors=dict.fromkeys(TYPES, "down")),
        "old": replace(some.signals, observed_at=NOW - 3600),
        "empty": Signals(observed_at=NOW),
    }[fault]
    result = scale(replace(some, signals=signals))
    assert result.desired == within(some, some.current)
    assert not result.metrics_available
    assert result.metrics_message


@given(inputs(settled=True), st.floats(1, 100))
def test_more_load_never_wants_fewer(some, factor):
    more = {kind: {pod: value * factor for pod, value in of.items()} for kind, of in some.signals.values.items()}
    assert scale(replace(some, signals=replace(some.signals, values=more))).desired >= scale(some).desired


@given(inputs(settled=True))
def test_the_result_is_the_largest_of_the_single_metrics(some):
    singles = [scale(replace(some, metrics=(metric,))).desired for metric in some.metrics]
    assert scale(some).desired == max(singles)


@given(inputs())
def test_advise_never_changes_and_never_differs_in_its_advice(some):
    advice = scale(replace(some, mode="Advise"))
    assert (advice.desired, advice.advised) == (some.current, scale(some).desired)


@given(inputs(), st.lists(st.tuples(st.floats(0, 40), st.integers(0, 3)), max_size=60))
@settings(max_examples=portion(50))
def test_history_stays_short_and_a_repeated_pass_changes_nothing(some, passes):
    now, current, history = some.now, some.current, some.history
    for wait, change in passes:
        now, current = now + wait, current + change
        signals = replace(some.signals, observed_at=now)
        at = replace(some, now=now, current=current, history=history, signals=signals)
        result = scale(at)
        assert scale(replace(at, history=result.history)) == result
        history = result.history
    recent = {entry.current for entry in history}
    assert len(history) <= len({entry.replicas for entry in history}) + len(recent)
