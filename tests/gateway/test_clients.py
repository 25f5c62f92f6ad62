"""Clients that are slow, large, many or change their keys, through the real Envoy: nobody else feels them."""

import asyncio
import contextlib
import json
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from modelfleet.core.routing.model import ApiKey
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import SECONDS, eventually
from tests.gateway.gateway import KEY, Gateway, gateway, revision, served
from tests.gateway.load import asking, echo

OTHER = ApiKey(tenant="team-b", key="key-of-team-b")
IDLE = int(os.environ.get("MODELFLEET_TEST_IDLE", "2000"))
"""Idle connections; the promise is made for 10,000. Each needs a file of the test's own and one of Envoy's."""
ROTATIONS = int(os.environ.get("MODELFLEET_TEST_ROTATIONS", "20"))
PART = b"data: " + b"x" * 65_530 + b"\n\n"
PARTS = 1500
"""About 100 MB: three times what Envoy keeps for one client, and what the kernel does beside it."""


async def test_a_client_that_reads_slowly_holds_its_engine_back_and_nobody_else(gate: Gateway):
    written = 0

    async def pours(engine: Engine, request: web.Request, body: Any) -> Any:
        nonlocal written
        if not body.get("stream"):
            return None
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        engine.open_streams += 1
        for _ in range(PARTS):
            await response.write(PART)
            written += len(PART)
        await response.write(b"data: [DONE]\n\n")
        engine.open_streams -= 1
        return response

    engine = Engine(name="a", script=pours)
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        async with gate.ask({"model": "chat", "stream": True}) as response:
            assert response.status == 200

            async def held_back() -> bool:
                before = written
                found = await asyncio.gather(*(gate.chat("chat") for _ in range(20)))
                assert {status for status, _, _ in found} == {200}
                return 0 < before == written

            await eventually(held_back, what="an engine that waits for its client", tell=lambda: f"{written} written")
            assert engine.open_streams == 1, f"all {written} bytes are kept somewhere"
            size, last = 0, b""
            async for part in response.content.iter_any():
                size, last = size + len(part), (last + part)[-14:]
            assert (size, last) == (len(PART) * PARTS + 14, b"data: [DONE]\n\n")


async def test_a_client_that_sends_slowly_gets_its_answer_and_delays_nobody(gate: Gateway):
    engine, rest = Engine(name="a"), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"model": "ch'
        await rest.wait()
        yield b'at"}'

    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        kind = {"Content-Type": "application/json"}

        async def slowly() -> int:
            async with gate.ask(data=body(), headers=kind) as response:
                return response.status

        asked = [asyncio.create_task(slowly()) for _ in range(20)]
        assert {(await gate.chat("chat"))[0] for _ in range(20)} == {200}
        assert not any(task.done() for task in asked)
        rest.set()
        assert await asyncio.gather(*asked) == [200] * 20


async def test_a_client_that_never_ends_its_request_is_not_waited_for(tmp_path: Path):
    engine, never = Engine(name="a"), asyncio.Event()

    async def hangs(_engine: Engine, _request: web.Request, body: Any) -> None:
        if body.get("slow"):
            await never.wait()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"model": "ch'
        await never.wait()

    engine.script = hangs
    async with serving(engine), gateway(tmp_path, longest_upload_seconds=1) as gate:
        await gate.apply(served("chat", revision("r1", engine)))
        long = asyncio.create_task(_status(gate, {"model": "chat", "slow": True}))
        kind = {"Content-Type": "application/json"}
        async with asyncio.timeout(SECONDS), gate.ask(data=body(), headers=kind) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (408, "request_timeout")
        assert not long.done(), "an engine's thinking is not a client's slowness"
        never.set()
        assert await long == 200


async def _status(gate: Gateway, body: Any) -> int:
    async with gate.ask(body) as response:
        return response.status


async def test_a_body_above_the_limit_that_does_not_tell_its_length(gate: Gateway):
    engine = Engine(name="a")

    async def body() -> AsyncIterator[bytes]:
        yield b'{"model": "chat", "prompt": "'
        for _ in range(40):
            yield b"x" * 1024 * 1024
        yield b'"}'

    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        with contextlib.suppress(aiohttp.ClientConnectionError):  # it may be told so while it still sends
            async with gate.ask(data=body(), headers={"Content-Type": "application/json"}) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (413, "request_too_large")
        assert engine.requests == []
        assert (await gate.chat("chat"))[0] == 200


async def test_many_idle_connections_cost_nobody_an_answer(gate: Gateway):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert hard > IDLE + 500, f"{hard} open files are too few for {IDLE} connections: raise the limit (ulimit -n)"
    engine, host, port = Engine(name="a"), *gate.address.split(":")
    sent = json.dumps({"model": "chat"}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY.key}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
    open_now: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    try:
        async with serving(engine):
            await gate.apply(served("chat", revision("r1", engine)))
            while len(open_now) < IDLE:
                batch = (asyncio.open_connection(host, int(port)) for _ in range(min(100, IDLE - len(open_now))))
                open_now += await asyncio.gather(*batch)

            async def all_there() -> bool:
                stats = await gate.envoy.stats("^http.requests.downstream_cx_active$")
                return stats["http.requests.downstream_cx_active"] >= IDLE

            await eventually(all_there, what=f"{IDLE} connections", tell=gate.seen)
            assert {(await gate.chat("chat"))[0] for _ in range(50)} == {200}
            for reader, writer in (open_now[0], open_now[IDLE // 2], open_now[-1]):
                writer.write(head.encode() + sent)
                async with asyncio.timeout(SECONDS):
                    assert b" 200 " in await reader.readline(), "an idle one is still good"
    finally:
        for _, writer in open_now:
            writer.transport.abort()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def known(gate: Gateway, keys: dict[str, ApiKey], *, status: int) -> None:
    """Wait until every thread of Envoy answers these keys so."""

    async def all_of_them() -> bool:
        asked = (gate.chat(model, key=key.key) for model, key in keys.items() for _ in range(8))
        return {found[0] for found in await asyncio.gather(*asked)} == {status}

    await eventually(all_of_them, what=f"{status} for the keys of {sorted(keys)}", tell=gate.seen)


async def test_keys_rotate_under_load_and_no_request_fails(gate: Gateway):
    engine, code = Engine(name="a", script=echo), Engine(name="code", script=echo)
    async with serving(engine, code):
        models = served("chat", revision("r1", engine)), served("code", revision("r1", code), namespace="team-b")
        keys = {"chat": KEY, "code": OTHER}
        await gate.apply(*models, keys=tuple(keys.values()))
        async with (
            gate.ask({"model": "chat", "stream": True, "max_tokens": 3}) as response,
            asking(gate, keys) as load,
        ):
            first = await response.content.readuntil(b"\n\n")
            for number in range(ROTATIONS):
                old = dict(keys)
                new = {model: ApiKey(tenant=key.tenant, key=f"{model}-{number}") for model, key in old.items()}
                gate.publish(*models, keys=(*old.values(), *new.values()))
                await known(gate, new, status=200)
                keys.update(new)
                await load.unused(*old.values())
                gate.publish(*models, keys=tuple(new.values()))
                await known(gate, old, status=401)
            engine.go_on.set()
            assert (first + await response.read()).endswith(b"data: [DONE]\n\n")
        assert {name.split()[1] for name in load.seen} == {"200"}, load.seen
