from dataclasses import replace

import pytest

from modelfleet.core.judgement import (
    Carried,
    Counts,
    CustomLimit,
    CustomValues,
    Window,
    default_config,
    judge,
    next_carried,
)

from .windows import CONFIG, block, change, lose, window

NAN = float("nan")


def said(some, *, config=CONFIG, carried=None):
    found = judge(some, config=config, carried=carried)
    return found.outcome, found.reason


def test_an_equal_canary_passes_with_numbers():
    found = judge(window(), config=CONFIG)
    assert (found.outcome, found.reason, found.final, found.latency_proven) == ("Pass", "NotWorse", True, True)
    ttft = found.metrics[0]
    assert (ttft.name, ttft.canary_samples, ttft.stable_samples) == ("ttft", 600, 1800)
    assert ttft.canary_ratio == pytest.approx(0.04)
    assert "600 canary requests" in found.message


@pytest.mark.parametrize(
    ("metric", "share", "words"),
    [
        ("ttft", 0.3, "30.00% of 600, stable 4.00% of 1800 (requests over 1 s to the first token)"),
        ("interToken", 0.3, "30.00% of 600, stable 4.00% of 1800 (token gaps over 0.05 s)"),
        ("errors", 0.045, "4.50% of 600, stable 0.00% of 1800 (attempts that failed)"),
        ("badOutputs", 0.06, "6.00% of 600, stable 0.00% of 1800 (empty, aborted or repeating outputs)"),
    ],
)
def test_a_worse_canary_fails_and_says_by_what(metric, share, words):
    found = judge(window(canary={metric: share}), config=CONFIG)
    assert (found.outcome, found.reason, found.final) == ("Fail", "Worse", True)
    assert words in found.message
    assert found.evidence >= found.evidence_needed


def test_a_better_canary_passes():
    assert said(window(canary={"ttft": 0.0}, stable={"ttft": 0.1, "interToken": 0.2})) == ("Pass", "NotWorse")


def test_one_bad_minute_alone_rolls_nothing_back():
    """The same counts spread over all blocks do."""
    some = window(canary={"ttft": 0.0}, stable={"ttft": 0.0})
    bad = [block(i, canary={"ttft": 1.0}, stable={"ttft": 0.0}) for i in range(10, 14)]
    incident = replace(some, blocks=(*some.blocks[:10], *bad, *some.blocks[14:]))
    assert said(incident)[0] != "Fail"
    assert said(window(canary={"ttft": 4 / 24}, stable={"ttft": 0.0}))[0] == "Fail"


def test_a_latency_that_need_not_pass_under_half_the_load_still_keeps_a_worse_one_from_passing():
    """In one block nothing may fail, as it may be one incident; an equal one goes on."""
    config = default_config(min_seconds=15.0)

    def half_loaded(ttft):
        some = window(1, requests=1000, canary={"ttft": ttft})
        idle = [replace(b, canary=replace(b.canary, replicas=2)) for b in some.blocks if b.canary]
        return said(replace(some, blocks=tuple(idle)), config=config)

    assert half_loaded(0.04) == ("Pass", "NotWorseLatencyDeferred")
    assert half_loaded(0.5) == ("Inconclusive", "LoadTooLow")


def test_a_quiet_start_is_no_pass():
    found = judge(window(16, requests=100), config=CONFIG)
    assert (found.outcome, found.reason, found.final) == ("Inconclusive", "MinSeconds", False)


def test_few_samples_extend_and_then_end_inconclusive():
    found = judge(window(40, requests=1), config=CONFIG)
    assert (found.outcome, found.reason, found.final) == ("Inconclusive", "MinSamples", False)
    assert (found.hold, found.enough_samples) == ("MinSamples", False)
    found = judge(window(120, requests=0.4), config=CONFIG)
    assert (found.outcome, found.reason, found.final) == ("Inconclusive", "TimedOut", True)
    assert (found.hold, found.enough_samples) == ("Inconclusive", False)


def test_a_drop_between_nothing_and_the_allowed_one_stays_open():
    found = judge(window(24, canary={"ttft": 0.07}), config=CONFIG)
    assert (found.outcome, found.reason, found.final) == ("Inconclusive", "Undecided", False)
    assert (found.hold, found.enough_samples) == ("", True)


def test_a_window_that_just_opened_is_warming_up():
    assert said(Window(now=0, weight=0.25, blocks=())) == ("Inconclusive", "WarmingUp")
    assert said(window(8, canary={"ttft": 1.0}, warming=True)) == ("Inconclusive", "WarmingUp")


def test_a_cold_cache_counts_for_nothing_but_errors_do_from_the_first_request():
    cold = [block(i, canary={"ttft": 1.0}, warming=True) for i in range(8)]
    warm = [block(i) for i in range(8, 32)]
    assert said(Window(now=480, weight=0.25, blocks=(*cold, *warm)))[0] == "Pass"
    assert said(window(4, canary={"errors": 0.5}, warming=True)) == ("Fail", "LimitExceeded")


@pytest.mark.parametrize(
    ("canary", "expected"),
    [({}, "Pass"), ({"ttft": 0.5}, "Fail"), ({"errors": 0.3}, "Fail"), ({"badOutputs": 0.5}, "Fail")],
    ids=["equal", "slow", "errors", "bad outputs"],
)
def test_short_intervals_and_minimum_times_still_decide(canary, expected):
    """Blocks of 5 s, 45 s at least, a drop of 5 points for every metric: a minute and two requests a second."""
    drops = dict.fromkeys(("ttft", "interToken", "errors", "badOutputs"), 0.05)
    config = default_config(min_samples=60, interval_seconds=5, min_seconds=45, max_drop=drops)
    some = window(12, requests=10, canary={"ttft": 0.0, "interToken": 0.0, **canary}, stable={"ttft": 0.0})
    blocks = tuple(replace(b, end=b.end / 3) for b in some.blocks)
    assert judge(Window(now=60, weight=0.25, blocks=blocks), config=config).outcome == expected


# --- data that is missing ---


@pytest.mark.parametrize("arm_name", ["canary", "stable"])
@pytest.mark.parametrize("metric", ["ttft", "interToken", "errors", "badOutputs"])
@pytest.mark.parametrize(
    "value",
    [None, Counts(bad=NAN, total=NAN), Counts(bad=0, total=NAN), Counts(bad=3, total=2), Counts(bad=-1, total=9)],
    ids=["absent", "NaN", "NaN total", "more bad than all", "negative"],
)
def test_a_metric_without_counts_never_passes(metric, arm_name, value):
    gone = lose(window(), metric=metric, arm_name=arm_name, places=range(24), value=value)
    outcome, _ = said(gone)
    assert outcome == ("Fail" if arm_name == "canary" else "NoData")
    assert said(lose(window(), metric=metric, arm_name=arm_name, places=range(23, 24), value=value))[0] != "Pass"


def test_canary_only_silence_fails_and_names_the_metric():
    found = judge(lose(window(), metric="ttft", arm_name="canary", places=range(20, 24)), config=CONFIG)
    assert (found.outcome, found.reason) == ("Fail", "CanarySilent")
    assert "100 requests started on the canary" in found.message


def test_an_idle_canary_is_not_a_silent_one():
    idle = [replace(b, canary=replace(b.canary, started=0, counts={})) for b in window(requests=1).blocks if b.canary]
    assert said(Window(now=360, weight=0.25, blocks=tuple(idle)))[0] in ("NoData", "Inconclusive")


def test_prometheus_down_holds_and_back_again_goes_on():
    down = change(window(30), *range(10, 16), canary=None, stable=None)
    during = replace(down, now=15.0 * 16, blocks=down.blocks[:16])
    assert said(during) == ("NoData", "NoData")
    assert said(replace(during, now=15.0 * 13, blocks=down.blocks[:13]))[0] == "Inconclusive"
    after = judge(down, config=CONFIG)
    assert after.outcome == "Pass"
    assert after.seconds == 24 * 15, "blocks that were lost do not count as time"


@pytest.mark.parametrize("now", [1e6, -1e6, NAN])
def test_an_old_answer_is_no_answer(now):
    assert said(replace(window(), now=now)) == ("NoData", "Stale")


def test_a_block_that_stable_lacks_does_not_count_for_the_canary():
    found = judge(change(window(30), 3, 4, stable=None), config=CONFIG)
    assert found.metrics[0].canary_samples == 28 * 25


# --- guards ---


def test_requests_that_hang_fail_though_no_histogram_has_them():
    hanging = lose(window(10), metric="ttft", arm_name="canary", places=range(10), value=Counts(bad=0, total=0))
    found = judge(hanging, config=CONFIG)
    assert (found.outcome, found.reason) == ("Fail", "CanaryHung")


def test_streams_that_still_wait_count_as_misses():
    assert said(window())[0] == "Pass"
    assert said(replace(window(), overdue=(150.0, 0.0))) == ("Fail", "Worse")


def test_a_canary_that_keeps_restarting_fails_unless_stable_does_too():
    assert said(replace(window(), canary_restarts=1))[0] == "Pass"
    assert said(replace(window(), canary_restarts=2)) == ("Fail", "CanaryRestarts")
    assert said(replace(window(), canary_restarts=2, stable_restarts=2))[0] == "Pass"


def test_an_absolute_limit_needs_two_looks():
    some = window(2, requests=5, canary={"errors": 0.8})
    assert said(some) == ("Fail", "LimitExceeded")
    assert said(replace(some, now=15.0, blocks=some.blocks[:1]))[0] == "Inconclusive"


def test_the_kinds_of_bad_outputs_are_told():
    bad = Counts(bad=20, total=25, kinds={"empty": 15, "abort": 5})
    some = lose(window(4), metric="badOutputs", arm_name="canary", places=range(4), value=bad)
    assert judge(some, config=CONFIG).message.endswith("surely over the limit of 10.0% (60 empty, 20 abort)")


def test_both_bad_holds_and_only_stable_bad_leaves_the_limit_as_judge():
    both = {"errors": 0.3}
    assert said(window(canary=both, stable=both)) == ("Inconclusive", "StableUnhealthy")
    found = judge(window(stable=both), config=CONFIG)
    assert (found.outcome, found.metrics[2].reason) == ("Pass", "WithinLimit")
    near = judge(window(canary={"errors": 0.045}, stable=both), config=CONFIG)
    assert (near.outcome, near.metrics[2].reason) == ("Inconclusive", "Undecided"), "not surely below 5 %"


def test_latency_limits_are_the_users_word():
    limits = default_config(limits={"ttft": 0.2})
    slow = window(60, canary={"ttft": 0.5}, stable={"ttft": 0.5})
    assert said(slow) == ("Pass", "NotWorse")
    assert said(slow, config=limits) == ("Inconclusive", "StableUnhealthy")


# --- like with like ---


def unlike(factor, count=60, **shares):
    """Blocks whose canary replica gets `factor` times what a stable one gets."""
    blocks = []
    for one in window(count, **shares).blocks:
        assert one.canary
        counts = {
            name: replace(c, bad=c.bad * factor, total=c.total * factor, units=c.requests * factor)
            for name, c in one.canary.counts.items()
            if c
        }
        blocks.append(replace(one, canary=replace(one.canary, started=one.canary.started * factor, counts=counts)))
    return Window(now=15.0 * count, weight=factor / (factor + 3), blocks=tuple(blocks))


def test_latency_under_less_load_proves_nothing_but_the_step_goes_on():
    found = judge(unlike(0.5), config=CONFIG)
    assert (found.outcome, found.reason, found.latency_proven) == ("Pass", "NotWorseLatencyDeferred", False)
    assert found.load_ratio == pytest.approx(0.5, abs=0.1)


def test_latency_under_less_load_may_fail():
    assert said(unlike(0.5, canary={"ttft": 0.4})) == ("Fail", "Worse")


def test_latency_under_more_load_may_pass_but_not_fail():
    found = judge(unlike(2.0), config=CONFIG)
    assert (found.outcome, found.latency_proven) == ("Pass", True)
    assert said(unlike(2.0, canary={"ttft": 0.4}))[0] == "Inconclusive"
    assert said(unlike(2.0, canary={"errors": 0.045}))[0] == "Fail", "errors do not follow load"


def test_without_one_step_of_like_load_there_is_no_hundred_percent():
    deferred = judge(unlike(0.5), config=CONFIG)
    carried = next_carried(carried=Carried(), verdict=deferred)
    assert said(replace(unlike(0.5), last=True), carried=carried) == ("Inconclusive", "LoadNotMatched")
    proven = next_carried(carried=carried, verdict=judge(window(), config=CONFIG))
    assert proven == Carried(windows=3, latency_proven=True)
    assert said(replace(unlike(0.5), last=True), carried=proven)[0] == "Pass"


def test_a_split_that_does_not_match_holds_whatever_the_samples_say():
    found = judge(replace(window(), weight=0.05), config=CONFIG)
    assert (found.outcome, found.reason, found.hold) == ("Inconclusive", "SplitMismatch", "RouterUnverified")
    assert found.message == "the canary got 25.0% of the last 400 requests, its weight is 5.0%"
    assert said(replace(window(canary={"errors": 0.5}), weight=0.05)) == ("Fail", "LimitExceeded")


# --- the user's own queries ---


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1.0, 1.0), ("Pass", "NotWorse")),
        ((9.0, 9.0, 1.0), ("Pass", "NotWorse")),
        ((1.0, 9.0), ("Inconclusive", "CustomAboveLimit")),
        ((9.0, 9.0, 9.0), ("Fail", "LimitExceeded")),
        ((9.0, None, 9.0), ("Inconclusive", "CustomAboveLimit")),
        ((1.0, NAN), ("NoData", "CustomNoData")),
        ((1.0, None), ("NoData", "CustomNoData")),
        ((), ("NoData", "CustomNoData")),
    ],
)
def test_a_custom_limit(values, expected):
    config = default_config(custom=(CustomLimit(name="queue", maximum=5),))
    assert said(replace(window(), custom={"queue": CustomValues(values=values)}), config=config) == expected


def test_a_custom_minimum_and_a_query_that_was_never_answered():
    config = default_config(custom=(CustomLimit(name="score", minimum=0.9),))
    assert said(window(), config=config) == ("NoData", "CustomNoData")
    low = replace(window(), custom={"score": CustomValues(values=(0.1,) * 3)})
    assert judge(low, config=config).message == "score: 0.1, allowed at least 0.9; 3 intervals in a row fail"
