"""What a canary is judged by, the whole way: a real Envoy counts, a real Prometheus scrapes, the analysis reads."""

import math
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from modelfleet.adapters.analysis import PrometheusAnalysis
from modelfleet.adapters.asking import PrometheusOptions
from modelfleet.core.judgement.inputs import Window
from modelfleet.core.judgement.question import Question
from modelfleet.core.judgement.window import window
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import eventually
from tests.gateway.gateway import Gateway, revision, served
from tests.gateway.measuring import json_engine, stream_engine
from tests.unit.adapters.prometheus_server import prometheus

pytestmark = pytest.mark.slow

INTERVAL = 5
"""Seconds of a block; a sample is fresh for one and a half, in which a busy machine must have scraped once."""
BAD = b'data: {"error": {"message": "engine died", "code": 500}}\n\n'


async def moody(engine: Engine, request: web.Request, body: Any) -> Any:
    """Answers as the prompt asks it to."""
    wish = body["messages"][0]["content"]
    if wish == "fail":
        return web.json_response({"error": {"message": "no"}}, status=500)
    if wish == "break":
        return await stream_engine(BAD)(engine, request, body)
    return await json_engine(content="" if wish == "nothing" else "hello")(engine, request, body)


async def ask(gate: Gateway, wish: str, *, of: str, times: int = 1) -> None:
    messages = [{"role": "user", "content": wish}]
    for _ in range(times):
        body = {"model": "chat", "messages": messages, "stream": wish == "break"}
        async with gate.ask(body, headers={"x-modelfleet-revision": of}) as response:
            await response.read()


def summed(seen: Window, arm: str, metric: str) -> tuple[float, float]:
    counts = [one.known(metric) for block in seen.blocks if (one := getattr(block, arm))]
    return sum(c.bad for c in counts if c), sum(c.total for c in counts if c)


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="apt-get install prometheus")
async def test_what_clients_met_is_what_is_judged(gate: Gateway, tmp_path: Path):
    stable, canary = Engine(name="r1", script=moody), Engine(name="r2", script=moody)
    canary.go_on.set()
    target = {"targets": [gate.envoy.admin.removeprefix("http://")], "labels": {"namespace": "gw", "pod": "envoy-0"}}
    job = {"job_name": "envoy", "metrics_path": "/stats/prometheus", "static_configs": [target]}
    async with serving(stable, canary):
        await gate.apply(served("chat", revision("r1", stable, weight=75), revision("r2", canary, weight=25)))
        await ask(gate, "hello", of="r1")
        scraped = "envoy_modelfleet_requests_started_total"
        with prometheus(folder=tmp_path, scrape_configs=[job], until=scraped, at_least=1) as url:
            since = math.ceil(time.time())

            async def begun() -> bool:
                # What a try may have shown before the window is not counted in its first block.
                return time.time() > since + INTERVAL

            await eventually(begun, what="the second block")
            await ask(gate, "hello", of="r1", times=5)
            for wish, times in (("hello", 6), ("fail", 3), ("break", 1), ("nothing", 2)):
                await ask(gate, wish, of="r2", times=times)
            analysis = PrometheusAnalysis(options=PrometheusOptions(url=url))
            looks: list[Any] = []

            async def counted() -> bool:
                question = Question(
                    namespace="team-a",
                    name="chat",
                    stable="r1",
                    canary="r2",
                    since=since,
                    now=time.time(),
                    interval_seconds=INTERVAL,
                    warmup_seconds=0,
                    ttft_within=1,
                    inter_token_within=0.05,
                )
                answers = await analysis.fetch(question)
                seen = window(answers, now=question.now, weight=0.25, serving={})
                started = [
                    sum(one.started for block in seen.blocks if (one := getattr(block, arm)))
                    for arm in ("canary", "stable")
                ]
                looks[:] = [answers.errors, started, [summed(seen, arm, "errors") for arm in ("canary", "stable")]]
                # The stream that broke inside is an error beside its try, which ended well.
                return looks == [(), [12, 5], [(4, 13), (0, 5)]]

            try:
                await eventually(counted, what="the same counts", tell=lambda: str(looks))
            finally:
                analysis.close()
