"""What Envoy counts of requests whose tries go to more than one revision: each for whom it says something."""

from typing import Any

import pytest
from aiohttp import web

from modelfleet.core.routing import measures
from modelfleet.core.routing.model import Endpoint, Revision
from tests.gateway.engines import Engine, serving
from tests.gateway.gateway import NOWHERE, Gateway, revision, served
from tests.gateway.measuring import CHAT, LABELS, counted, json_engine, stream_engine

ALSO_NOWHERE = Endpoint(address="127.0.0.2", port=1)
ON_R2 = ("team-a", "chat", "r2", "team-a")


async def full(_engine: Engine, _request: web.Request, _body: Any) -> web.Response:
    return web.json_response({"error": {"message": "full"}}, status=503)


@pytest.mark.parametrize(("dead", "stay"), [((NOWHERE,), 1), ((NOWHERE, ALSO_NOWHERE), 3)], ids=["lone", "two"])
async def test_a_request_that_another_revision_answers_counts_against_the_one_that_could_not(
    gate: Gateway, dead: tuple[Endpoint, ...], stay: int
):
    """Of two replicas that are both dead all tries but the last are theirs, and nothing is lost either."""
    stable = Engine(name="stable", script=json_engine())
    async with serving(stable):
        canary = Revision(name="r2", weight=50, endpoints=dead)
        await gate.apply(served("chat", revision("r1", stable, weight=50), canary))
        for _ in range(40):
            assert (await gate.chat("chat"))[::2] == (200, "r1")
    counts = await counted(gate, measures.REQUESTS, {(*LABELS, "ok"): 40})
    await counted(gate, measures.ATTEMPTS, {LABELS: 40}, outcome="ok")
    drawn = counts.one(measures.STARTED, revision="r2")
    assert 0 < drawn < 40
    await counted(gate, measures.ATTEMPTS, {ON_R2: stay * drawn}, outcome="unreachable")
    await counted(gate, measures.FIRST_ATTEMPTS, {ON_R2: drawn}, outcome="unreachable")
    await counted(gate, measures.FIRST_ATTEMPTS, {LABELS: 40 - drawn}, outcome="ok")
    await counted(gate, measures.ATTEMPTS_STARTED, {ON_R2: stay * drawn, LABELS: 40})
    await counted(gate, measures.STARTED, {ON_R2: drawn, LABELS: 40 - drawn})
    await counted(gate, measures.IN_FLIGHT, {LABELS: 0})


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_request_that_no_revision_can_answer_counts_once_where_it_was_drawn(gate: Gateway, replicas: int):
    """Its retries on the other revision are tries there, but say nothing about that revision."""
    stable = [Engine(name=f"stable-{number}", script=full) for number in range(replicas)]
    canary = Engine(name="canary", script=full)
    async with serving(*stable, canary):
        await gate.apply(served("chat", revision("r1", *stable, weight=50), revision("r2", canary, weight=50)))
        answers = [await gate.chat("chat") for _ in range(40)]
        assert {status for status, *_ in answers} == {503}
        # The last try is always the other's. Of two replicas' requests it alone, of a lone one's all but the first.
        drawn = sum(answered == "r1" for *_, answered in answers)
        assert 0 < drawn < 40
        left = (40 - drawn) * (1 if replicas > 1 else 3)
        tries = {ON_R2: drawn + left, LABELS: 160 - drawn - left}
        await counted(gate, measures.ATTEMPTS, tries, outcome="unavailable")
        await counted(gate, measures.FIRST_ATTEMPTS, {ON_R2: drawn, LABELS: 40 - drawn}, outcome="unavailable")


async def test_an_error_inside_a_stream_counts_where_the_request_was_drawn_and_not_where_it_was_retried(gate: Gateway):
    stable = Engine(name="stable", script=full)
    canary = Engine(name="canary", script=stream_engine(b'data: {"error": {"message": "engine died"}}\n\n'))
    canary.go_on.set()
    async with serving(stable, canary):
        await gate.apply(served("chat", revision("r1", stable, weight=50), revision("r2", canary, weight=50)))
        for _ in range(40):
            async with gate.ask({**CHAT, "stream": True}) as response:
                assert response.status == 200
                await response.read()
    await counted(gate, measures.REQUESTS, {(*ON_R2, "failed"): 40})
    drawn = 40 - len(stable.requests)
    assert 0 < drawn < 40
    wanted = {(*ON_R2, "ok"): drawn, (*ON_R2, "failed"): drawn, (*LABELS, "unavailable"): 40 - drawn}
    await counted(gate, measures.FIRST_ATTEMPTS, wanted)
