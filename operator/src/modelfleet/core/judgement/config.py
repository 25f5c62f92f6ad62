"""What the user and the method set: metrics with their bounds, error probabilities, times.

Made from `spec.rollout.analysis` by `decide()`. The figures that no field sets are measured ones, told with their
operating characteristics in docs/explanation/judgement.md. Must not look at any measurement.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

MetricName = Literal["ttft", "interToken", "errors", "badOutputs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricConfig:
    """One compared metric: a share of bad events, lower is better.

    Attributes:
        name: its name in the API.
        label: how a message names its bad events: "requests over 1 s to the first token".
        latency: it follows the load, so only like load may be compared.
        max_drop: the drop from stable that promotion must rule out, as a share (0.05: five points).
        limit: largest share of bad events whatever stable does (1 - minRatio, or maxRatio); None for no limit.
        weight: its part of the evidence; all weights sum up to 1.
        prior_spread: the design effect expected before blocks have shown theirs.
        least_spread: the design effect is never taken to be less.
    """

    name: MetricName
    label: str
    latency: bool
    max_drop: float
    limit: float | None
    weight: float
    prior_spread: float
    least_spread: float

    def __post_init__(self) -> None:
        if not 0 < self.max_drop < 1:
            raise ValueError(f"{self.name}: max_drop {self.max_drop} is not between 0 and 1")
        if self.limit is not None and not 0 < self.limit < 1:
            raise ValueError(f"{self.name}: limit {self.limit} is not between 0 and 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomLimit:
    """A metric by its own query: an absolute limit, outside the comparison and outside its error bounds."""

    name: str
    maximum: float | None = None
    minimum: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How to judge.

    Attributes:
        metrics: the compared ones; every one is required.
        custom: absolute limits on the user's own queries.
        alpha: largest probability, over the whole rollout, to fail a canary that is equal to stable.
        beta: largest probability to pass one that is worse by `max_drop`.
        judged_steps: steps with a verdict; they share `alpha`.
        min_samples: requests of each arm before a Pass.
        min_samples_to_fail: requests of each arm before a metric counts against the canary.
        interval_seconds: length of a block.
        min_seconds: counted time before a Pass: a quiet window proves nothing about a busy one.
        incident_seconds: the evidence for a Fail must stand without any so long stretch.
        patience_seconds: counted time after which an open test is Inconclusive for good.
        max_restarts: container restarts of the canary in one window; more is a Fail. Of a whole set, of each replica.
        notes: what is measured otherwise than asked, or cannot be measured here, in sentences for status.
    """

    metrics: tuple[MetricConfig, ...]
    custom: tuple[CustomLimit, ...] = ()
    alpha: float = 0.05
    beta: float = 0.05
    judged_steps: int = 3
    min_samples: int = 50
    min_samples_to_fail: int = 10
    interval_seconds: float = 15.0
    min_seconds: float = 300.0
    incident_seconds: float = 60.0
    patience_seconds: float = 1800.0
    max_restarts: int = 1
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.interval_seconds <= 0:
            raise ValueError(f"interval_seconds {self.interval_seconds} is not above 0")

    @property
    def left_out_blocks(self) -> int:
        """Blocks that the evidence for a Fail must stand without.

        >>> default_config().left_out_blocks, default_config(interval_seconds=5, min_seconds=45).left_out_blocks
        (4, 2)
        """
        return max(1, round(self.incident_seconds / self.interval_seconds))

    @property
    def recent_blocks(self) -> int:
        """Blocks after which silence means something: four, and at least a minute's worth."""
        return max(4, round(60.0 / self.interval_seconds))


FREE_WINDOWS: Final = 3
"""A window of this test spends less than a third of its nominal alpha (measured), so three of them need no correction."""


def evidence_needed(*, config: Config, windows: int) -> float:
    """Answer the evidence for a Fail, shared over the steps or over the windows opened so far, if these are more.

    >>> evidence_needed(config=default_config(), windows=1), evidence_needed(config=default_config(), windows=6)
    (20.0, 40.0)
    """
    return max(1.0, max(config.judged_steps, windows) / FREE_WINDOWS) / config.alpha


def default_config(
    *,
    ttft_within: float = 1.0,
    inter_token_within: float = 0.05,
    max_drop: Mapping[MetricName, float] | None = None,
    limits: Mapping[MetricName, float | None] | None = None,
    custom: tuple[CustomLimit, ...] = (),
    judged_steps: int = 3,
    min_samples: int = 50,
    interval_seconds: float = 15.0,
    min_seconds: float = 300.0,
    patience_seconds: float = 1800.0,
) -> Config:
    """Fill in what the user left out; `limits` are shares of bad events. A shorter minimum shortens an incident too.

    >>> [(m.name, m.max_drop, m.limit) for m in default_config(max_drop={"errors": 0.02}).metrics]
    [('ttft', 0.05, None), ('interToken', 0.05, None), ('errors', 0.02, 0.05), ('badOutputs', 0.01, 0.1)]
    """
    drops = {**_MAX_DROPS, **(max_drop or {})}
    most = {**_LIMITS, **(limits or {})}
    labels: dict[MetricName, str] = {
        "ttft": f"requests over {ttft_within:g} s to the first token",
        "interToken": f"token gaps over {inter_token_within:g} s",
        "errors": "attempts that failed",
        "badOutputs": "empty, aborted or repeating outputs",
    }
    metrics = tuple(
        MetricConfig(
            name=name,
            label=labels[name],
            latency=name in ("ttft", "interToken"),
            max_drop=drops[name],
            limit=most[name],
            weight=weight,
            prior_spread=prior,
            least_spread=least,
        )
        for name, weight, prior, least in _METHOD
    )
    return Config(
        metrics=metrics,
        custom=custom,
        judged_steps=judged_steps,
        min_samples=min_samples,
        min_samples_to_fail=min(10, min_samples),
        interval_seconds=interval_seconds,
        min_seconds=min_seconds,
        incident_seconds=min(_INCIDENT_SECONDS, min_seconds / 5),
        patience_seconds=patience_seconds,
    )


_INCIDENT_SECONDS: Final = 60.0
_MAX_DROPS: Final[Mapping[MetricName, float]] = {"ttft": 0.05, "interToken": 0.05, "errors": 0.01, "badOutputs": 0.01}
# Latency has no default limit: what is slow in absolute terms is slow by the user's objective, and stable may be as slow.
_LIMITS: Final[Mapping[MetricName, float | None]] = {
    "ttft": None,
    "interToken": None,
    "errors": 0.05,
    "badOutputs": 0.1,
}
_METHOD: Final[tuple[tuple[MetricName, float, float, float], ...]] = (
    # name, weight, prior design effect, least design effect
    ("ttft", 0.2, 2.0, 1.0),
    ("interToken", 0.2, 1.0, 0.3),
    ("errors", 0.4, 2.0, 1.0),
    ("badOutputs", 0.2, 1.0, 1.0),
)
