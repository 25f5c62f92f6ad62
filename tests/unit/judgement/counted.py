"""What Prometheus may have said of a small fleet, said in counts per block. Used by tests only."""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from modelfleet.core.judgement.inputs import Window
from modelfleet.core.judgement.question import Answers, Question, SeriesKey, Values
from modelfleet.core.judgement.window import window

STABLE, CANARY = "5555555555", "cccccccccc"
ENVOY, OTHER_ENVOY = "gateway/envoy-1", "gateway/envoy-2"
POD = {CANARY: f"chat-{CANARY}-7d9-abcde", STABLE: f"chat-{STABLE}-6f4-fghij"}
SERVING = {POD[CANARY]: 0.0, **{f"chat-{STABLE}-6f4-{number}": 0.0 for number in range(3)}}
"""Since when pods serve, three of them stable's."""
SINCE, INTERVAL = 1000.0, 15.0
Series = dict[SeriesKey, Values]


def question(blocks: int = 8, **changes: Any) -> Question:
    """A window of so many blocks, without a warm-up unless said."""
    given = {
        "namespace": "team",
        "name": "chat",
        "stable": STABLE,
        "canary": CANARY,
        "since": SINCE,
        "now": SINCE + blocks * INTERVAL + 2,
        "interval_seconds": INTERVAL,
        "warmup_seconds": 0.0,
        "ttft_within": 1.0,
        "inter_token_within": 0.05,
        "gateway": True,
        **changes,
    }
    return Question(**given)


def total(*per_block: float, start: float = 0.0) -> Values:
    """A counter that counts this in each block."""
    return tuple(accumulate(per_block, initial=start))


def steady(per_block: float, *, blocks: int = 8, start: float = 100.0) -> Values:
    return total(*[per_block] * blocks, start=start)


def of_pod(revision: str, part: Any, values: Values, *, kind: str = "", pod: str = "") -> Series:
    return {SeriesKey(part, pod or POD[revision], "", kind): values}


def of_envoy(revision: str, part: Any, values: Values, *, kind: str = "", envoy: str = ENVOY) -> Series:
    return {SeriesKey(part, envoy, revision, kind): values}


def fleet(*, blocks: int = 8, canary: float = 10, stable: float = 30) -> Series:
    """One pod of each revision and one Envoy; every request is answered well, and each has 20 gaps between tokens."""
    found: Series = {}
    for revision, requests in ((CANARY, canary), (STABLE, stable)):
        for part in ("started", "attempts_started"):
            found |= of_envoy(revision, part, steady(requests, blocks=blocks))
        for part in ("attempts", "first_attempts", "requests"):
            found |= of_envoy(revision, part, steady(requests, blocks=blocks), kind="ok")
        for part, times in (("first_tokens", 1), ("first_tokens_in_time", 1), ("gaps", 20), ("gaps_in_time", 20)):
            found |= of_pod(revision, part, steady(requests * times, blocks=blocks))
        for kind, count in (("stop", requests), ("abort", 0), ("repetition", 0), ("error", 0)):
            found |= of_pod(revision, "finished", steady(count, blocks=blocks), kind=kind)
        found |= of_pod(revision, "born", (500.0,) * (blocks + 1))
    return found


def seen(
    series: Mapping[SeriesKey, Values], *, asked: Question | None = None, serving: Any = None, **more: Any
) -> Window:
    """The window that these counters make; both pods have served for long."""
    asked = asked or question(blocks=max(len(values) for values in series.values()) - 1 if series else 8)
    answers = Answers(asked=asked, observed_at=asked.now, series=series)
    serving = dict.fromkeys(POD.values(), 0.0) if serving is None else serving
    return window(answers, now=asked.now, weight=0.25, serving=serving, **more)


def hide(series: Series, *, process: str, edges: range) -> Series:
    """Scrapes of this process that failed."""
    return {
        key: tuple(None if key.process == process and i in edges else value for i, value in enumerate(values))
        for key, values in series.items()
    }


def three_stable_pods(series: Series) -> Series:
    """So that a pod of each revision carries the same."""
    third = {key: values for key, values in series.items() if key.process == POD[STABLE]}
    found = dict(series)
    for number in range(3):
        for key, values in third.items():
            pod = key._replace(process=f"chat-{STABLE}-6f4-{number}")
            found[pod] = values if key.part == "born" else tuple(value / 3 for value in values)
    return {key: values for key, values in found.items() if key.process != POD[STABLE]}
