"""From `spec.rollout.analysis` to what is asked and how it is judged.

Takes plain values, so that the API may name its fields as it likes. Must not look at any measurement.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

from modelfleet.core.judgement.config import Config, CustomLimit, MetricConfig, MetricName, default_config
from modelfleet.core.judgement.question import CustomQuery, countable
from modelfleet.core.judgement.series import Latency, bucket

_BUILT_IN: Final[tuple[MetricName, ...]] = ("ttft", "interToken", "errors", "badOutputs")
_DEFAULT_WITHIN: Final[dict[Latency, float]] = {"ttft": 1.0, "interToken": 0.05}
_WITHOUT_GATEWAY: Final = (
    "errors are not judged, and of outputs only repetition and the engine's own errors: only ModelFleet's gateway counts"
    " failed tries, empty outputs and clients that leave"
)


class MetricSetting(Protocol):
    """What a user says about one metric; None where nothing is said."""

    @property
    def name(self) -> str:
        """One of the four, or a name of the user's own."""

    @property
    def within(self) -> float | None:
        """Seconds that are still good."""

    @property
    def min_ratio(self) -> float | None:
        """Least share of good events."""

    @property
    def max_ratio(self) -> float | None:
        """Largest share of bad events."""

    @property
    def max_drop_from_stable(self) -> float | None:
        """How much worse than stable it must not be."""

    @property
    def query(self) -> str | None:
        """PromQL of a metric of the user's own."""

    @property
    def min(self) -> float | None:
        """Least value of the query."""

    @property
    def max(self) -> float | None:
        """Largest value of the query."""


def within(*, metrics: Sequence[MetricSetting], metric: Latency, objective: float | None) -> float:
    """Answer the bound that is wanted of a latency: the metric's own, else the scaling objective, else the default.

    >>> within(metrics=(), metric="ttft", objective=None), within(metrics=(), metric="ttft", objective=2.5)
    (1.0, 2.5)
    """
    said = next((m.within for m in metrics if m.name == metric and m.within is not None), None)
    return said if said is not None else objective if objective is not None else _DEFAULT_WITHIN[metric]


def custom_queries(metrics: Sequence[MetricSetting]) -> tuple[CustomQuery, ...]:
    """Answer the user's own queries, for the `Question`."""
    return tuple(CustomQuery(name=m.name, query=m.query) for m in metrics if m.query)


def configuration(
    *,
    metrics: Sequence[MetricSetting],
    ttft_within: float,
    inter_token_within: float,
    interval_seconds: float,
    min_samples: int,
    min_seconds: float,
    judged_steps: int,
    gateway: bool = True,
) -> Config:
    """Answer how to judge.

    Args:
        metrics: what the user says.
        ttft_within: wanted bound for the first token, by `within()`.
        inter_token_within: wanted bound for the gap between tokens, by `within()`.
        interval_seconds: length of a block.
        min_samples: requests of each arm before a Pass.
        min_seconds: counted time before a Pass; where no window holds so much, what it holds.
        judged_steps: steps with a verdict.
        gateway: as in the `Question`.
    """
    wanted: dict[Latency, float] = {"ttft": ttft_within, "interToken": inter_token_within}
    bounds = {name: bucket(metric=name, within=bound) for name, bound in wanted.items()}
    built_in = {name: m for m in metrics for name in _BUILT_IN if m.name == name}
    least = countable(seconds=min_seconds, interval_seconds=interval_seconds)
    config = default_config(
        ttft_within=bounds["ttft"],
        inter_token_within=bounds["interToken"],
        max_drop={n: m.max_drop_from_stable for n, m in built_in.items() if m.max_drop_from_stable is not None},
        limits={name: limit for name, m in built_in.items() if (limit := _limit(m)) is not None},
        custom=tuple(CustomLimit(name=m.name, maximum=m.max, minimum=m.min) for m in metrics if m.query),
        judged_steps=judged_steps,
        min_samples=min_samples,
        interval_seconds=interval_seconds,
        min_seconds=least,
    )
    notes = tuple(
        f"{name} is judged at {bounds[name]:g} s, the bound next to {bound:g} s that the engine counts by"
        for name, bound in wanted.items()
        if bounds[name] != bound
    )
    if least < min_seconds:
        notes += (f"minSeconds {min_seconds:g} counts as {least:g}: intervals of {interval_seconds:g} s hold no more",)
    if gateway:
        return replace(config, notes=notes)
    return replace(config, metrics=_measured_by_engines(config.metrics), notes=(*notes, _WITHOUT_GATEWAY))


def _limit(metric: MetricSetting) -> float | None:
    """Answer the largest share of bad events."""
    return metric.max_ratio if metric.min_ratio is None else 1 - metric.min_ratio


def _measured_by_engines(metrics: Sequence[MetricConfig]) -> tuple[MetricConfig, ...]:
    """Leave errors out; the weights of the others sum up to 1 again."""
    left = [m for m in metrics if m.name != "errors"]
    total = sum(m.weight for m in left)
    return tuple(replace(m, weight=m.weight / total) for m in left)
