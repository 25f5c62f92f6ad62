"""What Envoy counts of requests, exactly: asked of its Prometheus endpoint after scripted engines have answered."""

import asyncio
import contextlib
import json
import time
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from modelfleet.core.routing import measures
from modelfleet.core.routing.model import ApiKey, Revision, Timeouts
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import eventually
from tests.gateway.gateway import NOWHERE, Gateway, revision, served
from tests.gateway.measuring import CHAT, DONE, HELLO, LABELS, chunk, counted, json_engine, stream_engine

OTHER = ApiKey(tenant="team-b", key="key-of-team-b")


async def test_requests_attempts_and_tokens_of_plain_answers(gate: Gateway):
    old, new = Engine(name="old", script=json_engine()), Engine(name="new", script=json_engine(completion=4))
    async with serving(old, new):
        models = (served("chat", revision("r1", old, weight=100), revision("r2", new, weight=0)),)
        await gate.apply(*models, access="AnyKey", keys=(*gate.fleet.keys, OTHER))
        for _ in range(5):
            assert (await gate.chat("chat"))[0] == 200
        for _ in range(2):
            assert (await gate.chat("chat", key=OTHER.key))[0] == 200
        for _ in range(3):
            assert (await gate.chat("chat", headers={"x-modelfleet-revision": "r2"}))[0] == 200
    first = ("team-a", "chat", "r1", "team-a")
    second = ("team-a", "chat", "r2", "team-a")
    theirs = ("team-a", "chat", "r1", "team-b")
    counts = await counted(gate, measures.REQUESTS, {first: 5, theirs: 2, second: 3}, outcome="ok")
    assert counts.of(measures.REQUESTS).keys() == {(*one, "ok") for one in (first, theirs, second)}
    await counted(gate, measures.STARTED, {first: 5, theirs: 2, second: 3})
    await counted(gate, measures.ATTEMPTS_STARTED, {first: 5, theirs: 2, second: 3})
    for tries in (measures.ATTEMPTS, measures.FIRST_ATTEMPTS):
        await counted(gate, tries, {first: 5, theirs: 2, second: 3}, outcome="ok")
    await counted(gate, measures.INPUT_TOKENS, {first: 35, theirs: 14, second: 21})
    await counted(gate, measures.OUTPUT_TOKENS, {first: 15, theirs: 6, second: 12})
    await counted(gate, measures.IN_FLIGHT, {first: 0, theirs: 0, second: 0})
    await counted(gate, measures.DURATION, {first: 5, theirs: 2, second: 3}, "_count")
    assert counts.of(measures.TTFT, "_count") == {}, "there is no first token where there is no stream"


async def test_a_retry_is_one_request_and_several_attempts(gate: Gateway):
    async def busy(_engine: Engine, _request: web.Request, _body: Any) -> web.Response:
        return web.json_response({"error": {"message": "busy"}}, status=503)

    bad, good = Engine(name="bad", script=busy), Engine(name="good", script=json_engine())
    async with serving(bad, good):
        endpoints = (bad.endpoint, good.endpoint, NOWHERE)
        await gate.apply(served("chat", Revision(name="r1", endpoints=endpoints)))
        for _ in range(20):
            assert (await gate.chat("chat"))[0] == 200
        counts = await counted(gate, measures.REQUESTS, {(*LABELS, "ok"): 20})
        await counted(gate, measures.STARTED, {LABELS: 20})
        await counted(gate, measures.INPUT_TOKENS, {LABELS: 140})
        await counted(gate, measures.ATTEMPTS, {LABELS: 20}, outcome="ok")
        counts = await counted(gate, measures.ATTEMPTS, {LABELS: len(bad.requests)}, outcome="unavailable")
        attempts = {labels[-1]: value for labels, value in counts.of(measures.ATTEMPTS).items()}
        assert set(attempts) == {"ok", "unavailable", "unreachable"}, "each try that failed is counted"
        assert sum(counts.of(measures.FIRST_ATTEMPTS).values()) == 20
        await counted(gate, measures.ATTEMPTS_STARTED, {LABELS: sum(attempts.values())})
        await counted(gate, measures.IN_FLIGHT, {LABELS: 0})


SLOW_SECONDS = 0.3


async def slow(_engine: Engine, request: web.Request, _body: Any) -> web.StreamResponse:
    """Take this long for the prompt, and again for the rest."""
    await asyncio.sleep(SLOW_SECONDS)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(HELLO[0])
    await asyncio.sleep(SLOW_SECONDS)
    await response.write(DONE)
    return response


async def test_times_are_those_that_a_client_sees(gate: Gateway):
    engine = Engine(name="a", script=slow)
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        began = time.monotonic()
        async with gate.ask({**CHAT, "stream": True}) as response:
            await response.content.readuntil(b"\n\n")
            first = time.monotonic() - began
            await response.read()
            whole = time.monotonic() - began
        await counted(gate, measures.TTFT, {LABELS: 1}, "_count")
        counts = await counted(gate, measures.DURATION, {LABELS: 1}, "_count")
    # Envoy keeps two digits of each time.
    assert 1000 * SLOW_SECONDS <= counts.one(measures.TTFT, "_sum") <= 1050 * first, (first, whole)
    assert 2000 * SLOW_SECONDS <= counts.one(measures.DURATION, "_sum") <= 1050 * whole, (first, whole)


def status_engine(status: int) -> Any:
    async def script(_engine: Engine, _request: web.Request, _body: Any) -> web.Response:
        return web.json_response({"error": {"message": "m"}}, status=status)

    return script


async def hangs(engine: Engine, _request: web.Request, _body: Any) -> Any:
    await engine.go_on.wait()


async def breaks(_engine: Engine, request: web.Request, _body: Any) -> Any:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(HELLO[0])
    request.transport.abort()
    return response


async def resets(_engine: Engine, request: web.Request, _body: Any) -> Any:
    request.transport.abort()
    await asyncio.sleep(0)
    return web.Response()


NOBODY = json_engine(completion=1, content="")
FAILING = stream_engine(b'data: {"error": {"message": "engine died", "code": 500}}\n\n')
SILENT = stream_engine(chunk(""), chunk(""))
TOOLS = stream_engine(chunk(choices=[{"delta": {"tool_calls": [{"index": 0}]}}]))


@pytest.mark.parametrize(
    ("script", "stream", "outcome", "tries", "first"),
    [
        (status_engine(400), False, "rejected", {"rejected": 1}, {"rejected": 1}),
        (status_engine(404), False, "rejected", {"rejected": 1}, {"rejected": 1}),
        (status_engine(429), False, "overloaded", {"overloaded": 4}, {"overloaded": 1}),
        (status_engine(503), False, "unavailable", {"unavailable": 4}, {"unavailable": 1}),
        (status_engine(500), False, "failed", {"failed": 1}, {"failed": 1}),
        (hangs, False, "timeout", {"timeout": 4}, {"timeout": 1}),
        (resets, False, "failed", {"failed": 4}, {"failed": 1}),
        (stream_engine(*HELLO), True, "timeout", {"timeout": 1}, {"timeout": 1}),
        (breaks, True, "cut", {"cut": 1}, {"cut": 1}),
        (NOBODY, False, "empty", {"ok": 1}, {"ok": 1}),
        (SILENT, True, "empty", {"ok": 1}, {"ok": 1}),
        (TOOLS, True, "ok", {"ok": 1}, {"ok": 1}),
        # The try ended well, and the stream did not.
        (FAILING, True, "failed", {"ok": 1}, {"ok": 1, "failed": 1}),
    ],
)
async def test_outcomes(
    gate: Gateway, script: Any, *, stream: bool, outcome: str, tries: dict[str, int], first: dict[str, int]
):
    engine = Engine(name="a", script=script)
    if script in {SILENT, TOOLS, FAILING}:
        engine.go_on.set()
    # An engine that says something must not be cut off on a busy machine.
    silence = Timeouts().silence if outcome != "timeout" else 2.0 if stream else 0.3
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine), timeouts=Timeouts(silence=silence)))
        with contextlib.suppress(aiohttp.ClientPayloadError):
            async with gate.ask({**CHAT, "stream": stream}) as response:
                await response.read()
        await counted(gate, measures.REQUESTS, {(*LABELS, outcome): 1})
        for measure, wanted in ((measures.ATTEMPTS, tries), (measures.FIRST_ATTEMPTS, first)):
            await counted(gate, measure, {(*LABELS, tried): count for tried, count in wanted.items()})
        await counted(gate, measures.IN_FLIGHT, {LABELS: 0})
        await counted(gate, measures.STARTED, {LABELS: 1})
        engine.go_on.set()


@pytest.mark.parametrize("heard", [True, False])
async def test_a_client_that_leaves(gate: Gateway, *, heard: bool):
    async def script(engine: Engine, request: web.Request, body: Any) -> Any:
        if not heard:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await engine.go_on.wait()
        return await stream_engine(*HELLO)(engine, request, body)

    engine = Engine(name="a", script=script)
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        async with gate.ask({**CHAT, "stream": True}) as response:
            if heard:
                await response.content.readuntil(b"\n\n")
            await counted(gate, measures.IN_FLIGHT, {LABELS: 1})
            response.close()
        await counted(gate, measures.REQUESTS, {(*LABELS, "aborted"): 1})
        await counted(gate, measures.ATTEMPTS, {(*LABELS, "aborted"): 1})
        await counted(gate, measures.IN_FLIGHT, {LABELS: 0})
        engine.go_on.set()
        wanted: dict[Any, float] = {LABELS: 1} if heard else {}
        await counted(gate, measures.TTFT, wanted, "_count")
        assert "Stats access logger" not in gate.envoy.child.log.read_text(), "no number where there is none"


async def test_a_request_for_which_no_replica_is_ready_is_demand(gate: Gateway):
    await gate.apply(served("chat"), served("weighted", revision("r1", weight=1)))
    for model in ("chat", "weighted"):
        assert (await gate.chat(model))[0] == 503
    none, weighted = ("team-a", "chat", "", "team-a"), ("team-a", "weighted", "r1", "team-a")
    counts = await counted(gate, measures.REQUESTS, {none: 1, weighted: 1}, outcome="unavailable")
    await counted(gate, measures.STARTED, {none: 1, weighted: 1})
    assert counts.of(measures.ATTEMPTS) == {}
    await counted(gate, measures.FIRST_ATTEMPTS, {none: 1, weighted: 1}, outcome="unavailable")


async def test_what_is_refused_is_no_demand(gate: Gateway):
    await gate.apply(served("chat"), keys=(*gate.fleet.keys, OTHER))
    assert (await gate.chat("chat", key=OTHER.key))[0] == 403
    counts = await counted(gate, measures.REQUESTS, {("team-a", "chat", "", "team-b", "rejected"): 1})
    assert counts.of(measures.STARTED) == {}


async def test_names_that_clients_invent_make_no_series(gate: Gateway):
    engine = Engine(name="a", script=json_engine())
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        host, _, port = gate.address.rpartition(":")
        for number in range(20):
            lies = {
                "x-modelfleet-tenant": f"t{number}",
                "x-envoy-attempt-count": "1",
                "x-modelfleet-model": f"m{number}",
            }
            await gate.chat(f"model-{number}")
            await gate.chat("chat", headers={"x-modelfleet-revision": f"no-{number}", **lies})
            await gate.chat("chat", key=f"key-{number}", headers=lies)
            await gate.chat("chat", headers=lies)
            async with gate.ask(path=f"/p{number}", method="GET", headers=lies):
                pass
            _, writer = await asyncio.open_connection(host, int(port))
            head = f"POST /v1%2fchat HTTP/1.1\r\nHost: x\r\nx-modelfleet-tenant: t{number}\r\nContent-Length: 0\r\n\r\n"
            writer.write(head.encode())
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        nobody, known = ("", "", "", "team-a", "rejected"), ("team-a", "chat", "", "team-a", "rejected")
        wanted = {nobody: 40, known: 20, (*LABELS, "ok"): 20}
        counts = await counted(gate, measures.REQUESTS, wanted)
        values = {value for sample in counts.samples for key, value in sample.labels.items() if key != "le"}
        assert values <= {"team-a", "chat", "r1", "rejected", "ok", ""}
        await counted(gate, measures.STARTED, {LABELS: 20})


async def test_an_access_line_tells_who_and_how_much_and_never_what(gate: Gateway):
    engine = Engine(name="a", script=stream_engine(chunk("said in secret")))
    engine.go_on.set()
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        sent = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "asked in secret"}]}
        async with gate.ask(sent, path="/v1/chat/completions?key=secret", headers={"x-request-id": "mine"}) as response:
            await response.read()
            given = response.headers["x-request-id"]

        async def line() -> dict[str, Any] | None:
            lines = gate.envoy.child.log.read_text().splitlines()
            return next((json.loads(one) for one in lines if one.startswith("{")), None)

        found = await eventually(line, what="an access line", tell=gate.seen)
        told = {
            "model_namespace": "team-a",
            "llmdeployment": "chat",
            "revision": "r1",
            "tenant": "team-a",
            "model": "chat",
            "path": "/v1/chat/completions",
            "request_id": given,
            "status": 200,
            "flags": "-",
            "attempts": 1,
            "stream": True,
            "input_tokens": 7,
            "output_tokens": 2,
            "endpoint": f"127.0.0.1:{engine.port}",
        }
        assert {key: found[key] for key in told} == told
        assert 0 <= found["ttft_ms"] <= found["duration_ms"]
        log = gate.envoy.child.log.read_text()
        assert "secret" not in log
        assert "key-of-team-a" not in log
