"""Requests through the real Envoy: by model, by weight, by choice; what is not served."""

import asyncio
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from modelfleet.core.routing.model import Endpoint, Mirror, Revision, Stickiness, Timeouts
from modelfleet.gateway import headers, render_route
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import eventually, validate
from tests.gateway.gateway import NOWHERE, Gateway, revision, served


async def answers(gate: Gateway, model: str, count: int, **more: Any) -> Counter[tuple[int, str, str]]:
    """Ask `count` times; counts (status, revision that the header names, engine that answered)."""
    limit = asyncio.Semaphore(50)

    async def one() -> tuple[int, str, str]:
        async with limit:
            status, body, answered = await gate.chat(model, **more)
            return status, answered, body.get("served_by", "")

    return Counter(await asyncio.gather(*(one() for _ in range(count))))


async def test_the_body_names_the_model_and_the_model_gets_the_request(gate: Gateway):
    chat, code = Engine(name="chat"), Engine(name="code")
    async with serving(chat, code):
        await gate.apply(served("chat", revision("r1", chat)), served("code", revision("r2", code)))
        assert await gate.chat("chat") == (
            200,
            {"object": "chat.completion", "model": "chat", "served_by": "chat"},
            "r1",
        )
        assert (await gate.chat("code"))[1]["served_by"] == "code"


@pytest.mark.parametrize("path", headers.OPERATIONS)
async def test_every_operation_reaches_the_engine_at_its_own_path(gate: Gateway, path: str):
    engine = Engine(name="a")
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        async with gate.ask({"model": "chat", "input": "x"}, path=path + "?beta=1") as response:
            assert response.status == 200
        assert [(where, body["input"]) for where, _, body in engine.requests] == [(path, "x")]


@pytest.mark.parametrize("path", ["/metrics", "/v1/load_lora_adapter", "/v1/chat/completions/x", "/shutdown", "/"])
async def test_what_else_an_engine_can_do_is_not_for_clients(gate: Gateway, path: str):
    engine = Engine(name="a")
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        for method in ("GET", "POST"):
            async with gate.ask({"model": "chat"}, path=path, method=method) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (404, "not_found")
        assert engine.requests == []


@pytest.mark.slow
async def test_weights_are_exact(gate: Gateway):
    old, new = Engine(name="old"), Engine(name="new")
    async with serving(old, new):
        await gate.apply(served("chat", revision("r1", old, weight=90), revision("r2", new, weight=10)))
        seen = await answers(gate, "chat", 10_000)
    assert set(seen) == {(200, "r1", "old"), (200, "r2", "new")}, "the header names who answered"
    # 1,000 of 10,000 at 10 %: the draw is random, five standard deviations are 150.
    assert 850 < seen[200, "r2", "new"] < 1150, seen


async def test_a_revision_without_a_ready_endpoint_gets_nothing_and_its_share_goes_to_the_others(gate: Gateway):
    old, new = Engine(name="old"), Engine(name="new")
    async with serving(old, new):
        await gate.apply(served("chat", revision("r1", old, weight=50), revision("r2", new, weight=50)))
        await gate.apply(served("chat", revision("r1", old, weight=50), revision("r2", weight=50)))
        assert await answers(gate, "chat", 50) == {(200, "r1", "old"): 50}


async def test_a_revision_of_weight_zero_stands_in_for_nobody(gate: Gateway):
    canary = Engine(name="canary")
    async with serving(canary):
        await gate.apply(served("chat", revision("r1", weight=100), revision("r2", canary, weight=0)))
        async with gate.ask({"model": "chat"}) as response:
            answer = await response.json()
            assert (response.status, response.headers["retry-after"]) == (503, "2")
            assert response.headers[headers.REVISION] == "r1", "also an error names the revision that was chosen"
            assert answer["error"]["type"] == "server_error"


async def test_a_model_without_any_replica_says_when_to_ask_again(gate: Gateway):
    await gate.apply(served("chat"))
    async with gate.ask({"model": "chat"}) as response:
        assert (response.status, response.headers["retry-after"]) == (503, "2")
        assert (await response.json())["error"]["message"] == "no replica of this model is ready"


async def test_a_client_may_choose_the_revision_whatever_its_weight(gate: Gateway):
    old, new = Engine(name="old"), Engine(name="new")
    async with serving(old, new):
        await gate.apply(served("chat", revision("r1", old, weight=100), revision("r2", new, weight=0)))
        chosen = {"headers": {headers.REVISION: "r2"}}
        assert await answers(gate, "chat", 20, **chosen) == {(200, "r2", "new"): 20}
        status, body, _ = await gate.chat("chat", headers={headers.REVISION: "gone"})
        assert (status, body["error"]["message"][:31]) == (404, "this model has no such revision")


async def test_a_copy_goes_to_the_mirror_and_its_answer_nowhere(gate: Gateway):
    old, new = Engine(name="old"), Engine(name="new")
    mirror = {"mirror": Mirror(revision="r2", percent=100)}
    async with serving(old, new):
        await gate.apply(served("chat", revision("r1", old, weight=100), revision("r2", new, weight=0), **mirror))
        assert await answers(gate, "chat", 10) == {(200, "r1", "old"): 10}

        async def copied() -> bool:
            return len(new.requests) == 10

        await eventually(copied, what="ten copies", tell=lambda: str(new.requests))


async def test_the_full_name_works_and_the_engine_reads_the_name_that_it_knows(gate: Gateway):
    engine = Engine(name="a")
    text = 'I said "model": "team-a/chat" and \\"model\\": too'
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        sent = {"messages": [{"role": "user", "content": text}], "model": "team-a/chat", "user": "ü"}
        async with gate.ask(sent) as response:
            assert response.status == 200
        escaped = json.dumps(sent).replace("team-a/chat", "team-a\\/chat")
        async with gate.ask(data=escaped, headers={"Content-Type": "application/json; charset=utf-8"}) as response:
            assert response.status == 200

        async def chunks() -> Any:
            yield escaped[:20].encode()
            yield escaped[20:].encode()

        async with gate.ask(data=chunks(), headers={"Content-Type": "application/json"}) as response:
            assert response.status == 200
        assert [body for _, _, body in engine.requests] == [{**sent, "model": "chat"}] * 3


async def test_two_that_claim_one_name(gate: Gateway):
    older, younger = Engine(name="older"), Engine(name="younger")
    async with serving(older, younger):
        await gate.apply(
            served("b", revision("r1", younger), served_name="llm", created="2026-02-02T00:00:00Z"),
            served("a", revision("r1", older), served_name="llm", adapter_names=("sql",)),
        )
        assert (await gate.chat("llm"))[1]["served_by"] == "older"
        assert (await gate.chat("team-a/b"))[1] == {
            "object": "chat.completion",
            "model": "llm",
            "served_by": "younger",
        }
        assert (await gate.chat("sql"))[1]["model"] == "sql", "an adapter's name reaches the engine as it is"


async def test_an_unknown_model(gate: Gateway):
    await gate.apply()
    status, answer, _ = await gate.chat("nope")
    assert (status, answer["error"]["code"], answer["error"]["type"]) == (
        404,
        "model_not_found",
        "invalid_request_error",
    )
    assert "nope" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("sent", "kind", "status"),
    [
        (b'{"model": "chat"', "application/json", 400),
        (b"[1, 2]", "application/json", 400),
        (b"", "application/json", 400),
        (b'{"messages": []}', "application/json", 400),
        (b'{"model": 7}', "application/json", 400),
        (b'{"model": null}', "application/json", 400),
        (b'{"model": {"a": 1}}', "application/json", 400),
        (b'{"model": ""}', "application/json", 400),
        (b'{"model": "chat"}', "text/plain", 400),
        (b'{"model": "a\\r\\nx-modelfleet-tenant: b"}', "application/json", 404),
        (b'{"model": "=models"}', "application/json", 404),
        (b'{"model": "' + b"a" * 300 + b'"}', "application/json", 404),
        (b"\xff\xfe\x00", "application/json", 400),
    ],
)
async def test_bodies_that_name_no_model(gate: Gateway, sent: bytes, kind: str, status: int):
    engine = Engine(name="a")
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        async with gate.ask(data=sent, headers={"Content-Type": kind}) as response:
            answer = await response.text()
            assert response.status == status, answer
            assert json.loads(answer)["error"]["type"] == "invalid_request_error"
        assert engine.requests == []


async def test_a_body_above_the_limit(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))

        def of(megabytes: int) -> io.BytesIO:
            return io.BytesIO(json.dumps({"model": "chat", "prompt": "x" * (megabytes * 1024 * 1024)}).encode())

        kind = {"Content-Type": "application/json"}
        async with gate.ask(data=of(40), headers=kind) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (413, "request_too_large")
        async with gate.ask(data=of(20), headers=kind) as response:
            assert response.status == 200, "what is below it passes"


async def test_a_retry_goes_to_another_replica_while_no_byte_has_come(gate: Gateway):
    async def busy(engine: Engine, _request: Any, _body: Any) -> Any:
        return web.json_response({"error": {"message": "busy"}}, status=503)

    bad, good = Engine(name="bad", script=busy), Engine(name="good")
    async with serving(bad, good):
        endpoints = (bad.endpoint, good.endpoint, NOWHERE)
        await gate.apply(served("chat", Revision(name="r1", endpoints=endpoints)))
        assert await answers(gate, "chat", 30) == {(200, "r1", "good"): 30}
        assert bad.requests, "the one that answers 503 was asked too"


async def test_nothing_is_retried_after_the_first_byte(gate: Gateway):
    async def dies(engine: Engine, request: Any, _body: Any) -> Any:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        request.transport.abort()
        return response

    replicas = [Engine(name=str(number), script=dies) for number in range(3)]
    async with serving(*replicas):
        await gate.apply(served("chat", revision("r1", *replicas)))
        async with gate.ask({"model": "chat", "stream": True}) as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
    assert sum(len(replica.requests) for replica in replicas) == 1


async def test_an_engine_that_says_nothing_for_too_long(gate: Gateway):
    async def hangs(engine: Engine, _request: Any, _body: Any) -> Any:
        await engine.go_on.wait()

    silent = Engine(name="silent", script=hangs)
    async with serving(silent):
        await gate.apply(served("chat", revision("r1", silent), timeouts=Timeouts(silence=0.2)))
        status, answer, answered = await gate.chat("chat")
        assert (status, answer["error"]["type"], answered) == (504, "server_error", "r1")
        silent.go_on.set()


STICKY = [Stickiness(by="Cookie", name="c"), Stickiness(by="Header", name="x-session-id"), Stickiness(by="ApiKey")]


@pytest.mark.parametrize("tls", [False, True])
async def test_the_real_binary_accepts_all_that_is_rendered(tmp_path: Path, *, tls: bool):
    endpoints = (NOWHERE, Endpoint(address="127.0.0.1", port=2))
    both = (
        Revision(name="r1", weight=90, endpoints=endpoints),
        Revision(name="r2", weight=10, endpoints=endpoints[:1]),
    )
    models = [
        served("plain", revision("r1", weight=1)),
        served("none"),
        *(served(f"sticky-{one.by.lower()}", *both, stickiness=one) for one in STICKY),
        served("prefix", *both, balance="PrefixAffinity"),
        served("mirror", *both, mirror=Mirror(revision="r1", percent=10), allowed_tenants=("a", "b")),
        served("impatient", *both, timeouts=Timeouts(connect=0.1, silence=3)),
    ]
    whole = Gateway(folder=tmp_path, tls=tls)
    for access in ("Namespaced", "AnyKey", "Open"):
        validate(whole.publish(*models, access=access, rates={"a": 2, "b": 0.5}), folder=tmp_path)


async def test_the_real_binary_refuses_what_it_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    both = (revision("r1", weight=1), revision("r2", weight=1))
    monkeypatch.setattr(render_route, "CHOICE", render_route.CHOICE + "X")
    whole = Gateway(folder=tmp_path)
    with pytest.raises(AssertionError, match="PriorityGroupClusterSpecifierX"):
        validate(whole.publish(served("chat", *both)), folder=tmp_path)
