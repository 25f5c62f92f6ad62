"""What `judge()` answers, as frozen data for status, Events and people. Must not hold any arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Outcome = Literal["Pass", "Fail", "Inconclusive", "NoData"]
Reason = Literal[
    # Pass
    "NotWorse",
    "WithinLimit",
    "NotWorseLatencyDeferred",
    # Fail
    "Worse",
    "LimitExceeded",
    "CanaryRestarts",
    "CanaryHung",
    "CanarySilent",
    # Inconclusive, go on or hold
    "WarmingUp",
    "MinSamples",
    "MinSeconds",
    "Undecided",
    "TimedOut",
    "LoadTooLow",
    "LoadNotMatched",
    "SplitMismatch",
    "StableUnhealthy",
    "CustomAboveLimit",
    # NoData
    "NoData",
    "Stale",
    "CustomNoData",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricVerdict:
    """One metric.

    Attributes:
        name: the metric.
        outcome: its own verdict; a step fails on the evidence of all metrics together, so a step may fail while the
            single metrics are still Inconclusive.
        reason: one word.
        message: one sentence with the numbers.
        canary_ratio: share of bad events on the canary; None without events. For a custom metric its latest value.
        canary_samples: requests behind it.
        stable_ratio: as the canary's.
        stable_samples: requests behind it.
        spread: the design effect: how many times wider than independent requests these counts vary.
        evidence: how many times better "worse" explains the counts than "not worse".
        against: log likelihood ratio of "worse by max_drop"; a Pass needs it at -3.0 or below (beta 5 %).
    """

    name: str
    outcome: Outcome
    reason: Reason
    message: str
    canary_ratio: float | None = None
    canary_samples: int = 0
    stable_ratio: float | None = None
    stable_samples: int = 0
    spread: float = 1.0
    evidence: float = 1.0
    against: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StepVerdict:
    """The step.

    Attributes:
        outcome: Pass: the step may go on. Fail: roll back. Inconclusive: see `final`. NoData: hold.
        reason: one word.
        message: one sentence with the numbers.
        final: more of the same will not change it: act on it. An Inconclusive that is not final goes on measuring.
        metrics: every metric, in the order of the configuration.
        seconds: counted time.
        evidence: of all metrics together; at `evidence_needed` it is a Fail.
        evidence_needed: the threshold.
        load_ratio: requests per canary replica over those per stable replica, drawn to 1 by its uncertainty.
        latency_proven: latency passed here under like load, or in an earlier window.
        tokens_per_second: of the canary and of stable, over the window; told, and part of no verdict.
        compared: whether stable was looked at; without, only absolute limits were.
        enough_samples: every compared metric has the wanted requests on both arms; a test that stayed undecided with
            them is undecided for another reason than too little traffic.
    """

    outcome: Outcome
    reason: Reason
    message: str
    final: bool
    metrics: tuple[MetricVerdict, ...]
    seconds: float = 0.0
    evidence: float = 1.0
    evidence_needed: float = 20.0
    load_ratio: float = 1.0
    latency_proven: bool = False
    tokens_per_second: tuple[float | None, float | None] = (None, None)
    compared: bool = True
    enough_samples: bool = False

    @property
    def hold(self) -> str:
        """Name the rollout's hold; empty when it moves or simply goes on measuring.

        >>> StepVerdict(outcome="NoData", reason="Stale", message="", final=False, metrics=()).hold
        'NoData'
        """
        if self.outcome == "NoData":
            return "NoData"
        if self.outcome == "Inconclusive" and self.final:
            return "Inconclusive"
        return HOLDS.get(self.reason, "")


HOLDS: Final[Mapping[Reason, str]] = {
    "SplitMismatch": "RouterUnverified",
    "StableUnhealthy": "StableUnhealthy",
    "MinSamples": "MinSamples",
}
