"""Keys, tenants and what a client may not say about itself, through the real Envoy."""

import asyncio
import contextlib
import json
from typing import Any

import pytest

from modelfleet.core.routing.model import ApiKey
from modelfleet.gateway import headers
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import SECONDS
from tests.gateway.gateway import KEY, Gateway, revision, served

OTHER = ApiKey(tenant="team-b", key="key-of-team-b")
KEYS = {"keys": (KEY, OTHER)}


async def statuses(gate: Gateway, model: str) -> dict[str, int]:
    keys = {"a": KEY.key, "b": OTHER.key, "unknown": "sk-nobody", "none": None}
    return {who: (await gate.chat(model, key=key))[0] for who, key in keys.items()}


@pytest.mark.parametrize(
    ("access", "allowed", "wanted"),
    [
        ("Namespaced", (), {"a": 200, "b": 403, "unknown": 401, "none": 401}),
        ("AnyKey", (), {"a": 200, "b": 200, "unknown": 401, "none": 401}),
        ("Open", (), {"a": 200, "b": 200, "unknown": 401, "none": 200}),
        ("Namespaced", ("team-b",), {"a": 403, "b": 200, "unknown": 401, "none": 401}),
        ("AnyKey", ("team-b",), {"a": 403, "b": 200, "unknown": 401, "none": 401}),
        ("Open", ("team-b",), {"a": 403, "b": 200, "unknown": 401, "none": 401}),
    ],
)
async def test_who_may_use_a_model(gate: Gateway, access: str, allowed: tuple[str, ...], wanted: dict[str, int]):
    engine = Engine(name="a")
    async with serving(engine):
        model = served("chat", revision("r1", engine), allowed_tenants=allowed)
        await gate.apply(model, access=access, **KEYS)
        assert await statuses(gate, "chat") == wanted


async def test_an_open_gateway_takes_the_placeholder_that_clients_send_where_no_key_is_needed(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)), access="Open")
        assert (await gate.chat("chat", key="EMPTY"))[0] == 200
        await gate.apply(served("chat", revision("r1", engine)), access="AnyKey")
        assert (await gate.chat("chat", key="EMPTY"))[0] == 401


async def test_a_tenant_may_have_other_namespaces_than_its_own(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        models = (served("chat", revision("r1", engine)), served("x", revision("r1", engine), namespace="team-b"))
        await gate.apply(*models, namespaces={"team-b": ("team-a", "shared")}, **KEYS)
        assert (await statuses(gate, "chat"))["b"] == 200
        assert (await statuses(gate, "x"))["b"] == 403, "its own namespace is given up by naming others"


async def test_errors_are_shaped_as_clients_expect(gate: Gateway):
    await gate.apply(served("chat"), **KEYS)
    status, answer, _ = await gate.chat("chat", key=None)
    assert (status, answer["error"]["type"], answer["error"]["code"]) == (
        401,
        "authentication_error",
        "invalid_api_key",
    )
    status, answer, _ = await gate.chat("chat", key=OTHER.key)
    assert (status, answer["error"]["type"]) == (403, "permission_error")


async def test_a_list_of_models_shows_what_the_key_may_use(gate: Gateway):
    models = (
        served("chat", adapter_names=("sql",)),
        served("code", namespace="team-b"),
        served("both", namespace="shared", allowed_tenants=("team-a", "team-b")),
        served("late", namespace="team-a", served_name="chat", created="2026-03-03T00:00:00Z"),
    )
    await gate.apply(*models, **KEYS)

    async def listed(key: str | None) -> Any:
        async with gate.ask(path="/v1/models", method="GET", key=key) as response:
            assert response.headers["content-type"] == "application/json"
            body = await response.json()
            return (response.status, sorted(one["id"] for one in body.get("data", [])))

    assert await listed(KEY.key) == (200, ["both", "chat", "sql", "team-a/late"])
    assert await listed(OTHER.key) == (200, ["both", "code"])
    assert (await listed(None))[0] == 401
    await gate.apply(*models, access="Open", **KEYS)
    assert await listed(None) == (200, ["chat", "code", "sql", "team-a/late"])


async def test_what_a_client_says_of_itself_does_not_count(gate: Gateway):
    engine, secret = Engine(name="a"), Engine(name="secret")
    async with serving(engine, secret):
        models = (served("chat", revision("r1", engine)), served("x", revision("r1", secret), namespace="team-b"))
        await gate.apply(*models, **KEYS)
        lies = {
            headers.TENANT: "team-b",
            headers.MODEL: "x",
            headers.PREFIX: "f",
            "x-envoy-upstream-rq-timeout-ms": "1",
            "x-envoy-max-retries": "99",
            "x-envoy-original-path": "/metrics",
        }
        assert (await gate.chat("x", headers=lies))[0] == 403
        assert (await gate.chat("chat", headers=lies))[1]["served_by"] == "a"
        assert (await gate.chat("chat", headers=lies, key=None))[0] == 401
        got = {name.lower(): value for name, value in engine.requests[0][1].items()}
        assert (got[headers.TENANT], got[headers.MODEL]) == ("team-a", "team-a/chat")
        assert not {"authorization", "api-key", headers.PREFIX, "x-envoy-max-retries"} & got.keys()
        assert KEY.key not in json.dumps(got)
        assert secret.requests == []


async def test_an_anonymous_client_cannot_name_a_tenant(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        models = (
            served("chat", revision("r1", engine)),
            served("x", revision("r1", engine), allowed_tenants=("team-b",)),
        )
        await gate.apply(*models, access="Open", **KEYS)
        assert (await gate.chat("x", key=None, headers={headers.TENANT: "team-b"}))[0] == 401
        assert (await gate.chat("chat", key=None, headers={headers.TENANT: "team-b"}))[0] == 200
        assert headers.TENANT not in {name.lower() for name in engine.requests[0][1]}


async def test_a_key_works_in_the_other_header_too(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        assert (await gate.chat("chat", key=None, headers={"api-key": KEY.key}))[0] == 200
        assert KEY.key not in json.dumps(engine.requests[0][1])


async def test_two_tenants_with_one_key_break_nothing(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)), keys=(KEY, ApiKey(tenant="team-z", key=KEY.key)))
        assert (await gate.chat("chat"))[0] == 200


async def test_no_key_stands_in_a_dump(gate: Gateway):
    await gate.apply(served("chat"), **KEYS)
    dump = json.dumps(await gate.envoy.ask("/config_dump?include_eds"))
    assert "team-b" in dump, "the table is in it"
    assert KEY.key not in dump
    assert OTHER.key not in dump
    assert KEY.key not in repr(gate.fleet)


SMUGGLED = {
    "two lengths": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 60\r\n\r\n",
    "length and chunks": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
    "a folded header": b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-A: b\r\n x-modelfleet-tenant: team-b\r\n\r\n",
    "a space before the colon": b"GET /v1/models HTTP/1.1\r\nHost: x\r\nx-modelfleet-tenant : team-b\r\n\r\n",
    "a bare newline in a value": b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-A: b\rc\r\n\r\n",
    "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "escaped slashes": b"GET /v1%2fmodels HTTP/1.1\r\nHost: x\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.mark.parametrize("sent", SMUGGLED.values(), ids=SMUGGLED.keys())
async def test_malformed_requests_reach_no_engine(gate: Gateway, sent: bytes):
    engine = Engine(name="a")
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        host, _, port = gate.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        async with asyncio.timeout(SECONDS):
            head = await reader.readline()
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()
        assert head.split(b" ")[1:2] in ([b"400"], [b"401"]), head
        assert (await gate.chat("chat"))[0] == 200, "the gateway is well"
        assert len(engine.requests) == 1
