"""What must hold for `judge()` whatever it is given, and how often it errs on the simulated fleet (seeded, short).

The long form of the second part is `make bench-judgement`; its figures are in docs/explanation/judgement.md.
"""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.queueing import Fault, Simulation
from bench.trials import fleet, rollout, slow, trial
from modelfleet.core.judgement import ArmBlock, Block, Carried, Counts, Window, default_config, judge, next_carried
from tests.property.effort import portion

METRICS = ("ttft", "interToken", "errors", "badOutputs")
# Short times, so that a few blocks are enough for any verdict.
CONFIG = default_config(min_samples=10, min_seconds=45, patience_seconds=300)
FEWER = settings(max_examples=portion(60))
SLOW = settings(max_examples=portion(25))
STEPS = ((0.25, 1, 3), (0.5, 2, 2))

good_counts = st.builds(
    lambda total, share: Counts(bad=round(total * share), total=total),
    st.integers(0, 400),
    st.sampled_from([0.0, 0.0, 0.02, 0.1, 0.5, 1.0]),
)
bad_counts = st.one_of(
    st.none(),
    st.builds(
        Counts,
        bad=st.sampled_from([float("nan"), float("inf"), -1.0, 5.0]),
        total=st.sampled_from([float("nan"), float("inf"), -1.0, 2.0]),
    ),
)


def arms(counts):
    return st.builds(
        ArmBlock,
        started=st.integers(0, 400),
        replicas=st.integers(1, 4),
        counts=st.fixed_dictionaries(dict.fromkeys(METRICS, counts)),
    )


@st.composite
def windows(draw, *, counts=good_counts, whole=False):
    """Any history; `whole` ones lack nothing."""
    some = arms(counts) if whole else st.one_of(st.none(), arms(st.one_of(counts, bad_counts)), arms(counts))
    number = draw(st.integers(0, 16))
    # A few different blocks, repeated, make runs as long as verdicts need.
    kinds = draw(st.lists(st.tuples(some, some, st.booleans()), min_size=1, max_size=4))
    blocks = tuple(
        Block(end=15.0 * (i + 1), canary=kind[0], stable=kind[1], warming=kind[2] and i < 4)
        for i in range(number)
        for kind in [draw(st.sampled_from(kinds))]
    )
    return Window(
        now=15.0 * number,
        weight=draw(st.sampled_from([0.05, 0.25, 0.5, 0.99])),
        blocks=blocks,
        overdue=(draw(st.sampled_from([0.0, 3.0])), 0.0),
        canary_restarts=draw(st.integers(0, 3)),
        last=draw(st.booleans()),
    )


@FEWER
@given(windows())
def test_any_history_gets_a_verdict_with_words(some):
    found = judge(some, config=CONFIG)
    assert found.message
    assert found.outcome == "Inconclusive" or found.final == (found.outcome != "NoData")
    assert judge(some, config=CONFIG) == found, "the same window must give the same verdict"


@FEWER
@given(windows(), st.data())
def test_missing_stale_or_nan_never_passes(some, data):
    """One metric of one arm without a usable newest value is enough."""
    if not some.blocks or some.blocks[-1].canary is None or some.blocks[-1].stable is None:
        assert judge(some, config=CONFIG).outcome != "Pass"
        return
    newest, name = some.blocks[-1], data.draw(st.sampled_from(["canary", "stable"]))
    arm = getattr(newest, name)
    broken = data.draw(bad_counts)
    spoiled = replace(arm, counts={**arm.counts, data.draw(st.sampled_from(METRICS)): broken})
    blocks = (*some.blocks[:-1], replace(newest, **{name: spoiled}))
    assert judge(replace(some, blocks=blocks), config=CONFIG).outcome != "Pass"
    late = replace(some, now=data.draw(st.sampled_from([1e9, -1e9, float("nan")])))
    assert judge(late, config=CONFIG).outcome != "Pass"


@FEWER
@given(windows(whole=True))
def test_a_pass_is_backed_by_samples_time_and_every_metric(some):
    found = judge(some, config=CONFIG)
    if found.outcome != "Pass":
        return
    assert found.seconds >= CONFIG.min_seconds
    assert {m.name for m in found.metrics} == set(METRICS)
    for metric in found.metrics:
        assert metric.outcome == "Pass" or metric.reason == "LoadTooLow"
        assert min(metric.canary_samples, metric.stable_samples) >= CONFIG.min_samples
    assert found.latency_proven or not some.last


@FEWER
@given(windows(whole=True))
def test_a_canary_with_the_same_counts_as_stable_never_fails(some):
    same = tuple(replace(b, canary=b.stable) for b in some.blocks)
    equal = replace(some, blocks=same, weight=0.5, overdue=(0.0, 0.0), canary_restarts=0)
    assert judge(equal, config=CONFIG).outcome != "Fail"


@FEWER
@given(windows(whole=True), st.sampled_from(METRICS))
def test_more_bad_events_on_the_canary_never_turn_a_fail_into_a_pass(some, metric):
    if judge(some, config=CONFIG).outcome != "Fail":
        return

    def all_bad(arm):
        counts = arm.counts[metric]
        return replace(arm, counts={**arm.counts, metric: replace(counts, bad=counts.total)})

    worse = tuple(replace(b, canary=all_bad(b.canary)) if b.canary else b for b in some.blocks)
    assert judge(replace(some, blocks=worse), config=CONFIG).outcome != "Pass"


@SLOW
@given(st.lists(windows(whole=True), max_size=4))
def test_what_is_carried_only_grows(several):
    carried = Carried()
    for some in several:
        before = carried
        carried = next_carried(carried=carried, verdict=judge(some, config=CONFIG, carried=carried))
        assert carried.windows == before.windows + 1
        assert carried.latency_proven >= before.latency_proven


@SLOW
@given(windows(whole=True), st.integers(0, 16))
def test_an_operator_killed_at_any_time_judges_as_one_that_was_not(some, killed_at):
    """Nothing is remembered between looks: having looked before changes nothing."""
    for end in range(min(killed_at, len(some.blocks))):
        judge(replace(some, blocks=some.blocks[:end], now=15.0 * end), config=CONFIG)
    fresh = default_config(min_samples=10, min_seconds=45, patience_seconds=300)
    assert judge(some, config=CONFIG) == judge(replace(some), config=fresh)


# --- how often it errs, in the few runs that a short test has room for ---


def outcomes(count, *, seed, **changes):
    some = fleet(5.0, **changes)
    return [trial(some, seed=seed + i, last=True, limit_seconds=600).verdict for i in range(count)]


CONDITIONS = ({}, {"weight": 1 / 7}, {"weight": 0.4}, {"cold": 3.0})
"""Like load, half, double, and a cold prefix cache."""


def test_an_equal_canary_is_hardly_ever_rolled_back():
    """At the promised 5 % more than 4 of 28 would be seen in 1 % of such tests; others' methods roll half of them back."""
    found = [v for number, one in enumerate(CONDITIONS) for v in outcomes(7, seed=910_000 + 100 * number, **one)]
    assert len(found) == 28
    failed = [v.message for v in found if v.outcome == "Fail"]
    assert len(failed) <= 4, failed


@pytest.mark.parametrize("fault", [slow(1.2), Fault(errors=0.02), Fault(empty=0.02)], ids=["slow", "errors", "empty"])
def test_a_canary_worse_by_twice_the_allowed_drop_is_hardly_ever_promoted(fault):
    found = [v for one in CONDITIONS for v in outcomes(3, seed=920_000, fault=fault, **one)]
    assert len(found) == 12
    passed = [v.message for v in found if v.outcome == "Pass"]
    assert len(passed) <= 2, passed


def test_a_gross_regression_is_found_every_time():
    found = outcomes(4, seed=930_000, fault=slow(2.0))
    assert [(v.outcome, v.reason) for v in found] == [("Fail", "Worse")] * 4


def test_a_whole_rollout_ends_as_it_should():
    equal = [rollout(fleet(5.0), seed=940_000 + i, steps=STEPS) for i in range(3)]
    assert any(e.promoted for e in equal), [e.verdict.message for e in equal]
    worse = [rollout(fleet(5.0, fault=Fault(errors=0.05)), seed=950_000 + i, steps=STEPS) for i in range(3)]
    assert [e.verdict.outcome for e in worse] == ["Fail"] * 3


def test_the_simulated_fleet_loses_no_request():
    simulation = Simulation(fleet=fleet(5.0), seed=1)
    simulation.weight = 0.25
    blocks = [simulation.block() for _ in range(80)]
    started = sum(b.canary.started + b.stable.started for b in blocks if b.canary and b.stable)
    ended = sum(a.counts["errors"].total for b in blocks for a in (b.canary, b.stable) if a and a.counts["errors"])
    running = sum(replica.load for replica in (*simulation.canary, *simulation.stable))
    assert started == ended + running
    assert started > 4000
