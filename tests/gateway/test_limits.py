"""Requests per second of a tenant, through the real Envoy."""

import asyncio
from typing import Any

import pytest

from modelfleet.core.routing import measures
from modelfleet.core.routing.model import ApiKey
from modelfleet.gateway import headers
from modelfleet.gateway.render_limits import limits
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import eventually, validate
from tests.gateway.gateway import KEY, Gateway, revision, served
from tests.gateway.measuring import counted

OTHER = ApiKey(tenant="team-b", key="key-of-team-b")
ONE_IN_A_HUNDRED_SECONDS = 0.01
LIMITED: dict[str, Any] = {"keys": (KEY, OTHER), "rates": {"team-a": ONE_IN_A_HUNDRED_SECONDS}}


async def test_a_tenant_above_its_rate_is_told_when_to_ask_again_and_no_other_feels_it(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)), access="Open", **LIMITED)
        assert (await gate.chat("chat"))[0] == 200
        async with gate.ask({"model": "chat"}) as response:
            error = (await response.json())["error"]
            assert (response.status, response.headers["retry-after"]) == (429, "2")
            assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
            assert "requests per second" in error["message"]
        assert {(await gate.chat("chat", key=OTHER.key))[0] for _ in range(20)} == {200}
        assert {(await gate.chat("chat", key=None))[0] for _ in range(20)} == {200}
        assert len(engine.requests) == 41, "what is above the rate reaches no engine"


async def test_who_is_limited_is_counted_and_is_no_demand(gate: Gateway):
    await gate.apply(served("chat"), **LIMITED)
    assert [(await gate.chat("chat"))[0] for _ in range(4)] == [503, 429, 429, 429]
    wanted: dict[Any, float] = {("", "", "", "team-a"): 3}
    await counted(gate, measures.REQUESTS, wanted, outcome="overloaded")
    await counted(gate, measures.STARTED, {("team-a", "chat", "", "team-a"): 1})


async def test_nobody_spends_what_belongs_to_another(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)), access="Open", **LIMITED)
        lies = {headers.TENANT: "team-a"}
        for key, status in ((OTHER.key, 200), (None, 200), ("sk-nobody", 401)):
            assert (await gate.chat("chat", key=key, headers=lies))[0] == status
        assert (await gate.chat("chat"))[0] == 200, "its one request was still there"
        lies = {headers.TENANT: "team-b"}
        assert (await gate.chat("chat", headers=lies))[0] == 429, "another's name buys nothing"


async def test_a_rate_of_several_is_a_burst_of_several_and_comes_back(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)), rates={"team-a": 3})
        assert [(await gate.chat("chat"))[0] for _ in range(3)] == [200, 200, 200]

        async def any_of(status: int) -> bool:
            asked = await asyncio.gather(*(gate.chat("chat") for _ in range(10)))
            return status in {found[0] for found in asked}

        await eventually(lambda: any_of(429), what="a request above the rate", tell=gate.seen)
        await eventually(lambda: any_of(200), what="a request when time has passed", tell=gate.seen)


async def test_a_new_rate_acts_at_once_and_cuts_no_stream(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        model = served("chat", revision("r1", engine))
        await gate.apply(model)
        version = await gate.listener_version()
        async with gate.ask({"model": "chat", "stream": True}) as response:
            first = await response.content.readuntil(b"\n\n")

            for rates in ({"team-a": ONE_IN_A_HUNDRED_SECONDS}, {"team-b": 1}, {}):
                gate.publish(model, rates=rates)
                wanted = 429 if "team-a" in rates else 200

                async def acts(wanted: int = wanted) -> bool:
                    return (await gate.chat("chat"))[0] == wanted

                await eventually(acts, what=f"{wanted} with {rates}", tell=gate.seen)
            engine.go_on.set()
            assert (first + await response.read()).endswith(b"data: [DONE]\n\n")
        assert await gate.listener_version() == version


@pytest.mark.parametrize(
    ("rate", "tokens", "seconds"), [(0.01, 1, 100), (1, 1, 1), (2.5, 2, 0.8), (20, 20, 1), (1_000_000, 1_000_000, 1)]
)
def test_a_bucket_holds_one_second(rate: float, tokens: int, seconds: float):
    (found,) = limits({"team-a": rate}).descriptors
    filled = found.token_bucket.fill_interval.ToNanoseconds() / 1e9
    assert (found.token_bucket.max_tokens, found.token_bucket.tokens_per_fill.value) == (tokens, tokens)
    assert filled == pytest.approx(seconds)


async def test_the_real_binary_accepts_every_rate(gate: Gateway):
    rates = {f"t{number}": rate for number, rate in enumerate((0.01, 0.3, 1, 2.5, 19.7, 1_000_000))}
    validate(gate.publish(served("chat"), rates=rates), folder=gate.folder)
