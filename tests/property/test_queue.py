"""The work queue under any order of news, work, failures and time, checked against the plainest account of it."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from modelfleet.shell.queue import BACKOFF_LIMIT_SECONDS, Key, WorkQueue

keys = st.sampled_from([("team", "a"), ("team", "b")])
pauses = st.sampled_from([0.0, 0.5, 90.0])
LONGEST = 90.0
"""No wish, pause or rest in here is longer than that."""


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def _take(queue: WorkQueue) -> Key | None:
    """The key that is due now, if any."""
    worker = asyncio.ensure_future(queue.get())
    for _ in range(3):
        await asyncio.sleep(0)
    if worker.done():
        return worker.result()
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    return None


class Queue(RuleBasedStateMachine):
    """`owed` are the keys that somebody asked to be worked on since their last work began, or that failed."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue = WorkQueue(clock=self.clock, debounce=0.5)
        self.owed: set[Key] = set()
        self.working: set[Key] = set()
        self.loop = asyncio.new_event_loop()

    def take(self) -> Key | None:
        return self.loop.run_until_complete(_take(self.queue))

    @rule(key=keys, after=pauses)
    def news(self, key: Key, after: float) -> None:
        self.queue.add(key, after=after)
        self.owed.add(key)

    @rule()
    def work(self) -> None:
        key = self.take()
        if key is None and self.owed - self.working:
            self.clock.now += LONGEST
            key = self.take()
            assert key is not None, "what is owed does not come"
        if key is not None:
            assert key in self.owed, "work that nobody asked for"
            assert key not in self.working, "two workers on one key"
            self.owed.remove(key)
            self.working.add(key)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        self.queue.done(self.give_back(data))

    @precondition(lambda self: self.working)
    @rule(data=st.data(), after=st.one_of(st.none(), pauses), until_news=st.booleans())
    def fail(self, *, data: st.DataObject, after: float | None, until_news: bool) -> None:
        key = self.give_back(data)
        self.fails(key, after=after, until_news=until_news)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def fail_again_and_again(self, data: st.DataObject) -> None:
        key = self.give_back(data)
        for _ in range(10):
            self.fails(key, after=None, until_news=False)
            self.clock.now += LONGEST
            while key not in self.working:
                self.work()
            self.working.remove(key)
        self.queue.done(key)

    def give_back(self, data: st.DataObject) -> Key:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.working.remove(key)
        return key

    def fails(self, key: Key, *, after: float | None, until_news: bool) -> None:
        pause = self.queue.failed(key, after=after, until_news=until_news)
        assert pause == after if after is not None else 0.0 < pause <= BACKOFF_LIMIT_SECONDS
        self.owed.add(key)

    @rule(seconds=pauses)
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def teardown(self) -> None:
        try:
            self.nobody_is_forgotten()
        finally:
            self.loop.close()

    @rule()
    def nobody_is_forgotten(self) -> None:
        """When all work has ended and all pauses are over, all that is owed comes, and nothing else."""
        for key in sorted(self.working):
            self.queue.done(key)
        self.working.clear()
        self.clock.now += LONGEST
        came = []
        while (key := self.take()) is not None:
            came.append(key)
        assert sorted(came) == sorted(self.owed)
        for key in came:
            self.queue.done(key)
        self.owed.clear()

    @invariant()
    def it_counts_each_key_once(self) -> None:
        assert len(self.queue) == len(self.owed)


Queue.TestCase.settings = settings(stateful_step_count=40)
TestQueue = Queue.TestCase
