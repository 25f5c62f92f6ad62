"""A work queue of keys: deduplicated, delayed, one worker per key, backing off after failures.

What arrives while its key is being worked on is done once more afterwards. Must not know what the keys mean.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable

Key = tuple[str, str]
"""(namespace, name)."""

BACKOFF_SECONDS = 0.5
BACKOFF_LIMIT_SECONDS = 60.0


class WorkQueue:
    """Keys that need work, each at most once."""

    def __init__(self, *, clock: Callable[[], float], debounce: float = 0.0) -> None:
        self._clock = clock
        self._debounce = debounce
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._working: set[Key] = set()
        self._dirty: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._rested: dict[Key, float] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """Count the keys that wait, due or not."""
        return len(self._due) + len(self._dirty)

    def add(self, key: Key, *, after: float = 0.0) -> None:
        """Ask for work on `key` in `after` seconds; the earliest of several wishes counts."""
        due = self._clock() + after
        if key in self._working:
            self._dirty[key] = min(due, self._dirty.get(key, due))
            return
        due = max(due, self._rested.get(key, 0.0))
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._order), key))
            self._wake.set()

    async def get(self) -> Key:
        """Wait for the next due key and reserve it until `done` or `failed`."""
        while True:
            self._wake.clear()
            while self._heap:
                due, _, key = self._heap[0]
                if self._due.get(key) != due:
                    heapq.heappop(self._heap)  # moved to an earlier time, or taken
                    continue
                if due > self._clock():
                    break
                heapq.heappop(self._heap)
                del self._due[key]
                self._working.add(key)
                if self._heap:
                    self._wake.set()  # another worker may find more
                return key
            pause = self._heap[0][0] - self._clock() if self._heap else None
            try:
                await asyncio.wait_for(self._wake.wait(), timeout=pause)
            except TimeoutError:
                continue

    def done(self, key: Key) -> None:
        """Give `key` back after success."""
        self._failures.pop(key, None)
        self._rested[key] = self._clock() + self._debounce
        self._release(key)

    def failed(self, key: Key, *, after: float | None = None, until_news: bool = False) -> float:
        """Give `key` back after a failure; it comes again later. Returns in how many seconds.

        Args:
            key: what was worked on.
            after: how long to wait; a growing time by default.
            until_news: whether whatever is added meanwhile ends the wait, as when the failure was an old picture.
        """
        count = self._failures[key] = self._failures.get(key, 0) + 1
        backoff = min(BACKOFF_LIMIT_SECONDS, BACKOFF_SECONDS * 2 ** (count - 1))
        pause = after if after is not None else backoff * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not secrecy
        if until_news:
            self._rested[key] = self._clock() + self._debounce
        else:
            self._dirty.pop(key, None)
            self._rested[key] = self._clock() + pause
        self._release(key)
        self.add(key, after=pause)
        return pause

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a key that is gone."""
        self._failures.pop(key, None)
        self._rested.pop(key, None)

    def _release(self, key: Key) -> None:
        self._working.discard(key)
        if key in self._dirty:
            self.add(key, after=max(0.0, self._dirty.pop(key) - self._clock()))
