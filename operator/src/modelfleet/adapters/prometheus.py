"""Signals from Prometheus: one query each for the whole fleet.

Implements `ports.Metrics`. Must never raise out of `fetch()`: what failed is in the answer, in words.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from modelfleet.adapters.asking import PrometheusOptions, Rows, Server
from modelfleet.adapters.promql import PART, QUERIES
from modelfleet.core.scaling.signals import FleetSignals, PodKey, PodSignal


class Prometheus:
    """The fleet's signals, as one server tells them.

    `clock` gives the seconds that stamp an answer; it must be the clock that `scale()` is called with.
    """

    def __init__(self, *, options: PrometheusOptions, clock: Callable[[], float] = time.time) -> None:
        self._server = Server(options=options)
        self._clock = clock

    async def fetch(self) -> FleetSignals:
        """Ask every query once, side by side. Failures are in `errors`, per signal."""
        observed_at = self._clock()
        kinds = tuple(QUERIES)
        answers = await asyncio.gather(*(self._server.ask(QUERIES[kind], read=_samples) for kind in kinds))
        paired = tuple(zip(kinds, answers, strict=True))
        return FleetSignals(
            observed_at=observed_at,
            samples=MappingProxyType({kind: answer for kind, answer in paired if not isinstance(answer, str)}),
            errors=MappingProxyType({kind: answer for kind, answer in paired if isinstance(answer, str)}),
        )

    def close(self) -> None:
        """Let the threads go; a query in flight ends at its own timeout."""
        self._server.close()


def _samples(rows: Rows) -> Mapping[PodKey, PodSignal]:
    """Join the value and age series of every pod; a value without an age counts as stale."""
    values: dict[PodKey, float] = {}
    ages: dict[PodKey, float] = {}
    for row in rows:
        labels = row["metric"]
        key = (labels.get("namespace", ""), labels.get("pod", ""))
        part = ages if labels.get(PART) == "age" else values
        part[key] = float(row["value"][1])
    found = {
        key: PodSignal(pod=key[1], value=values.get(key), age_seconds=ages.get(key, math.inf))
        for key in values.keys() | ages.keys()
        if all(key)
    }
    return MappingProxyType(found)
