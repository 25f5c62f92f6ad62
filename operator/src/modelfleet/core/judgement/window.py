"""From what Prometheus answered to the `Window` that `judge()` reads: blocks, warm-up, overdue streams. Pure.

Above `arms`, which knows what the counters mean. What is not known is None, never zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from modelfleet.core.judgement.arms import ANSWERED, Arm, arm, arm_blocks
from modelfleet.core.judgement.counters import less, summed
from modelfleet.core.judgement.engines import Engines
from modelfleet.core.judgement.inputs import Block, CustomValues, Window
from modelfleet.core.judgement.question import FRESH_INTERVALS, LATENCIES, Answers, Part, Question


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What one answer tells.

    Attributes:
        asked: the question.
        window: what was counted until then; `now`, the weight and what Kubernetes knows are filled in by each look.
        errors: what could not be asked, in words.
    """

    asked: Question
    window: Window
    errors: tuple[str, ...] = ()


def window(answers: Answers, *, now: float, weight: float, serving: Mapping[str, float], last: bool = False) -> Window:
    """Make the window that `answers` tell of.

    Args:
        answers: what Prometheus said, and what it was asked.
        now: the present; an answer that is old shows as such.
        weight: the canary's share of traffic, 0-1.
        serving: since when each pod of both revisions that takes requests now has been ready, by name.
        last: the next step is 100 %.
    """
    asked = answers.asked
    canary, stable = (arm(answers, revision=name, serving=serving) for name in (asked.canary, asked.stable))
    warming = _warming(asked=asked, canary=canary)
    # Without any answer too there are blocks: silence that lasts is NoData, not a window that has just begun.
    blocks = tuple(
        Block(end=end, canary=canary_block, stable=stable_block, warming=cold)
        for end, canary_block, stable_block, cold in zip(
            asked.edges[1:], arm_blocks(canary), arm_blocks(stable), warming, strict=True
        )
    )
    canary_misses, stable_misses = (_overdue(one, asked=asked) for one in (canary, stable))
    return Window(
        now=now,
        weight=weight,
        blocks=blocks,
        replica_shares={name: _shares(stable.pods, parts, warming) for name, parts in LATENCIES.items()},
        # One arm's alone would not be compared with anything, and a cold cache is slow for a while.
        overdue=(0.0, 0.0)
        if canary_misses is None or stable_misses is None or warming[-1]
        else (canary_misses, stable_misses),
        canary_restarts=canary.pods.restarts,
        stable_restarts=stable.pods.restarts,
        custom={name: CustomValues(values=values) for name, values in answers.custom.items()},
        tokens_per_second=(_rate(canary.pods, asked=asked), _rate(stable.pods, asked=asked)),
        last=last,
    )


def _rate(pods: Engines, *, asked: Question) -> float | None:
    """Answer the tokens per second of a revision, over the intervals of the window in which they were counted."""
    known = [count for count in pods.counted("generated") if count is not None]
    return sum(known) / (len(known) * asked.interval_seconds) if known else None


def _warming(*, asked: Question, canary: Arm) -> Sequence[bool]:
    """Tell which blocks begin while the canary is cold: after its first request here, and after a pod of it came up.

    A raised weight moves conversations to caches that do not know them, so every window warms up.
    """
    edges = asked.edges
    if not edges:
        return []
    first = next((edges[i] for i, count in enumerate(canary.started) if count), edges[0])
    spans = [(edges[0], first), *((since, since) for pod in canary.pods.pods for since in pod.cold_since)]
    return [
        any(begins <= end and edge < until + asked.warmup_seconds for begins, until in spans)
        for edge, end in pairwise(edges)
    ]


def _overdue(one: Arm, *, asked: Question) -> float | None:
    """Answer how many streams wait for their first token beyond the bound: at least, for nobody counts them.

    Of the tries that began long enough ago, those that all first tokens so far do not account for, and never more than
    are still open. Tries that ended badly may have had none, so they are all taken away. Some that hang hide behind
    fresh ones that do not; a replica that goes on hanging shows. Counted since no pod came or went; None if not known.
    """
    pods, counted = one.pods, one.traffic
    if counted is None:
        return None
    rows = (
        counted.attempts_started,
        counted.ended(counted.attempts),
        counted.ended(counted.attempts, "ok"),
        summed([counted.ended(counted.requests), less(counted.nothing, counted.ended(counted.requests, *ANSWERED))]),
        pods.counted("first_tokens"),
    )
    run: list[tuple[float, ...]] = []
    for at in reversed(list(zip(*rows, strict=True))[pods.steady_from :]):
        if None in at:
            break
        run.append(tuple(count or 0.0 for count in at))
    if not run:
        return None
    late = ceil(asked.ttft_within / asked.interval_seconds + FRESH_INTERVALS)
    began = sum(at[0] for at in run[late:])
    ended, well, badly, tokens = (sum(at[i] for at in run) for i in range(1, 5))
    return max(0.0, min(began - tokens - (ended - well) - badly, began - ended))


def _shares(pods: Engines, parts: tuple[Part, Part], warming: Sequence[bool]) -> tuple[tuple[float, float], ...]:
    """Answer (bad, all) of every pod over the compared blocks."""
    found = []
    for pod in pods.pods:
        every, in_time = (pod.counted(part) for part in parts)
        known = [
            (bad, total)
            for bad, total, cold in zip(less(every, in_time), every, warming, strict=True)
            if bad is not None and total is not None and not cold
        ]
        found.append((sum(bad for bad, _ in known), sum(total for _, total in known)))
    return tuple(found)
