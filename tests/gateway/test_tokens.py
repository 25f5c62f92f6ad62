"""Tokens, read from answers as they pass: every client gets the bytes that it would have got without the gateway."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from modelfleet.core.routing import measures
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import SECONDS
from tests.gateway.gateway import Gateway, revision, served
from tests.gateway.measuring import CHAT, DONE, HELLO, LABELS, USAGE, chunk, counted, json_engine, stream_engine


def whole(*parts: bytes) -> bytes:
    return b"".join(parts)


async def test_a_stream_tells_its_tokens_and_nothing_else_changes(gate: Gateway):
    engine = Engine(name="a", script=stream_engine(*HELLO))
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        async with gate.ask({**CHAT, "stream": True}) as response:
            async with asyncio.timeout(SECONDS):
                assert await response.content.readuntil(b"\n\n") == HELLO[0], "the first event waits for no second"
            await counted(gate, measures.IN_FLIGHT, {LABELS: 1})
            counts = await counted(gate, measures.STARTED, {LABELS: 1})  # it counts when it starts
            assert counts.of(measures.REQUESTS) == {}
            engine.go_on.set()
            assert await response.read() == whole(*HELLO[1:], DONE)
        assert engine.requests[0][2]["stream_options"] == {"include_usage": True}
        counts = await counted(gate, measures.REQUESTS, {(*LABELS, "ok"): 1})
        await counted(gate, measures.IN_FLIGHT, {LABELS: 0})
        await counted(gate, measures.INPUT_TOKENS, {LABELS: 7})
        await counted(gate, measures.OUTPUT_TOKENS, {LABELS: 2})
        await counted(gate, measures.TTFT, {LABELS: 1}, "_count")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_who_asks_for_usage_gets_it(gate: Gateway, path: str):
    engine = Engine(name="a", script=stream_engine(*HELLO))
    engine.go_on.set()
    asked = {**CHAT, "stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        async with gate.ask(asked, path=path) as response:
            assert await response.read() == whole(*HELLO, USAGE, DONE)
        assert engine.requests[0][2] == asked
        await counted(gate, measures.OUTPUT_TOKENS, {LABELS: 2})
        await counted(gate, measures.REQUESTS, {(*LABELS, "ok"): 1})


async def test_who_refuses_usage_does_not_get_it_and_is_counted(gate: Gateway):
    engine = Engine(name="a", script=stream_engine(*HELLO))
    engine.go_on.set()
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        for options in ({"include_usage": False}, {}, None):
            async with gate.ask({**CHAT, "stream": True, "stream_options": options}) as response:
                assert await response.read() == whole(*HELLO, DONE)
        async with gate.ask({"stream": True, "model": "team-a/chat"}) as response:
            assert await response.read() == whole(*HELLO, DONE)
        assert engine.requests[-1][2]["model"] == "chat", "renamed and asked for usage at once"
        await counted(gate, measures.OUTPUT_TOKENS, {LABELS: 8})


async def test_what_is_no_stream_is_not_asked_for_usage(gate: Gateway):
    engine = Engine(name="a", script=json_engine())
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        for path, stream in (("/v1/chat/completions", False), ("/v1/embeddings", True), ("/v1/responses", True)):
            async with gate.ask({**CHAT, "stream": stream}, path=path) as response:
                assert response.status == 200
        assert [body for _, _, body in engine.requests if "stream_options" in body] == []


TORN = whole(*HELLO, USAGE, chunk("late"), DONE)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 7, 50, 200, 1000])
async def test_an_event_in_many_pieces_is_the_same_event(gate: Gateway, size: int, newline: bytes):
    async def script(_engine: Engine, request: web.Request, _body: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        sent = TORN.replace(b"\n", newline)
        for at in range(0, len(sent), size):
            await response.write(sent[at : at + size])
            await asyncio.sleep(0)
        return response

    engine = Engine(name="a", script=script)
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        async with gate.ask({**CHAT, "stream": True}) as response:
            assert await response.read() == whole(*HELLO, chunk("late"), DONE).replace(b"\n", newline)
        await counted(gate, measures.OUTPUT_TOKENS, {LABELS: 2})


async def test_an_event_without_end_and_one_that_is_huge_pass(gate: Gateway):
    huge = chunk("x" * 300_000)
    engine = Engine(name="a", script=stream_engine(huge, ending=b"data: torn off"))
    engine.go_on.set()
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        async with gate.ask({**CHAT, "stream": True}) as response:
            assert await response.read() == huge + b"data: torn off"
        await counted(gate, measures.OUTPUT_TOKENS, {LABELS: 2})


@pytest.mark.slow
async def test_other_operations_tell_tokens_too(gate: Gateway):
    done = {"type": "response.completed", "response": {"usage": {"input_tokens": 11, "output_tokens": 5}}}
    events = b"event: response.completed\ndata: " + json.dumps(done).encode() + b"\n\n"

    async def script(_engine: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        if request.path == "/v1/embeddings":
            data = [{"object": "embedding", "embedding": [0.5] * 1000, "index": n} for n in range(9000)]
            return web.json_response({"object": "list", "data": data, "usage": {"prompt_tokens": 100}})
        if not body.get("stream"):
            return web.json_response(
                {"object": "response", "output": [], "usage": {"input_tokens": 1, "output_tokens": 2}}
            )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(events)
        return response

    engine = Engine(name="a", script=script)
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        async with gate.ask({"model": "chat", "stream": True}, path="/v1/responses") as response:
            assert await response.read() == events
        async with gate.ask({"model": "chat"}, path="/v1/responses") as response:
            assert response.status == 200
        async with gate.ask({"model": "chat", "input": "x"}, path="/v1/embeddings") as response:
            assert response.status == 200
            assert len(await response.read()) > 40_000_000, "above the limit on requests: answers are not kept"
        await counted(gate, measures.INPUT_TOKENS, {LABELS: 112})
        await counted(gate, measures.OUTPUT_TOKENS, {LABELS: 7})
        await counted(gate, measures.REQUESTS, {(*LABELS, "ok"): 3})
