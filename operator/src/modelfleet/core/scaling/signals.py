"""What one look at the metrics said, as frozen data.

Sits between the `Metrics` port, which fills a `FleetSignals` once per tick for the whole fleet, and `scale()`, which
reads the `Signals` of one LLMDeployment. Must not ask anybody anything, and must never turn an absent value into a
number: absent stays absent, so that the arithmetic can refuse to lower on it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

SIGNAL_TYPES: Final = ("QueueDepth", "InFlight", "GPUUtilization")
MetricType = Literal["QueueDepth", "InFlight", "GPUUtilization"]

# Four scrapes at the usual 15 s. Prometheus itself would answer with a sample up to 5 minutes old.
STALE_AFTER_SECONDS: Final = 60.0

PodKey = tuple[str, str]
"""(namespace, pod name)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodSignal:
    """One pod's value of one signal.

    Attributes:
        pod: the pod's name.
        value: in the signal's unit (requests, or a ratio 0-1 for GPUUtilization); None when there was none.
        age_seconds: how long before the query the sample was taken, by Prometheus' own clock.
    """

    pod: str
    value: float | None
    age_seconds: float

    @property
    def usable(self) -> float | None:
        """The value if it may be reckoned with, otherwise None.

        >>> PodSignal(pod="a", value=3.0, age_seconds=10).usable
        3.0
        >>> [PodSignal(pod="a", value=v, age_seconds=1).usable for v in (float("nan"), float("inf"), -1.0, None)]
        [None, None, None, None]
        >>> PodSignal(pod="a", value=3.0, age_seconds=61).usable is None
        True
        """
        if self.value is None or not math.isfinite(self.value) or self.value < 0:
            return None
        # An age that is NaN compares False: an unknown age counts as stale.
        return self.value if self.age_seconds <= STALE_AFTER_SECONDS else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Signals:
    """What is known about the pods of one LLMDeployment.

    Attributes:
        observed_at: when the query was answered, in the caller's seconds (the same clock as `ScalingInputs.now`).
        values: signal type -> pod name -> usable value. A pod that is not in it has no value.
        errors: signal type -> why its query failed. A signal with an error has no values.
    """

    observed_at: float
    values: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: MappingProxyType({}))
    errors: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def available(self) -> bool:
        """Whether every query was answered (an empty answer is an answer)."""
        return not self.errors

    @property
    def error(self) -> str:
        """All errors in one line, each once; empty when there was none."""
        return "; ".join(sorted(set(self.errors.values())))


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetSignals:
    """One tick's answers for the whole fleet.

    Attributes:
        observed_at: when it was asked, in seconds of the caller's clock.
        samples: signal type -> (namespace, pod) -> sample, as it came (also NaN and stale ones).
        errors: signal type -> why there is no answer, in words that say what to do.
    """

    observed_at: float
    samples: Mapping[str, Mapping[PodKey, PodSignal]] = field(default_factory=lambda: MappingProxyType({}))
    errors: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def available(self) -> bool:
        """Whether every query was answered."""
        return not self.errors

    def of(self, *, namespace: str, pods: Iterable[str]) -> Signals:
        """Narrow to the pods of one LLMDeployment, dropping what may not be reckoned with.

        >>> fleet = FleetSignals(observed_at=0, samples={"QueueDepth": {
        ...     ("team", "chat-1"): PodSignal(pod="chat-1", value=4.0, age_seconds=3),
        ...     ("team", "chat-2"): PodSignal(pod="chat-2", value=float("nan"), age_seconds=3),
        ...     ("other", "chat-1"): PodSignal(pod="chat-1", value=9.0, age_seconds=3)}})
        >>> dict(fleet.of(namespace="team", pods=["chat-1", "chat-2"]).values["QueueDepth"])
        {'chat-1': 4.0}
        """
        names = tuple(pods)
        values = {
            kind: {
                name: value
                for name in names
                if (sample := samples.get((namespace, name))) and (value := sample.usable) is not None
            }
            for kind, samples in self.samples.items()
            if kind not in self.errors
        }
        return Signals(observed_at=self.observed_at, values=values, errors=self.errors)


def no_signals(*, observed_at: float, error: str) -> FleetSignals:
    """Say that nothing is known, and why, for every signal.

    >>> no_signals(observed_at=0, error="Prometheus is not configured").of(namespace="a", pods=()).error
    'Prometheus is not configured'
    """
    return FleetSignals(observed_at=observed_at, errors=dict.fromkeys(SIGNAL_TYPES, error))
