"""A canary that dies under load while no operator runs: whom that costs an answer."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from modelfleet.gateway import headers
from tests.gateway.cluster import GROUP
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import SECONDS, eventually
from tests.gateway.test_process import KEY, Whole, engine, whole

pytestmark = pytest.mark.slow

__all__ = ["whole"]

CLIENTS = 8
HELD = 12
"""Streams and answers each that are under way on both revisions when the canary dies."""


@dataclass
class Clients:
    """Clients that ask all the time; what each answer was, by when it was asked for."""

    whole: Whole
    when: str = "before"
    seen: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    """(when it was asked for, status or 0 for a torn one, revision that the answer names) → how many."""

    async def ask(self, **more: Any) -> str:
        """Ask once; returns all of the answer."""
        when, status, revision, text = self.when, 0, "", ""
        url = f"http://{self.whole.address}/v1/chat/completions"
        sent = {"headers": {"Authorization": f"Bearer {KEY}"}, "json": {"model": "chat", **more}}
        with contextlib.suppress(aiohttp.ClientError):
            async with self.whole.session.post(url, **sent) as response:
                revision = response.headers.get(headers.REVISION, "")
                text = await response.text()
                status = response.status
        self.seen[when, status, revision] += 1
        return text

    async def until(self, more: int) -> None:
        """Wait until so many further answers came to what was asked since `when` changed last."""
        wanted = self.answered() + more

        async def enough() -> bool:
            return self.answered() >= wanted

        await eventually(enough, what=f"{more} answers {self.when}", tell=lambda: str(self.seen))

    def answered(self) -> int:
        return sum(count for (when, *_), count in self.seen.items() if when == self.when)

    def failed(self) -> Counter[tuple[str, int, str]]:
        return Counter({one: count for one, count in self.seen.items() if one[1] != 200})


@contextlib.asynccontextmanager
async def asking(whole: Whole) -> AsyncIterator[Clients]:
    clients, done = Clients(whole), asyncio.Event()

    async def client() -> None:
        while not done.is_set():
            await clients.ask()

    tasks = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    try:
        yield clients
    finally:
        done.set()
        await asyncio.gather(*tasks)


async def waits(engine: Engine, _request: web.Request, body: Any) -> None:
    """Keep an answer back where a test asks so, and count it as open meanwhile."""
    if body.get("user") != "waits":
        return
    engine.open_streams += 1
    try:
        await engine.go_on.wait()
    finally:
        engine.open_streams -= 1


def weigh(whole: Whole, **weights: int) -> None:
    """Write weights as the operator does; nobody else writes."""
    roles = {"r1": "stable", "r2": "canary"}
    revisions = [{"name": f"chat-{r}", "hash": r, "role": roles[r], "weight": w} for r, w in weights.items()]
    path = f"{GROUP}/namespaces/{whole.fleet.namespace}/llmdeployments/chat/status"
    whole.fleet.merge(path, {"status": {"revisions": revisions}})


async def applied(whole: Whole, **weights: int) -> None:
    """Wait until Envoy has acknowledged these weights."""

    async def same() -> bool:
        report = await asyncio.to_thread(whole.process.report)
        (model,), (envoy,) = report["models"].values(), report["envoys"].values()
        return (model["effective"], list(envoy["confirmed"].values())) == (weights, [model["digest"]])

    await eventually(same, what=f"{weights} in Envoy", tell=lambda: str(whole.process.report()))


async def both(whole: Whole, stable: Engine, canary: Engine) -> None:
    """Put a replica of each revision behind the gateway, at 80 and 20 percent."""
    owner = whole.fleet.llmdeployment("chat")
    whole.fleet.pod(whole.fleet.revision(owner, "r1"), "stable", stable.address)
    whole.fleet.pod(whole.fleet.revision(owner, "r2"), "canary", canary.address)
    weigh(whole, r1=80, r2=20)
    await applied(whole, r1=80, r2=20)


async def test_a_canary_that_dies_costs_only_the_streams_that_it_carried(whole: Whole):
    stable, canary = engine(31), engine(32)
    stable.script = canary.script = waits
    async with serving(stable, canary):
        await both(whole, stable, canary)
        async with asking(whole) as clients:
            await clients.until(100)
            held = [asyncio.create_task(clients.ask(user="waits")) for _ in range(HELD)]
            streams = [asyncio.create_task(clients.ask(stream=True)) for _ in range(HELD)]

            async def under_way() -> bool:
                return stable.open_streams + canary.open_streams == 2 * HELD

            await eventually(under_way, what="every stream's beginning", tell=lambda: str(clients.seen))
            carried = canary.open_streams
            begun = sum(1 for _, _, body in canary.requests if body.get("stream"))
            assert 0 < carried < 2 * HELD, "both carry some"
            await canary.die()
            clients.when = "dead, and nobody knows"
            await clients.until(200)
            await applied(whole, r1=80, r2=20)
            clients.when = "on the way to be known"
            whole.fleet.delete("/api/v1/namespaces/{ns}/pods/canary", gracePeriodSeconds=0)
            await applied(whole, r1=80, r2=0)
            clients.when = "known"
            await clients.until(200)
            stable.go_on.set()
            async with asyncio.timeout(SECONDS):
                await asyncio.gather(*held, *streams)
    failed = clients.failed()
    assert {(when, revision) for when, _, revision in failed} <= {("before", "r2")}, clients.seen
    assert begun <= failed.total() <= begun + CLIENTS, f"of {carried} under way, {begun} had begun to answer: {failed}"
    assert {revision for when, _, revision in clients.seen if when != "before"} == {"r1"}, clients.seen


async def test_a_canary_whose_pod_is_taken_away_costs_nobody_anything(whole: Whole):
    stable, canary = engine(33), engine(34)
    async with serving(stable, canary):
        await both(whole, stable, canary)
        async with asking(whole) as clients:
            for _ in range(5):
                clients.when = "there"
                await clients.until(100)
                whole.fleet.ready("canary", canary.address, ready=False)
                await applied(whole, r1=80, r2=0)
                clients.when = "gone"
                await clients.until(100)
                whole.fleet.ready("canary", canary.address)
                await applied(whole, r1=80, r2=20)
    assert clients.failed() == {}
    assert {(when, revision) for when, _, revision in clients.seen} >= {("there", "r2"), ("gone", "r1")}
