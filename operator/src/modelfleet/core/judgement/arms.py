"""What is bad, and of how much, for each arm per block. Pure; the one place that knows what the counters mean.

    errors       first tries whose outcome is a fault, an error inside a stream and no ready replica included / first
                 tries. A retry is never counted: it may be of a request that was drawn for the other arm, and that arm's
                 try has told of it already
    badOutputs   `empty` by the gateway, `repetition` by the engine, and the engine's aborts that no try shows / answers.
                 A client that leaves makes its engine abort too, and is nobody's fault: its try says so
    ttft         first tokens beyond the bound / first tokens
    interToken   gaps beyond the bound / gaps, of as many requests as had a first token

Without the gateway nobody counts errors, empty outputs and clients that leave: what finished with `repetition` or
`error` is left. What is not known is None, never zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from modelfleet.core.judgement.counters import Counted, less, summed, unexplained
from modelfleet.core.judgement.engines import Engines, engines
from modelfleet.core.judgement.inputs import ArmBlock, Counts
from modelfleet.core.judgement.question import LATENCIES, Answers
from modelfleet.core.judgement.series import Latency
from modelfleet.core.judgement.traffic import Traffic, traffic
from modelfleet.core.routing.measures import FAULTS, Outcome

ANSWERED: Final[tuple[Outcome, ...]] = ("ok", "empty")
_SHOWN: Final[tuple[Outcome, ...]] = ("aborted", "timeout", "failed", "cut", "other")
"""Outcomes of a try that may leave its engine with an abort."""
_RETRIED: Final[tuple[Outcome, ...]] = ("overloaded", "unavailable", "unreachable", "timeout", "failed")
"""Outcomes of a try after which the request may be tried again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One revision: its pods, and its traffic where the gateway counts it."""

    pods: Engines
    traffic: Traffic | None

    @property
    def started(self) -> Counted:
        """Requests that began; without the gateway those that got as far as a first token stand for them."""
        return self.traffic.started if self.traffic else self.pods.counted("first_tokens")

    @property
    def carried(self) -> Counted:
        """Tries that did not end so that the request went on elsewhere: by its own refusals no arm is more loaded."""
        if self.traffic is None:
            return self.started
        return less(self.traffic.attempts_started, self.traffic.ended(self.traffic.attempts, *_RETRIED))


def arm(answers: Answers, *, revision: str, serving: Mapping[str, float]) -> Arm:
    """Read one revision's counters."""
    counted = traffic(answers, revision=revision) if answers.asked.gateway else None
    return Arm(pods=engines(answers, revision=revision, serving=serving), traffic=counted)


def arm_blocks(one: Arm) -> Sequence[ArmBlock | None]:
    """Make one arm's blocks; None where it is not known how many requests began."""
    metrics: dict[str, Sequence[Counts | None]] = {name: _latency(one.pods, name) for name in LATENCIES}
    metrics["badOutputs"] = _outputs(one.pods, one.traffic) if one.traffic else _finished(one.pods)
    if one.traffic:
        metrics["errors"] = _errors(one.traffic)
    replicas = one.pods.replicas
    return [
        None
        if began is None
        else ArmBlock(
            started=began,
            carried=carried,
            replicas=replicas[i],
            counts={name: found[i] for name, found in metrics.items()},
        )
        for i, (began, carried) in enumerate(zip(one.started, one.carried, strict=True))
    ]


def _latency(pods: Engines, name: Latency) -> Sequence[Counts | None]:
    every, in_time = (pods.counted(part) for part in LATENCIES[name])
    # Every first token is a request of its own; gaps of one request are not independent of each other.
    requests = pods.counted("first_tokens")
    return [
        None if bad is None or total is None or units is None else Counts(bad=bad, total=total, units=units)
        for bad, total, units in zip(less(every, in_time), every, requests, strict=True)
    ]


def _errors(counted: Traffic) -> Sequence[Counts | None]:
    first = counted.first_attempts
    return _counts(
        bad=counted.ended(first, *FAULTS),
        total=counted.ended(first),
        kinds={name: counts for name, counts in first.items() if name in FAULTS},
    )


def _outputs(pods: Engines, counted: Traffic) -> Sequence[Counts | None]:
    shown = counted.ended(counted.attempts, *_SHOWN)
    kinds: dict[str, Counted] = {
        "empty": counted.ended(counted.requests, "empty"),
        "repetition": _of_kind(pods, "repetition"),
        "abort": unexplained(_of_kind(pods, "abort"), by=shown),
    }
    bad = summed(kinds.values())
    answered = counted.ended(counted.requests, *ANSWERED)
    # The engine may be scraped before the gateway has counted the same answer.
    total = tuple(None if a is None or b is None else max(a, b) for a, b in zip(answered, bad, strict=True))
    return _counts(bad=bad, total=total, kinds=kinds)


def _finished(pods: Engines) -> Sequence[Counts | None]:
    kinds = {kind: _of_kind(pods, kind) for kind in ("repetition", "error")}
    every = [_of_kind(pods, kind) for kind in pods.kinds if kind != "abort"]
    return _counts(bad=summed(kinds.values()), total=summed(every or kinds.values()), kinds=kinds)


def _of_kind(pods: Engines, kind: str) -> Counted:
    """Count one reason; a release that does not know it never gave it."""
    if kind in pods.kinds or not pods.kinds:
        return pods.counted("finished", kind)
    return tuple(None if count is None else 0.0 for count in pods.counted("finished", pods.kinds[0]))


def _counts(*, bad: Counted, total: Counted, kinds: Mapping[str, Counted]) -> Sequence[Counts | None]:
    return [
        None
        if b is None or t is None
        else Counts(bad=b, total=t, kinds={name: n for name, counts in kinds.items() if (n := counts[i])})
        for i, (b, t) in enumerate(zip(bad, total, strict=True))
    ]
