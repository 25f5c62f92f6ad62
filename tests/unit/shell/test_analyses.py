"""What is asked of Prometheus, when and how often, and what becomes of the answers."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from modelfleet.core.conditions import timestamp
from modelfleet.core.judgement.question import Answers, Question
from modelfleet.shell.analyses import AT_ONCE, NO_SOURCE, SETTLE_SECONDS, Analyses
from modelfleet.shell.cache import Cache
from modelfleet.shell.queue import Key, WorkQueue

KEY = ("team", "chat")
INTERVAL, SINCE = 5.0, 1000.0
SPEC = {
    "model": {"uri": "hf://a/b"},
    "replicas": 2,
    "rollout": {"strategy": "Canary", "analysis": {"intervalSeconds": 5, "warmupSeconds": 0}},
}


class Prometheus:
    """Answers when the test says so.

    Attributes:
        asked: Every question.
        may: Whether it answers.
        problem: What it raises instead, though it must not.
        at_once: Questions under way, and the most that ever were.
    """

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.may = asyncio.Event()
        self.may.set()
        self.problem: Exception | None = None
        self.at_once, self.most = 0, 0

    async def fetch(self, question: Question) -> Answers:
        self.asked.append(question)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.may.wait()
        finally:
            self.at_once -= 1
        if self.problem:
            raise self.problem
        return Answers(asked=question, observed_at=question.now)


class World:
    """A cache with rollouts in it, and the time."""

    def __init__(self, *, source: Prometheus | None) -> None:
        self.cache, self.time, self.version = Cache(), SINCE + SETTLE_SECONDS, 0
        self.queue = WorkQueue(clock=lambda: self.time)
        self.analyses = Analyses(
            cache=self.cache, queue=self.queue, gateway_url="http://gateway", source=source, clock=lambda: self.time
        )

    def put(self, name: str = "chat", *, since: float = SINCE, canary: str = "cccccccccc", status: Any = None) -> Key:
        """Lets a canary's first step begin; an empty one has ended. Or whatever `status` says."""
        self.version += 1
        meta = {"namespace": "team", "name": name, "uid": f"u-{name}", "resourceVersion": str(self.version)}
        revisions = [{"hash": "5555555555", "role": "stable"}, {"hash": canary or "cccccccccc", "role": "canary"}]
        rollout = {"revision": canary, "weight": 5, "stepStartedAt": timestamp(since)} if canary else {}
        status = status or {"revisions": revisions, "rollout": rollout}
        body = {"kind": "LLMDeployment", "metadata": meta, "spec": SPEC, "status": status}
        self.cache.observe(json.loads(json.dumps(body)))
        return ("team", name)

    async def look(self) -> None:
        """One look, and whatever can happen at once after it."""
        self.analyses.look()
        for _ in range(50):
            await asyncio.sleep(0)

    async def answered(self, key: Key = KEY) -> float:
        """Waits until nothing is asked any more; gives the newest edge that was answered."""
        await until(lambda: not self.analyses._asking)
        found = self.analyses.of(key)
        return found.asked.now if found else 0.0


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a thread's work: nothing tells of it
            await asyncio.sleep(0.001)


@pytest.fixture
def source() -> Prometheus:
    return Prometheus()


@pytest.fixture
def world(source: Prometheus) -> Iterator[World]:
    world = World(source=source)
    yield world
    world.analyses._counting.shutdown()


async def test_a_window_is_asked_for_once_per_block(world, source):
    world.put()
    for blocks in (0, 1, 2):
        edge = SINCE + blocks * INTERVAL
        world.time = edge + SETTLE_SECONDS
        await world.look()
        assert await world.answered() == edge
        for later in (1.0, INTERVAL - 0.1):
            world.time = edge + SETTLE_SECONDS + later
            await world.look()
        assert [asked.now for asked in source.asked] == [SINCE + i * INTERVAL for i in range(blocks + 1)]
    assert [len(asked.edges) for asked in source.asked] == [1, 2, 3]
    assert await asyncio.wait_for(world.queue.get(), 1) == KEY


async def test_what_was_switched_to_is_asked_about_while_the_old_set_is_warm(world, source):
    for warm in (2, 0):
        serves, was = {"hash": "cccccccccc", "role": "stable"}, {"hash": "5555555555", "role": "old", "ready": warm}
        switched = {"watching": True, "previous": "5555555555", "promotedAt": timestamp(SINCE)}
        world.put(status={"revisions": [serves, was], "rollout": switched})
        await world.look()
        await world.answered()
    assert [(asked.canary, asked.stable, asked.since) for asked in source.asked] == [
        ("cccccccccc", "5555555555", SINCE)
    ]


async def test_the_newest_edge_is_left_time_to_be_scraped(world, source):
    world.put()
    world.time = SINCE + INTERVAL + SETTLE_SECONDS - 0.1
    await world.look()
    assert [asked.now for asked in source.asked] == [SINCE]


async def test_nothing_is_asked_twice_while_an_answer_is_awaited_not_even_for_a_new_step(world, source):
    world.put()
    source.may.clear()
    await world.look()
    world.put(since=SINCE + 20)
    world.time += 30
    for _ in range(3):
        await world.look()
    assert len(source.asked) == 1
    source.may.set()
    await world.answered()
    await world.look()
    assert await world.answered() == SINCE + 30
    assert [asked.since for asked in source.asked] == [SINCE, SINCE + 20]


async def test_hundreds_of_rollouts_take_turns(world, source):
    keys = [world.put(f"chat-{number}") for number in range(200)]
    source.may.clear()
    await world.look()
    assert len(source.asked) == AT_ONCE
    source.may.set()
    await world.answered()
    assert all(map(world.analyses.of, keys))
    assert (len(source.asked), source.most) == (200, AT_ONCE)


async def test_whoever_waited_for_a_turn_asks_what_is_news_by_then(world, source):
    for number in range(AT_ONCE):
        world.put(f"other-{number}")
    world.put()
    source.may.clear()
    await world.look()
    world.time += 4 * INTERVAL
    source.may.set()
    assert await world.answered() == SINCE + 4 * INTERVAL
    assert sum(asked.name == "chat" for asked in source.asked) == 1


async def test_a_rollout_that_ends_is_forgotten_though_an_answer_is_under_way(world, source):
    world.put()
    source.may.clear()
    await world.look()
    world.put(canary="")
    source.may.set()
    assert await world.answered()
    await world.look()
    assert world.analyses.of(KEY) is None
    world.cache.fleet.clear()
    await world.look()
    assert not world.analyses._read


async def test_a_failure_stays_with_its_own_and_is_asked_for_again_with_the_next_block(world, source):
    world.put()
    source.problem = RuntimeError("a bug")
    with capture_logs() as said:
        await world.look()
        assert not await world.answered()
    assert [(one["event"], one["llmdeployment"]) for one in said] == [("analysis.failed", "team/chat")]
    source.problem = None
    await world.look()
    assert len(source.asked) == 1
    world.time += INTERVAL
    await world.look()
    assert await world.answered() == SINCE + INTERVAL


async def test_nothing_goes_on_after_its_end(world, source):
    world.put()
    source.may.clear()
    keeping = asyncio.create_task(world.analyses.keep())
    await until(lambda: source.at_once)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert source.at_once == 0
    assert not world.analyses._asking


async def test_without_a_prometheus_it_says_so():
    world = World(source=None)
    world.put()
    await world.look()
    await world.answered()
    assert world.analyses.of(KEY).errors == (NO_SOURCE,)
    world.analyses._counting.shutdown()
