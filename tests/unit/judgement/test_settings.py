"""What a user writes under `spec.rollout.analysis`, as bounds and limits of the judgement."""

from typing import Any, NamedTuple

import pytest

from modelfleet.core.judgement import Config, CustomLimit
from modelfleet.core.judgement.question import CustomQuery
from modelfleet.core.judgement.settings import configuration, custom_queries, within


class Metric(NamedTuple):
    name: str
    within: float | None = None
    min_ratio: float | None = None
    max_ratio: float | None = None
    max_drop_from_stable: float | None = None
    query: str | None = None
    min: float | None = None
    max: float | None = None


def config(*metrics: Metric, **changes: Any) -> Config:
    given = {
        "ttft_within": within(metrics=metrics, metric="ttft", objective=None),
        "inter_token_within": within(metrics=metrics, metric="interToken", objective=None),
        "interval_seconds": 15,
        "min_samples": 50,
        "min_seconds": 300,
        "judged_steps": 3,
    }
    return configuration(metrics=metrics, **{**given, **changes})


def test_nothing_said_is_the_measured_method():
    found = {m.name: m for m in config().metrics}
    assert list(found) == ["ttft", "interToken", "errors", "badOutputs"]
    assert found["ttft"].label == "requests over 1 s to the first token"
    assert found["errors"].limit == 0.05
    assert config().notes == ()


def test_what_is_said_about_one_metric_changes_that_one():
    found = {
        m.name: m
        for m in config(
            Metric("ttft", within=2.5, min_ratio=0.75, max_drop_from_stable=0.1), Metric("errors", max_ratio=0.02)
        ).metrics
    }
    assert (found["ttft"].limit, found["ttft"].max_drop) == (0.25, 0.1)
    assert found["ttft"].label == "requests over 2.5 s to the first token"
    assert (found["errors"].limit, found["errors"].max_drop) == (0.02, 0.01)
    assert found["badOutputs"].limit == 0.1


@pytest.mark.parametrize(
    ("said", "objective", "wanted"), [(None, None, 1.0), (None, 0.5, 0.5), (2.5, 0.5, 2.5), (2.5, None, 2.5)]
)
def test_a_bound_is_the_metrics_own_or_the_scaling_objective(said, objective, wanted):
    assert within(metrics=(Metric("ttft", within=said),), metric="ttft", objective=objective) == wanted


def test_a_bound_that_the_engine_does_not_count_by_is_the_next_higher_and_says_so():
    found = config(Metric("interToken", within=0.06))
    assert found.metrics[1].label == "token gaps over 0.075 s"
    assert found.notes == ("interToken is judged at 0.075 s, the bound next to 0.06 s that the engine counts by",)
    largest = config(Metric("interToken", within=100))
    assert largest.metrics[1].label == "token gaps over 80 s"
    assert "judged at 80 s" in largest.notes[0]


def test_queries_of_the_users_own_have_absolute_limits():
    metrics = (Metric("queue", query="sum(q)", max=7.0), Metric("ttft"), Metric("quality", query="q", min=0.5, max=1.0))
    assert config(*metrics).custom == (
        CustomLimit(name="queue", maximum=7.0),
        CustomLimit(name="quality", minimum=0.5, maximum=1.0),
    )
    assert custom_queries(metrics) == (CustomQuery("queue", "sum(q)"), CustomQuery("quality", "q"))


def test_a_least_time_that_no_window_holds_is_cut_and_says_so():
    assert (config(min_seconds=6480).min_seconds, config(min_seconds=6480).notes) == (6480, ())
    cut = config(min_seconds=7200)
    assert cut.min_seconds == 6480
    assert cut.notes == ("minSeconds 7200 counts as 6480: intervals of 15 s hold no more",)


def test_without_the_gateway_nothing_is_required_that_nobody_counts():
    found = config(Metric("errors", max_ratio=0.02), gateway=False)
    assert [m.name for m in found.metrics] == ["ttft", "interToken", "badOutputs"]
    assert sum(m.weight for m in found.metrics) == pytest.approx(1)
    assert "errors are not judged" in found.notes[-1]
