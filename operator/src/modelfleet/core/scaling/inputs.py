"""What `scale()` reads and what it answers, as frozen data.

Filled by `decide()` from its snapshot. Must not hold any arithmetic.
"""

from dataclasses import dataclass
from typing import Literal

from modelfleet.core.scaling.hpa import Recommendation
from modelfleet.core.scaling.signals import Signals

Mode = Literal["Auto", "Advise"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PodState:
    """A replica as the API shows it.

    Attributes:
        name: pod name.
        ready: its Ready condition.
        started_at: when its container started, in the clock of `ScalingInputs.now`; None while it has not.
        ready_since: when it last became ready; None falls back to `started_at`.
    """

    name: str
    ready: bool
    started_at: float | None = None
    ready_since: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricTarget:
    """`spec.scaling.metrics[]`: a signal type and the average per replica to keep it at (ratio 0-1 for GPUs)."""

    type: str
    target: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingInputs:
    """All that `scale()` may look at.

    Attributes:
        now: seconds of any one clock; the same one as in all other times here.
        current: the count in force: the last desired one, or the sum of spec replicas, less the victims that are
            still draining (they are leaving; counting them would cancel the scale-down under way).
        pods: the replicas of all revisions, without those that are terminating or out of rotation.
        min_replicas: lower bound, at least 1.
        max_replicas: upper bound.
        bounded_by: what makes it the upper bound, in words; empty when maxReplicas is.
        metrics: explicit targets; the one that asks for most decides.
        stabilization_seconds: length of the scale-down window.
        history: what the previous result returned; empty after a restart.
        observed_since: when this process began to watch this LLMDeployment.
        signals: the latest values; None while Prometheus has not been asked.
        mode: Advise reckons and explains, and leaves `current`.
    """

    now: float
    current: int
    pods: tuple[PodState, ...]
    min_replicas: int
    max_replicas: int
    metrics: tuple[MetricTarget, ...]
    stabilization_seconds: float
    history: tuple[Recommendation, ...]
    observed_since: float
    signals: Signals | None
    mode: Mode = "Auto"
    bounded_by: str = ""

    @property
    def bound(self) -> str:
        """The upper bound in words."""
        return self.bounded_by or f"maxReplicas is {self.max_replicas}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingResult:
    """A count and why.

    Attributes:
        desired: replicas to have now; equals `current` in Advise.
        advised: what `desired` is, or in Advise would be.
        recommendation: what the metrics ask for, before history, limits and bounds.
        binding: the metric type that decided; empty when none could.
        reason: CamelCase, one of ScaleUp, ScaleDown, Unchanged, Stabilizing, AwaitingData, MetricsUnavailable,
            BelowMinimum, AboveMaximum.
        message: the reason in words with the numbers. It changes with every sample: write it with a change only.
        clipped: the limit that cut the count: "", UpLimit, MinReplicas, MaxReplicas.
        metrics_available: every metric has a value for every ready replica that should have one.
        metrics_reason: Available, QueryFailed, Stale, NoData, PartialData, or AwaitingData (no replica is ready for
            long enough: no fault of Prometheus).
        metrics_message: stable while the situation is, so that a condition can hold it.
        history: to be passed to the next call.
    """

    desired: int
    advised: int
    recommendation: int
    binding: str
    reason: str
    message: str
    clipped: str
    metrics_available: bool
    metrics_reason: str
    metrics_message: str
    history: tuple[Recommendation, ...]
