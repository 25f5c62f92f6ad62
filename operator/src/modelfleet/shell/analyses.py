"""What Prometheus says of every step that is judged: asked once per interval, kept until the step is over.

A window is asked for as a whole every time, so nothing is lost when this process ends. Must not judge.
"""

import asyncio
import time
from collections.abc import Callable

from modelfleet.core.assess import question
from modelfleet.core.judgement.question import Answers, Question
from modelfleet.ports import Analysis
from modelfleet.shell.cache import Cache
from modelfleet.shell.queue import Key, WorkQueue
from modelfleet.shell.reading import parse

LOOK_SECONDS = 1.0
SETTLE_SECONDS = 2.0
"""A scrape takes a moment: the newest edge of the grid is asked for this much later."""
NO_SOURCE = "prometheus.url is not set in the chart's values; a canary cannot be judged"


class Analyses:
    """The last answers, by LLMDeployment."""

    def __init__(
        self,
        *,
        cache: Cache,
        queue: WorkQueue,
        gateway_url: str,
        source: Analysis | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cache, self._queue, self._gateway_url = cache, queue, gateway_url
        self._source, self._clock = source, clock
        self._answers: dict[Key, Answers] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._asked: dict[Key, float] = {}

    def of(self, key: Key) -> Answers | None:
        """Give the last answers about one LLMDeployment."""
        return self._answers.get(key)

    async def keep(self) -> None:
        """Ask whenever a block is complete, for ever."""
        while True:
            self._look()
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        due = {key: asked for key in list(self._cache.fleet) if (asked := self._question(key))}
        for key in self._answers.keys() - due.keys():
            del self._answers[key]
        for key in self._asked.keys() - due.keys():
            del self._asked[key]
        for key, asked in due.items():
            edge = asked.edges[-1]
            before = self._answers.get(key)
            other = before is not None and _about(before.asked) != _about(asked)
            if other or self._asked.get(key, float("-inf")) < edge:
                self._asked[key] = edge
                task = asyncio.create_task(self._fetch(key, asked))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)

    def _question(self, key: Key) -> Question | None:
        body = self._cache.fleet[key]
        status = body.get("status") or {}
        if not (status.get("rollout") or {}).get("stepStartedAt"):
            return None
        spec, _ = parse(body.get("spec") or {})
        if spec is None:
            return None
        asked = question(
            spec=spec, status=status, namespace=key[0], name=key[1], now=self._clock() - SETTLE_SECONDS,
            gateway_url=self._gateway_url,
        )  # fmt: skip
        return asked if asked is not None and asked.edges else None

    async def _fetch(self, key: Key, asked: Question) -> None:
        if self._source is None:
            self._answers[key] = Answers(asked=asked, observed_at=self._clock(), errors=(NO_SOURCE,))
        else:
            self._answers[key] = await self._source.fetch(asked)
        self._queue.add(key)


def _about(asked: Question) -> tuple[str, str, float]:
    return (asked.stable, asked.canary, asked.since)
