"""Which replica of a revision a request goes to, through the real Envoy: by load, or by how the prompt begins."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from modelfleet.gateway.render_cluster import HASH_BALANCE_PERCENT
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import SECONDS, eventually
from tests.gateway.gateway import Gateway, revision, served

pytestmark = pytest.mark.slow

HOT = [{"role": "system", "content": "You are the one that everybody asks. " * 300}]
BESIDE_ENVOYS_LIMIT = 1100
"""Requests at a time; Envoy by itself lets 1,024 to a cluster."""


def replicas(count: int, **more: Any) -> list[Engine]:
    return [Engine(name=str(number), **more) for number in range(count)]


@asynccontextmanager
async def open_streams(gate: Gateway, count: int, **body: Any) -> AsyncIterator[list[aiohttp.ClientResponse]]:
    """Hold so many streams open at a time, each after its first event."""
    async with AsyncExitStack() as stack:
        found = [
            await stack.enter_async_context(gate.ask({"model": "chat", "stream": True, **body})) for _ in range(count)
        ]
        assert {response.status for response in found} == {200}
        yield found


async def test_the_same_beginning_of_a_prompt_goes_to_the_same_replica(gate: Gateway):
    replicas = [Engine(name=str(number)) for number in range(4)]
    async with serving(*replicas):
        await gate.apply(served("chat", revision("r1", *replicas), balance="PrefixAffinity"))

        async def ask(system: str, question: str) -> str:
            messages = [{"role": "system", "content": system * 300}, {"role": "user", "content": question}]
            async with gate.ask({"model": "chat", "messages": messages}) as response:
                return str((await response.json())["served_by"])

        chosen = {}
        for topic in (f"You know topic {n}. " for n in range(16)):
            chosen[topic] = {await ask(topic, question) for question in ("how?", "why?", "when?")}
    assert all(len(who) == 1 for who in chosen.values()), chosen
    assert len(set().union(*chosen.values())) > 1, "sixteen prompts, and all on one replica"


async def test_a_prompt_that_everybody_sends_takes_no_replica_beyond_its_bound(gate: Gateway):
    engines = replicas(4)
    async with serving(*engines):
        await gate.apply(served("chat", revision("r1", *engines), balance="PrefixAffinity"))
        async with open_streams(gate, 100, messages=HOT):
            load = [engine.open_streams for engine in engines]
            for engine in engines:
                engine.go_on.set()
    assert sum(load) == 100
    # A replica is passed over once it is above its bound, so it stands at most one above it.
    assert max(load) <= math.ceil(100 / 4 * HASH_BALANCE_PERCENT / 100) + 1, load
    assert sum(one > 0 for one in load) > 1, load


async def test_a_busy_replica_is_left_for_a_free_one(gate: Gateway):
    busy, free = Engine(name="busy"), Engine(name="free")
    async with serving(busy, free):
        await gate.apply(served("chat", revision("r1", busy)))
        async with open_streams(gate, 20):
            await gate.apply(served("chat", revision("r1", busy, free)))
            answers = Counter([(await gate.chat("chat"))[1]["served_by"] for _ in range(100)])
            busy.go_on.set()
    # Two replicas are drawn, with repetition, and the one with less to do is asked: the busy one where both draws name it.
    assert 5 < answers["busy"] < 45, answers
    assert answers["free"] == 100 - answers["busy"]


async def test_more_requests_at_a_time_than_envoy_would_let_through_by_itself(gate: Gateway):
    async def waits(engine: Engine, _request: Any, _body: Any) -> None:
        await engine.go_on.wait()

    engine = Engine(name="a", script=waits)
    async with serving(engine), aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await gate.apply(served("chat", revision("r1", engine)))
        gate.session, own = session, gate.session
        asked = [asyncio.create_task(gate.chat("chat")) for _ in range(BESIDE_ENVOYS_LIMIT)]

        async def all_there() -> bool:
            return len(engine.requests) == BESIDE_ENVOYS_LIMIT or any(one.done() for one in asked)

        await eventually(all_there, what="every request at the engine", tell=lambda: str(len(engine.requests)))
        engine.go_on.set()
        async with asyncio.timeout(SECONDS):
            answers = Counter([status for status, *_ in await asyncio.gather(*asked)])
        gate.session = own
    assert answers == {200: BESIDE_ENVOYS_LIMIT}
    assert len(engine.requests) == BESIDE_ENVOYS_LIMIT, "none was tried twice"
