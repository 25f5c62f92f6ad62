"""`modelfleet gateway` against a real API server, with a real Envoy and scripted engines behind it."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from e2e.cluster.api_only import ApiServer
from e2e.cluster.process import own_address
from modelfleet.core import names
from tests.gateway.cluster import Fleet, GatewayProcess
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import Envoy, eventually, running
from tests.gateway.gateway import Client

pytestmark = pytest.mark.slow

KEY = "key-of-this-tenant"


class Whole(Client):
    """What a test holds."""

    def __init__(self, *, fleet: Fleet, process: GatewayProcess, folder: Path) -> None:
        self.fleet, self.process = fleet, process
        self.envoy = Envoy(folder=folder / "envoy", control_port=process.ads_port)

    async def chat(self, model: str, *, key: str | None = KEY) -> tuple[int, str]:
        """Status, and the engine that answered."""
        async with self.ask({"model": model}, key=key) as response:
            return response.status, (await response.json()).get("served_by", "")

    def seen(self) -> str:
        """What both processes said last."""
        return f"control: {self.process.child.tail()}; Envoy: {self.envoy.child.tail()}"

    async def until(self, model: str, wanted: tuple[int, str], *, key: str | None = KEY) -> None:
        """Wait for an answer; what came instead is told."""
        seen: list[Any] = []

        async def answered() -> bool:
            seen.append(await self.chat(model, key=key))
            return seen[-1] == wanted

        await eventually(answered, what=f"{wanted} of {model}", tell=lambda: f"{seen[-3:]} {self.process.child.tail()}")


@contextlib.asynccontextmanager
async def whole_gateway(fleet: Fleet, folder: Path, **settings: str) -> AsyncIterator[Whole]:
    """Start all of it for the namespace of a fleet."""
    process = GatewayProcess(
        kubeconfig=fleet.api.kubeconfig, folder=folder, namespace=fleet.namespace, settings=settings
    )
    process.start()
    found = Whole(fleet=fleet, process=process, folder=folder)
    try:
        async with running(found.envoy) as address, aiohttp.ClientSession() as session:
            found.address, found.session = f"127.0.0.1:{address.rpartition(':')[2]}", session
            yield found
    finally:
        process.child.stop()


def fresh(api: ApiServer) -> Fleet:
    """A namespace of a test's own, with one key of the tenant to which it belongs."""
    made = Fleet(api=api, namespace=f"team-{uuid.uuid4().hex[:8]}")
    made.key("first", tenant=made.namespace, value=KEY)
    return made


@pytest.fixture
async def whole(api_server: ApiServer, tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole_gateway(fresh(api_server), tmp_path) as found:
        yield found


def engine(number: int) -> Engine:
    """An engine at an address of its own, on the port that all engines have."""
    return Engine(name=f"e{number}", address=own_address(100 + number), port=8000)


async def test_a_pod_comes_and_goes(whole: Whole):
    one, two = engine(1), engine(2)
    async with serving(one, two):
        replicas = whole.fleet.revision(whole.fleet.llmdeployment("chat"), "r1")
        whole.fleet.pod(replicas, "p1", one.address)
        await whole.until("chat", (200, "e1"))
        whole.fleet.pod(replicas, "p2", two.address)
        await whole.until("chat", (200, "e2"))
        whole.fleet.patch(
            f"/api/v1/namespaces/{whole.fleet.namespace}/pods/p1", {"metadata": {"labels": {names.ROTATION: "out"}}}
        )

        async def only_two() -> bool:
            report = await asyncio.to_thread(whole.process.report)
            (model,) = report["models"].values()
            (envoy,) = report["envoys"].values()
            wanted = (model["endpoints"], list(envoy["confirmed"].values()))
            return wanted == ({"r1": [two.address]}, [model["digest"]])

        await eventually(only_two, what="acknowledgement that p1 is out")
        before = len(one.requests)
        assert {await whole.chat("chat") for _ in range(10)} == {(200, "e2")}
        assert len(one.requests) == before, "after the acknowledgement no request comes"
        whole.fleet.ready("p2", two.address, ready=False)
        await whole.until("chat", (503, ""))
        whole.fleet.delete("/apis/modelfleet.dev/v1alpha1/namespaces/{ns}/llmdeployments/chat")
        await whole.until("chat", (404, ""))


async def test_a_label_alone_puts_no_pod_into_a_route(whole: Whole):
    thief, real = engine(3), engine(4)
    async with serving(thief, real):
        replicas = whole.fleet.revision(whole.fleet.llmdeployment("chat"), "r1")
        other = whole.fleet.revision(whole.fleet.llmdeployment("other"), "r1")
        labels = replicas["metadata"]["labels"]
        whole.fleet.pod(None, "thief", thief.address, **labels)
        whole.fleet.pod(other, "cuckoo", thief.address, **labels)
        await whole.until("chat", (503, ""))
        whole.fleet.pod(replicas, "real", real.address)
        await whole.until("chat", (200, "e4"))
        assert {await whole.chat("chat") for _ in range(10)} == {(200, "e4")}
        assert thief.requests == []


async def test_keys_come_and_go_and_stand_in_no_log(whole: Whole):
    one = engine(5)
    async with serving(one):
        whole.fleet.pod(whole.fleet.revision(whole.fleet.llmdeployment("chat"), "r1"), "p1", one.address)
        await whole.until("chat", (200, "e5"))
        assert (await whole.chat("chat", key="second-key"))[0] == 401
        whole.fleet.key("second", tenant=whole.fleet.namespace, value="second-key\n")
        whole.fleet.key("nobody", tenant="", value="third-key")
        whole.fleet.key("stranger", tenant="team-other", value="fourth-key")
        await whole.until("chat", (200, "e5"), key="second-key")
        await whole.until("chat", (403, ""), key="fourth-key")
        assert (await whole.chat("chat", key="third-key"))[0] == 401
        whole.fleet.delete("/api/v1/namespaces/{ns}/secrets/second")
        await whole.until("chat", (401, ""), key="second-key")
        told = whole.process.child.log.read_text() + whole.envoy.child.log.read_text()
        told += (await asyncio.to_thread(whole.process.get, "/metrics")).text
        told += json.dumps(await asyncio.to_thread(whole.process.report))
        assert not [key for key in (KEY, "second-key", "third-key", "fourth-key") if key in told]
        assert "keys.unusable" in told, "a Secret without a tenant is told of"


async def test_a_revision_whose_last_replica_is_not_ready_gets_nothing_without_any_operator(whole: Whole):
    stable, canary = engine(6), engine(7)
    async with serving(stable, canary):
        owner = whole.fleet.llmdeployment("chat")
        whole.fleet.pod(whole.fleet.revision(owner, "r1"), "stable", stable.address)
        whole.fleet.pod(whole.fleet.revision(owner, "r2"), "canary", canary.address)
        await whole.until("chat", (200, "e7"))
        report = await asyncio.to_thread(whole.process.report)
        assert [m["requested"] for m in report["models"].values()] == [{"r1": 1, "r2": 1}], "ready replicas decide"
        whole.fleet.ready("canary", canary.address, ready=False)

        async def clamped() -> bool:
            report = await asyncio.to_thread(whole.process.report)
            return [m["effective"] for m in report["models"].values()] == [{"r1": 1, "r2": 0}]

        await eventually(clamped, what="the clamp", tell=lambda: str(whole.process.report()))
        await whole.until("chat", (200, "e6"))
        assert {await whole.chat("chat") for _ in range(10)} == {(200, "e6")}


async def test_the_process_goes_and_comes_and_no_request_fails(whole: Whole):
    one = engine(8)
    async with serving(one):
        whole.fleet.pod(whole.fleet.revision(whole.fleet.llmdeployment("chat"), "r1"), "p1", one.address)
        await whole.until("chat", (200, "e8"))
        seen: list[tuple[int, str]] = []
        done = asyncio.Event()

        async def ask() -> None:
            while not done.is_set():
                seen.append(await whole.chat("chat"))

        asking = [asyncio.create_task(ask()) for _ in range(4)]
        await asyncio.to_thread(whole.process.child.stop)
        await asyncio.to_thread(whole.process.start)
        whole.fleet.key("second", tenant=whole.fleet.namespace, value="second-key")
        await whole.until("chat", (200, "e8"), key="second-key")
        done.set()
        await asyncio.gather(*asking)
        assert set(seen) == {(200, "e8")}
