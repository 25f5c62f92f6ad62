"""From what Prometheus said to what is judged: exact counts, and nothing made up where something is missing."""

from dataclasses import replace

import pytest

from modelfleet.core.judgement import default_config, judge
from modelfleet.core.judgement.inputs import Window
from tests.unit.judgement.counted import (
    CANARY,
    ENVOY,
    INTERVAL,
    OTHER_ENVOY,
    POD,
    SERVING,
    SINCE,
    STABLE,
    fleet,
    hide,
    of_envoy,
    of_pod,
    question,
    seen,
    steady,
    three_stable_pods,
    total,
)

CONFIG = default_config()


def counts(window: Window, metric: str, arm: str = "canary") -> list:
    """(bad, all) per block; None where it is not known."""
    arms = [getattr(block, arm) for block in window.blocks]
    found = [one and one.known(metric) for one in arms]
    return [(one.bad, one.total) if one else None for one in found]


def test_a_steady_fleet_is_counted_exactly():
    window = seen(fleet())
    assert [block.end for block in window.blocks] == [SINCE + INTERVAL * (i + 1) for i in range(8)]
    for block in window.blocks:
        assert (block.canary.started, block.stable.started) == (10, 30)
        assert (block.canary.replicas, block.stable.replicas) == (1, 1)
        assert block.canary.known("interToken").requests == 10
    assert counts(window, "ttft") == [(0, 10)] * 8
    assert counts(window, "interToken", "stable") == [(0, 600)] * 8
    assert counts(window, "errors") == counts(window, "badOutputs") == [(0, 10)] * 8
    assert window.replica_shares == {"ttft": ((0, 240),), "interToken": ((0, 4800),)}
    assert (window.canary_restarts, window.stable_restarts, window.overdue) == (0, 0, (0, 0))


def test_tokens_per_second_are_those_of_the_intervals_that_are_known():
    generated = of_pod(CANARY, "generated", steady(300)) | of_pod(STABLE, "generated", steady(900))
    assert seen(fleet() | generated).tokens_per_second == (20, 60)
    assert seen(hide(fleet() | generated, process=POD[CANARY], edges=range(3, 5))).tokens_per_second == (20, 60)
    assert seen(fleet()).tokens_per_second == (None, None)


def test_latencies_count_what_is_beyond_the_bound():
    slow = of_pod(CANARY, "first_tokens_in_time", steady(7)) | of_pod(CANARY, "gaps_in_time", steady(150))
    window = seen(fleet() | slow)
    assert counts(window, "ttft") == [(3, 10)] * 8
    assert counts(window, "interToken") == [(50, 200)] * 8
    assert counts(window, "ttft", "stable") == [(0, 30)] * 8


def test_errors_are_first_tries_that_failed():
    """What became of the request counts elsewhere: two were retried and answered by stable."""
    window = seen(
        fleet()
        | of_envoy(CANARY, "attempts", total(0, 0, 2, 0, 0, 0, 0, 0), kind="unavailable")
        | of_envoy(CANARY, "first_attempts", total(0, 0, 2, 0, 0, 0, 0, 0), kind="unavailable")
    )
    assert counts(window, "errors") == [(0, 10), (0, 10), (2, 12), (0, 10), (0, 10), (0, 10), (0, 10), (0, 10)]
    assert window.blocks[2].canary.known("errors").kinds == {"unavailable": 2}


def test_overload_and_clients_that_leave_are_no_errors():
    window = seen(
        fleet()
        | of_envoy(CANARY, "first_attempts", steady(4), kind="overloaded")
        | of_envoy(CANARY, "first_attempts", steady(3), kind="aborted")
    )
    assert counts(window, "errors") == [(0, 17)] * 8


def test_bad_outputs_are_empty_repeating_and_aborted_by_the_engine():
    window = seen(
        fleet()
        | of_envoy(CANARY, "requests", total(0, 0, 1, 0, 0, 0, 0, 0), kind="empty")
        | of_pod(CANARY, "finished", total(0, 0, 0, 2, 0, 0, 0, 0), kind="repetition")
        | of_pod(CANARY, "finished", total(0, 0, 0, 0, 3, 0, 0, 0), kind="abort")
    )
    assert [bad for bad, _ in counts(window, "badOutputs")] == [0, 0, 1, 2, 3, 0, 0, 0]
    assert counts(window, "badOutputs")[2] == (1, 11)


def test_a_client_that_leaves_makes_no_bad_output():
    """The engine's abort is scraped a block before or after the gateway's."""
    aborts = of_pod(CANARY, "finished", total(0, 0, 2, 0, 0, 1, 0, 0), kind="abort")
    left = of_envoy(CANARY, "attempts", total(0, 0, 0, 2, 1, 0, 0, 0), kind="aborted")
    assert [bad for bad, _ in counts(seen(fleet() | aborts | left), "badOutputs")] == [0] * 8
    assert sum(bad for bad, _ in counts(seen(fleet() | aborts), "badOutputs")) == 3


def test_more_bad_outputs_than_answers_so_far_are_still_counted():
    """At little traffic the engine's count comes before the gateway's."""
    quiet = fleet(canary=0) | of_envoy(CANARY, "requests", total(0, 0, 0, 1, 0, 0, 0, 0), kind="ok")
    window = seen(quiet | of_pod(CANARY, "finished", total(0, 0, 1, 0, 0, 0, 0, 0), kind="repetition"))
    assert counts(window, "badOutputs")[2:4] == [(1, 1), (0, 1)]


def test_the_first_error_that_an_envoy_ever_counts_is_counted():
    """Envoy has no series for what has not happened yet."""
    late = of_envoy(CANARY, "first_attempts", (None, None, None, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0), kind="cut")
    assert [bad for bad, _ in counts(seen(fleet() | late), "errors")] == [0, 0, 1, 0, 0, 0, 0, 0]


def test_a_canary_of_which_an_envoy_has_never_heard_had_no_requests():
    series = {key: values for key, values in fleet().items() if key.revision != CANARY}
    first = of_envoy(CANARY, "started", (*[None] * 5, 7.0, 9.0, 9.0, 9.0))
    assert [block.canary.started for block in seen(series | first).blocks] == [0, 0, 0, 0, 7, 2, 0, 0]


def second_envoy(per_block: float = 5) -> dict:
    found = {}
    for revision in (CANARY, STABLE):
        found |= of_envoy(revision, "started", steady(per_block, start=7000), envoy=OTHER_ENVOY)
        found |= of_envoy(revision, "attempts", steady(per_block, start=7000), kind="ok", envoy=OTHER_ENVOY)
    return found


def test_two_envoys_add_up_and_each_starts_anew_by_itself():
    other = second_envoy()
    anew = of_envoy(CANARY, "started", (7000, 7005, 7010, 5, 10, 15, 20, 25, 30), envoy=OTHER_ENVOY)
    assert [block.canary.started for block in seen(fleet() | other | anew).blocks] == [15] * 8


def test_a_gap_of_one_envoy_makes_both_arms_unknown_and_one_that_left_does_not():
    series = fleet() | second_envoy()
    gap = seen(hide(series, process=OTHER_ENVOY, edges=range(3, 4)))
    assert [block.canary is None for block in gap.blocks] == [False, False, True, True, False, False, False, False]
    assert [block.canary is None for block in gap.blocks] == [block.stable is None for block in gap.blocks]
    left = seen(hide(series, process=OTHER_ENVOY, edges=range(4, 9)))
    assert [block.stable.started for block in left.blocks] == [35, 35, 35, 30, 30, 30, 30, 30]


def test_without_any_envoy_nothing_is_known_and_nothing_passes():
    series = hide(fleet(blocks=40), process=ENVOY, edges=range(30, 41))
    window = seen(series)
    assert all(block.canary is None and block.stable is None for block in window.blocks[29:])
    verdict = judge(window, config=CONFIG)
    assert (verdict.outcome, verdict.reason) == ("NoData", "NoData")


@pytest.mark.parametrize("series", [{}, {key: (float("nan"),) * 41 for key in fleet()}])
def test_no_answer_and_nan_hold(series):
    window = seen(series, asked=question(blocks=40))
    assert len(window.blocks) == 40
    verdict = judge(window, config=CONFIG)
    assert (verdict.outcome, verdict.final) == ("NoData", False)


def test_an_answer_that_is_old_is_stale():
    window = replace(seen(fleet(blocks=40)), now=SINCE + 5000)
    verdict = judge(window, config=CONFIG)
    assert (verdict.outcome, verdict.reason) == ("NoData", "Stale")


def test_a_window_that_has_just_opened_has_no_blocks():
    window = seen({}, asked=question(blocks=0))
    assert window.blocks == ()
    assert judge(window, config=CONFIG).outcome == "Inconclusive"


def test_a_canary_without_engine_metrics_is_silent():
    series = {key: values for key, values in fleet(blocks=40).items() if key.process != POD[CANARY]}
    verdict = judge(seen(series), config=CONFIG)
    assert (verdict.outcome, verdict.reason) == ("Fail", "CanarySilent")


def test_a_new_pod_that_is_not_scraped_yet_takes_nothing_away_from_before():
    """The canary got a second pod 40 s ago: unknown from there on, and warming up."""
    asked = question(warmup_seconds=60.0)
    new = {f"chat-{CANARY}-7d9-zzzzz": asked.edges[-1] - 40}
    window = seen(fleet(), asked=asked, serving={**dict.fromkeys(POD.values(), 0.0), **new})
    assert counts(window, "ttft") == [*[(0, 10)] * 6, None, None]
    assert [block.warming for block in window.blocks] == [True, True, True, True, False, True, True, True]


def test_a_pod_that_left_took_its_counts_with_it():
    gone = f"chat-{STABLE}-6f4-yyyyy"
    series = fleet()
    for part, times in (("first_tokens", 1), ("first_tokens_in_time", 1), ("gaps", 20), ("gaps_in_time", 20)):
        series |= of_pod(STABLE, part, (*steady(30 * times, blocks=3), *[None] * 5), pod=gone)
    window = seen(series)
    assert counts(window, "ttft", "stable") == [*[(0, 60)] * 3, *[(0, 30)] * 5]
    assert [block.stable.replicas for block in window.blocks] == [2, 2, 2, 1, 1, 1, 1, 1]


def test_pods_of_another_revision_or_model_do_not_count():
    foreign = [f"chat-{STABLE[:9]}0-6f4-aaaaa", f"chat2-{CANARY}-6f4-bbbbb"]
    series = fleet()
    for pod in foreign:
        series |= of_pod(CANARY, "first_tokens", steady(1000), pod=pod)
    assert counts(seen(series), "ttft") == [(0, 10)] * 8


def restarted(series: dict, *, at: int) -> dict:
    """The canary's engine started anew before this edge."""

    def anew(values):
        return (*values[:at], *(value - values[at] + 2 for value in values[at:]))

    found = {key: anew(values) if key.process == POD[CANARY] else values for key, values in series.items()}
    return found | of_pod(CANARY, "born", (*[500.0] * at, *[900.0] * (9 - at)))


def test_a_restarted_canary_warms_up_again_and_the_restart_counts():
    series = restarted(fleet(), at=4)
    window = seen(series, asked=question(warmup_seconds=30.0))
    assert window.canary_restarts == 1
    assert [block.warming for block in window.blocks] == [True, True, False, True, True, True, False, False]
    assert counts(window, "ttft") == [(0, 10), (0, 10), (0, 10), (0, 2), (0, 10), (0, 10), (0, 10), (0, 10)]


def test_a_restart_between_two_scrapes_before_anything_was_counted_is_seen():
    series = fleet(canary=0) | of_pod(CANARY, "born", (500.0, 500.0, 700.0, 700.0, None, 910.0, 910.0, 910.0, 910.0))
    assert seen(series).canary_restarts == 2


def test_without_a_time_of_birth_falling_counters_tell_of_restarts():
    series = {key: values for key, values in restarted(fleet(), at=4).items() if key.part != "born"}
    assert seen(series).canary_restarts == 1


def test_a_restart_of_stable_warms_nothing_up():
    series = fleet() | of_pod(STABLE, "born", (*[500.0] * 4, *[900.0] * 5))
    window = seen(series)
    assert window.stable_restarts == 1
    assert not any(block.warming for block in window.blocks)


def test_the_warm_up_begins_with_the_first_request_that_is_routed():
    series = fleet() | of_envoy(CANARY, "started", total(0, 0, 0, 4, 10, 10, 10, 10))
    window = seen(series, asked=question(warmup_seconds=30.0))
    assert [block.warming for block in window.blocks] == [True] * 5 + [False] * 3


def test_an_idle_canary_lacks_samples_and_is_not_warming_for_ever():
    verdict = judge(seen(fleet(blocks=40, canary=0), asked=question(blocks=40, warmup_seconds=30.0)), config=CONFIG)
    assert (verdict.outcome, verdict.reason, verdict.hold) == ("Inconclusive", "MinSamples", "MinSamples")


def hanging() -> dict:
    """Of ten tries of the canary in each block five get no token and do not end."""
    found = fleet() | of_envoy(CANARY, "attempts", steady(5), kind="ok")
    return found | of_pod(CANARY, "first_tokens", steady(5)) | of_pod(CANARY, "first_tokens_in_time", steady(5))


def test_streams_that_hang_are_overdue():
    """60 tries began before the latest two blocks, and there were 40 first tokens in all."""
    assert seen(hanging()).overdue == (20, 0)


def test_long_streams_and_fresh_ones_are_not_overdue():
    """They began and have not ended, but have had their first token; or they began in the latest blocks."""
    long = fleet() | of_envoy(CANARY, "attempts", steady(2), kind="ok")
    assert seen(long).overdue == (0, 0)
    fresh = total(10, 10, 10, 10, 10, 10, 10, 40, start=100)
    assert seen(fleet() | of_envoy(CANARY, "attempts_started", fresh)).overdue == (0, 0)


def test_what_ended_badly_is_not_overdue():
    series = hanging() | of_envoy(CANARY, "attempts", steady(5), kind="timeout")
    assert seen(series).overdue == (0, 0)


def test_overdue_streams_are_unknown_after_a_gap_or_a_restart():
    assert seen(hide(hanging(), process=ENVOY, edges=range(4, 5))).overdue == (0, 0)
    assert seen(restarted(hanging(), at=4)).overdue == (0, 0)


def test_without_the_gateway_engines_alone_are_counted():
    series = {key: values for key, values in fleet().items() if not key.revision}
    series |= of_pod(CANARY, "finished", steady(1), kind="error") | of_pod(CANARY, "finished", steady(5), kind="abort")
    window = seen(series, asked=question(gateway=False))
    assert [block.canary.started for block in window.blocks] == [10] * 8
    assert counts(window, "badOutputs") == [(1, 11)] * 8
    assert counts(window, "ttft", "stable") == [(0, 30)] * 8
    assert counts(window, "errors") == [None] * 8


def test_an_equal_canary_passes_and_a_slow_one_fails():
    equal = three_stable_pods(fleet(blocks=40))
    verdict = judge(seen(equal, serving=SERVING), config=CONFIG)
    assert (verdict.outcome, verdict.reason, verdict.load_ratio) == ("Pass", "NotWorse", 1.0)
    slow = of_pod(CANARY, "first_tokens_in_time", steady(5, blocks=40))
    verdict = judge(seen(equal | slow, serving=SERVING), config=CONFIG)
    assert (verdict.outcome, verdict.reason) == ("Fail", "Worse")
    assert "canary 50.00% of 400, stable 0.00% of 1200" in verdict.message


def test_a_canary_that_fails_beyond_its_limit_is_named_with_its_faults():
    failing = of_envoy(CANARY, "first_attempts", steady(3, blocks=40), kind="unreachable")
    verdict = judge(seen(three_stable_pods(fleet(blocks=40)) | failing, serving=SERVING), config=CONFIG)
    assert (verdict.outcome, verdict.reason) == ("Fail", "LimitExceeded")
    assert "(120 unreachable)" in verdict.message
