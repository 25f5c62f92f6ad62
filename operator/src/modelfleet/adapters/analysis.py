"""What a judgement needs from Prometheus: two range queries per window, and one per query of the user's own.

Implements `ports.Analysis`. Must never raise out of `fetch()`, and must not count anything: samples stay as they came.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from modelfleet.adapters.analysis_promql import REASON, bound, of_engines, of_gateway
from modelfleet.adapters.asking import PrometheusOptions, Rows, Server, Span, UnusableAnswerError
from modelfleet.core.judgement.question import (
    CUSTOM_VALUES,
    LATENCIES,
    Answers,
    Part,
    Question,
    SeriesKey,
    Values,
    filled_in,
)
from modelfleet.core.judgement.series import BORN, FINISHED, GENERATED, HISTOGRAMS
from modelfleet.core.routing import measures

_Found = Mapping[SeriesKey, Values]
_OF_GATEWAY: Final[Mapping[str, Part]] = {
    measures.STARTED.name: "started",
    measures.ATTEMPTS_STARTED.name: "attempts_started",
    measures.ATTEMPTS.name: "attempts",
    measures.FIRST_ATTEMPTS.name: "first_attempts",
    measures.REQUESTS.name: "requests",
}
_OF_ENGINE: Final[Mapping[str, Part]] = {FINISHED: "finished", GENERATED: "generated", BORN: "born"}
_METRICS: Final = {name: metric for metric, names in HISTOGRAMS.items() for name in names}
_OLDEST_FIRST: Final = {name: -place for names in HISTOGRAMS.values() for place, name in enumerate(names)}


class PrometheusAnalysis:
    """Answers questions by one server.

    `clock` gives the seconds that stamp an answer.
    """

    def __init__(self, *, options: PrometheusOptions, clock: Callable[[], float] = time.time) -> None:
        self._server = Server(options=options)
        self._clock = clock

    async def fetch(self, question: Question) -> Answers:
        """Ask for one window, every query once, side by side."""
        observed_at = self._clock()
        edges = question.edges
        if len(edges) <= 1:
            return Answers(asked=question, observed_at=observed_at)
        counters, custom = await asyncio.gather(
            self._counters(question, edges=edges), self._custom(question, edges=edges[-CUSTOM_VALUES:])
        )
        series: dict[SeriesKey, Values] = {}
        for found in counters:
            series.update({} if isinstance(found, str) else found)
        words = [found for found in counters if isinstance(found, str)]
        words += [f"{name}: {found}" for name, found in custom.items() if isinstance(found, str)]
        return Answers(
            asked=question,
            observed_at=observed_at,
            series=MappingProxyType(series),
            custom=MappingProxyType({name: () if isinstance(found, str) else found for name, found in custom.items()}),
            # The same trouble with several queries is told once.
            errors=tuple(dict.fromkeys(words)),
        )

    def close(self) -> None:
        """Let the threads go; a query in flight ends at its own timeout."""
        self._server.close()

    async def _counters(self, question: Question, *, edges: Sequence[float]) -> list[_Found | str]:
        span = Span(start=edges[0], end=edges[-1], step=question.interval_seconds)
        asked = [(of_engines(question), partial(_engines, question=question, edges=edges))]
        if question.gateway:
            asked.append((of_gateway(question), partial(_gateway, edges=edges)))
        return await asyncio.gather(*(self._server.ask(query, read=read, span=span) for query, read in asked))

    async def _custom(self, question: Question, *, edges: Sequence[float]) -> Mapping[str, Values | str]:
        span = Span(start=edges[0], end=edges[-1], step=question.interval_seconds)
        answers = await asyncio.gather(
            *(
                self._server.ask(
                    filled_in(query=custom.query, question=question), read=partial(_one, edges=edges), span=span
                )
                for custom in question.custom
            )
        )
        return {custom.name: answer for custom, answer in zip(question.custom, answers, strict=True)}


def _gateway(rows: Rows, *, edges: Sequence[float]) -> _Found:
    found = {}
    for row in rows:
        labels = row["metric"]
        key = SeriesKey(
            part=_OF_GATEWAY[labels["__name__"]],
            process=f"{labels.get('namespace', '')}/{labels.get('pod', '')}",
            revision=labels[measures.REVISION],
            kind=labels.get(measures.OUTCOME, ""),
        )
        found[key] = _values(row, edges=edges)
    return found


def _engines(rows: Rows, *, question: Question, edges: Sequence[float]) -> _Found:
    """Read the pods' series. Where a release has a histogram under two names, both parts are of the newer one."""
    found: dict[SeriesKey, Values] = {}
    for row in sorted(rows, key=lambda row: _OLDEST_FIRST.get(row["metric"]["__name__"].rpartition("_")[0], 0)):
        labels = row["metric"]
        if part := _part(labels, question=question):
            key = SeriesKey(part=part, process=labels.get("pod", ""), kind=labels.get(REASON, ""))
            found[key] = _values(row, edges=edges)
    return found


def _part(labels: Mapping[str, str], *, question: Question) -> Part | None:
    """Tell what a series counts; None for the bucket at another metric's bound."""
    name = labels["__name__"]
    if name in _OF_ENGINE:
        return _OF_ENGINE[name]
    histogram, _, kind = name.rpartition("_")
    metric = _METRICS[histogram]
    every, in_time = LATENCIES[metric]
    if kind == "count":
        return every
    return in_time if float(labels["le"]) == bound(question, metric=metric) else None


def _one(rows: Rows, *, edges: Iterable[float]) -> Values:
    """Read the answer of a query of the user's own; without a series it has no value."""
    if len(rows) > 1:
        raise UnusableAnswerError(f"gave {len(rows)} series where one number is wanted; add them up in the query")
    return tuple(_values(rows[0], edges=edges) if rows else (None for _ in edges))


def _values(row: Mapping[str, Any], *, edges: Iterable[float]) -> Values:
    """Put samples on the grid."""
    at = {round(float(moment)): float(value) for moment, value in row["values"]}
    return tuple(at.get(round(edge)) for edge in edges)
