"""The HPA's arithmetic by itself, case by case as in replica_calculator.go."""

import pytest

from modelfleet.core.scaling.hpa import Recommendation, remember, replicas_for, stabilize, up_limit
from modelfleet.core.scaling.signals import SIGNAL_TYPES, FleetSignals, PodSignal, no_signals


def reckon(values, *, missing=0, unready=0, current=None, target=10):
    ready = [f"p{i}" for i in range(len(values))]
    gone = [f"m{i}" for i in range(missing)]
    loading = [f"u{i}" for i in range(unready)]
    return replicas_for(
        current=current if current is not None else len(values) + missing + unready,
        ready=[*ready, *gone],
        unready=loading,
        values=dict(zip(ready, values, strict=True)),
        target=target,
    )


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"values": [20, 10, 30]}, 6),
        ({"values": [11, 11]}, 2),  # just tolerated
        ({"values": [9, 9]}, 2),  # just tolerated
        ({"values": [8, 8, 8, 8, 8]}, 4),
        ({"values": [0, 0, 0]}, 0),  # bounds are the caller's
        ({"values": [1, 1], "missing": 2}, 3),  # (1 + 1 + 10 + 10) / 4 = 5.5, not (1 + 1) / 4
        ({"values": [40, 40], "missing": 2}, 8),  # (40 + 40) / 4 = 20
        ({"values": [15, 15], "missing": 2}, 4),  # 7.5 would turn the direction
        ({"values": [9.6, 9.6], "missing": 2}, 4),  # with the missing ones within the tolerance
        ({"values": [30], "unready": 1}, 3),  # (30 + 0) / 2 = 15
        ({"values": [30], "unready": 2}, 3),  # (30 + 0 + 0) / 3 = 10: they are on their way already
        ({"values": [43], "unready": 3}, 4),  # 10.75 is within the tolerance; without them it would be 5
        ({"values": [18], "unready": 3}, 4),  # 4.5 would turn the direction
        ({"values": [2, 2], "unready": 2}, 1),  # loading ones do not count downwards
        ({"values": [12, 12], "current": 4}, 4),  # above target: never fewer, though ceil(2.4) = 3
    ],
)
def test_replicas(case, expected):
    assert reckon(**case).replicas == expected


def test_usage_explains_itself():
    usage = reckon([30, 10], missing=1)
    assert (usage.average, usage.ratio, usage.missing) == (20, 2, ("m0",))


def test_floats_do_not_add_a_replica():
    """0.1 + 0.2 is a little more than 0.3; three replicas at exactly three times the target want nine."""
    assert reckon([0.1 + 0.2] * 3, target=0.1).replicas == 9


def test_a_value_of_a_pod_that_is_not_ready_is_not_read():
    usage = replicas_for(current=2, ready=["a"], unready=["b"], values={"a": 10.0, "b": 900.0}, target=10)
    assert usage is not None
    assert usage.replicas == 2


def entries(*triples):
    return tuple(Recommendation(time=t, replicas=r, current=c) for t, r, c in triples)


def test_a_window_of_zero_falls_at_once_whatever_was_wanted_just_before():
    assert stabilize(history=entries((0, 9, 4), (5, 1, 4)), window=0, since=5) == 1


def test_a_rise_passes_the_window_at_once():
    assert stabilize(history=entries((0, 9, 4), (5, 6, 4)), window=300, since=0) == 6


def test_a_past_wish_above_the_current_count_does_not_raise():
    assert stabilize(history=entries((0, 9, 4), (400, 1, 4), (401, 1, 4)), window=600, since=-1000) == 4


def test_memory_keeps_what_the_window_and_the_limit_need():
    past = entries((0, 3, 3), (100, 8, 3), (200, 5, 7), (290, 2, 3), (295, 2, 7))
    kept = remember(history=past, latest=Recommendation(time=300, replicas=2, current=7), window=300)
    # 0 left the window; 290 saw fewer replicas within 15 s; 295 adds nothing.
    assert [entry.time for entry in kept] == [100, 200, 290, 300]
    assert up_limit(history=kept) == 7


def sample(value, age=1.0):
    return PodSignal(pod="a", value=value, age_seconds=age)


@pytest.mark.parametrize(
    "bad",
    [sample(None), sample(-0.5), sample(float("nan")), sample(float("inf")), sample(1, 60.1), sample(1, float("nan"))],
)
def test_unusable_samples_are_dropped(bad):
    fleet = FleetSignals(observed_at=0, samples={"QueueDepth": {("ns", "a"): bad}})
    assert not fleet.of(namespace="ns", pods=["a"]).values["QueueDepth"]


def test_a_failed_signal_has_no_values_and_the_others_keep_theirs():
    samples = {kind: {("ns", "a"): sample(1.0)} for kind in ("QueueDepth", "InFlight")}
    fleet = FleetSignals(observed_at=0, samples=samples, errors={"InFlight": "HTTP 500"})
    signals = fleet.of(namespace="ns", pods=["a"])
    assert set(signals.values) == {"QueueDepth"}
    assert (signals.available, signals.error) == (False, "HTTP 500")


def test_no_signals_speaks_for_every_type_once():
    nothing = no_signals(observed_at=0, error="why")
    assert not nothing.available
    assert set(nothing.errors) == set(SIGNAL_TYPES)
    assert nothing.of(namespace="ns", pods=()).error == "why"
