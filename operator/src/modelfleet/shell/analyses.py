"""What Prometheus says of every step that is judged: asked once per interval, counted beside the passes, kept until then.

A window is asked for as a whole every time, so nothing is lost when this process ends. Must not judge.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from modelfleet.core.assess import measure, question
from modelfleet.core.judgement.question import Answers, Question
from modelfleet.core.judgement.window import Measurement
from modelfleet.ports import Analysis
from modelfleet.shell.cache import Cache
from modelfleet.shell.queue import Key, WorkQueue
from modelfleet.shell.reading import parse

log = structlog.get_logger(__name__)
LOOK_SECONDS = 1.0
SETTLE_SECONDS = 2.0
"""A scrape takes a moment: the newest edge of the grid is asked for this much later."""
AT_ONCE = 4
"""Questions under way: hundreds at once would spend their time limit waiting for each other."""
NO_SOURCE = "prometheus.url is not set in the chart's values; a canary cannot be judged"


class Analyses:
    """What the last answers tell, by LLMDeployment."""

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
        self._measured: dict[Key, Measurement] = {}
        self._read: dict[Key, tuple[dict[str, Any], Question | None]] = {}
        self._asked: dict[Key, Question] = {}
        self._asking: dict[Key, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        # One thread: counting is all Python, and more of them would only take turns away from the passes.
        self._counting = ThreadPoolExecutor(max_workers=1, thread_name_prefix="counting")

    def of(self, key: Key) -> Measurement | None:
        """Give what is known of the step of one LLMDeployment."""
        return self._measured.get(key)

    async def keep(self) -> None:
        """Ask whenever a block is complete, for ever."""
        try:
            while True:
                self.look()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in self._asking.values():
                task.cancel()
            await asyncio.gather(*self._asking.values(), return_exceptions=True)
            self._counting.shutdown(wait=False, cancel_futures=True)

    def look(self) -> None:
        """Begin to ask what is new, once for each LLMDeployment at a time; forget what nobody asks any more."""
        due = {key: asked for key in list(self._cache.fleet) if (asked := self._question(key))}
        for known in (self._measured, self._asked):
            for key in known.keys() - due.keys():
                del known[key]
        for key in self._read.keys() - self._cache.fleet.keys():
            del self._read[key]
        for key, asked in due.items():
            if key not in self._asking and self._asked.get(key) != asked:
                self._asking[key] = asyncio.create_task(self._ask(key))
                self._asking[key].add_done_callback(partial(self._ended, key))

    def _ended(self, key: Key, task: asyncio.Task[None]) -> None:
        del self._asking[key]
        if not task.cancelled() and (error := task.exception()):
            log.error("analysis.failed", llmdeployment="/".join(key), exc_info=error)

    def _question(self, key: Key) -> Question | None:
        """Give the question up to the newest edge: until the next one it stays the same."""
        body = self._cache.fleet.get(key)
        if body is None:
            return None
        if key not in self._read or self._read[key][0] is not body:
            self._read[key] = (body, self._first_question(key, body))
        asked = self._read[key][1]
        if asked is None:
            return None
        edges = replace(asked, now=self._clock() - SETTLE_SECONDS).edges
        return replace(asked, now=edges[-1]) if edges else None

    def _first_question(self, key: Key, body: dict[str, Any]) -> Question | None:
        status = body.get("status") or {}
        if not (status.get("rollout") or {}).keys() & {"stepStartedAt", "watching"}:
            return None  # most of them, and reading a spec costs time
        spec, _ = parse(body.get("spec") or {})
        if spec is None:
            return None
        return question(
            spec=spec, status=status, namespace=key[0], name=key[1], now=0.0, gateway_url=self._gateway_url
        )  # fmt: skip

    async def _ask(self, key: Key) -> None:
        async with self._turns:
            asked = self._question(key)  # others came first: by now it may be another
            if asked is None:
                return
            self._asked[key] = asked
            answers = await self._answers(asked)
            uid = self._cache.fleet[key]["metadata"]["uid"] if key in self._cache.fleet else ""
            replicas = tuple(self._cache.records(key, kind="Pod", uid=uid))
            counting = partial(measure, answers, replicas=replicas)
            self._measured[key] = await asyncio.get_running_loop().run_in_executor(self._counting, counting)
        self._queue.add(key)

    async def _answers(self, asked: Question) -> Answers:
        if self._source is None:
            return Answers(asked=asked, observed_at=self._clock(), errors=(NO_SOURCE,))
        return await self._source.fetch(asked)
