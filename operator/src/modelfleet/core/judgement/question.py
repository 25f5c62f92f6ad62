"""What a judgement asks of Prometheus for one step, and what came back: frozen data.

Made by `decide()`, answered by an adapter, made into a `Window` by `window.py`. Must not hold a query language or any
statistics.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, floor
from string import Template
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from modelfleet.core.judgement.series import Latency

MOST_BLOCKS: Final = 480
"""A window that stays open longer (a pause) is seen by its latest blocks: an answer must not grow for ever.

The warm-up, which every look leaves out, comes on top: it must not eat up what may count.
"""
SURE_BLOCKS: Final = MOST_BLOCKS * 9 // 10
"""No more are waited for: a scrape that failed, or a replica that came anew, costs the window some of its blocks."""
FRESH_INTERVALS: Final = 1.5
"""A sample older than so many intervals is none: one scrape per interval, and some delay."""
CUSTOM_VALUES: Final = 4
"""Latest answers of a custom query that are asked for: a limit broken three times in a row fails."""

Part = Literal[
    # The gateway's, per Envoy and revision; `kind` is the outcome.
    "started",
    "attempts_started",
    "attempts",
    "first_attempts",
    "requests",
    # The engine's, per pod; `kind` is why a request finished.
    "first_tokens",
    "first_tokens_in_time",
    "gaps",
    "gaps_in_time",
    "finished",
    "generated",
    "born",
]
LATENCIES: Final[Mapping[Latency, tuple[Part, Part]]] = MappingProxyType(
    {"ttft": ("first_tokens", "first_tokens_in_time"), "interToken": ("gaps", "gaps_in_time")}
)
"""Metric -> what is counted, and what of it kept the bound."""
Values = tuple[float | None, ...]
"""One per edge of the grid; None where there is no sample that is fresh."""


class CustomQuery(NamedTuple):
    """A metric of the user's own; `$namespace`, `$name`, `$canary` and `$stable` stand for what is judged."""

    name: str
    query: str


class SeriesKey(NamedTuple):
    """One counter of one process.

    Attributes:
        part: what it counts.
        process: the engine's pod; of an Envoy its namespace and pod.
        revision: the revision that Envoy counted for; empty for an engine, whose pod's name tells.
        kind: outcome or reason; empty where there is none.
    """

    part: Part
    process: str
    revision: str = ""
    kind: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One window of one LLMDeployment.

    Attributes:
        namespace: of the LLMDeployment.
        name: its name.
        stable: hash of the stable revision.
        canary: hash of the one that is judged.
        since: when the step's weight was acknowledged, in seconds since the epoch.
        now: the present, by the same clock.
        interval_seconds: length of a block, in whole seconds.
        warmup_seconds: time after the canary's first request in the window, or after its restart, that is not compared.
        ttft_within: wanted bound for the first token; see `series.bucket()` for the one that is measured.
        inter_token_within: wanted bound for the gap between tokens.
        custom: the user's own queries.
        gateway: whether ModelFleet's gateway carries the traffic. Without it (another gateway, a mirror) only the
            engines count.
    """

    namespace: str
    name: str
    stable: str
    canary: str
    since: float
    now: float
    interval_seconds: float
    warmup_seconds: float
    ttft_within: float
    inter_token_within: float
    custom: tuple[CustomQuery, ...] = ()
    gateway: bool = True

    @property
    def edges(self) -> tuple[float, ...]:
        """Times between the blocks, oldest first: a grid of whole intervals that stays the same from pass to pass.

        >>> q = Question(namespace="a", name="b", stable="s", canary="c", since=99.5, now=131, interval_seconds=15,
        ...              warmup_seconds=0, ttft_within=1, inter_token_within=0.05)
        >>> q.edges
        (100.0, 115.0, 130.0)
        """
        first = float(ceil(self.since))
        last = floor((self.now - first) / self.interval_seconds)
        most = MOST_BLOCKS + ceil(self.warmup_seconds / self.interval_seconds)
        return tuple(first + i * self.interval_seconds for i in range(max(0, last - most), last + 1))

    def belongs(self, *, pod: str, revision: str) -> bool:
        """Tell whether an engine's pod is one of a revision's, also when it is long gone."""
        return pod.startswith(f"{self.name}-{revision}-")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What Prometheus said: raw counters, nothing added up but the labels that the judgement has no use for.

    Attributes:
        asked: the question.
        observed_at: when it was asked, in seconds of the caller's clock.
        series: counters, one value per edge.
        custom: name -> its latest values, one per interval, the newest last.
        errors: what could not be asked, in words; what is missing then is missing in `series` as well.
    """

    asked: Question
    observed_at: float
    series: Mapping[SeriesKey, Values] = field(default_factory=dict)
    custom: Mapping[str, Values] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


def countable(*, seconds: float, interval_seconds: float) -> float:
    """Answer how much of a wished least time a window can hold, which is seen by its latest blocks only.

    >>> countable(seconds=300, interval_seconds=15), countable(seconds=7200, interval_seconds=15)
    (300, 6480)
    """
    return min(seconds, SURE_BLOCKS * interval_seconds)


def filled_in(*, query: str, question: Question) -> str:
    """Replace what stands for the LLMDeployment; everything else with a dollar is PromQL's own.

    >>> q = Question(namespace="a", name="b", stable="s", canary="c", since=0, now=0, interval_seconds=15,
    ...              warmup_seconds=0, ttft_within=1, inter_token_within=0.05)
    >>> filled_in(query='up{pod=~"$name-$canary-.+"} == $1', question=q)
    'up{pod=~"b-c-.+"} == $1'
    """
    return Template(query).safe_substitute({name: getattr(question, name) for name in _ARGUMENTS})


def unresolved(query: str) -> tuple[str, ...]:
    """Name what looks like an argument and is none: such a query would silently match nothing.

    >>> unresolved('up{pod=~"$name-$cannary-.+"}')
    ('cannary',)
    """
    return tuple(name for name in Template(query).get_identifiers() if name not in _ARGUMENTS)


_ARGUMENTS: Final = ("namespace", "name", "stable", "canary")
