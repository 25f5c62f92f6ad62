"""Reads what Envoy counts, and engines that answer as vLLM does. Used by tests only."""

import json
from typing import Any

from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from modelfleet.core.routing import measures
from modelfleet.core.routing.measures import Measure
from tests.gateway.engines import Engine
from tests.gateway.envoy import eventually
from tests.gateway.gateway import Gateway

CHAT: dict[str, Any] = {"model": "chat", "messages": []}
LABELS = ("team-a", "chat", "r1", "team-a")


class Counts:
    """One look at the metrics of an Envoy."""

    def __init__(self, text: str) -> None:
        self.samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        self.samples = [s for s in self.samples if s.name.startswith(measures.PREFIX)]

    def of(self, measure: Measure, suffix: str = "", **labels: str) -> dict[tuple[str, ...], float]:
        """Values by the labels that are not given, in the order of the measure."""
        name = measure.name + suffix
        found = {}
        for s in self.samples:
            if s.name == name and all(s.labels.get(k, "") == v for k, v in labels.items()):
                left = tuple(s.labels.get(label, "") for label in measure.labels if label not in labels)
                found[left] = s.value
        return found

    def one(self, measure: Measure, suffix: str = "", **labels: str) -> float:
        return sum(self.of(measure, suffix, **labels).values())


async def look(gate: Gateway) -> Counts:
    url = gate.envoy.admin + "/stats/prometheus?usedonly&filter=modelfleet"
    async with gate.session.get(url) as response:
        return Counts(await response.text())


async def counted(gate: Gateway, measure: Measure, wanted: dict[Any, float], suffix: str = "", **labels: str) -> Counts:
    """Wait until the metric says exactly this; Envoy counts when a request's last byte has gone out.

    One look is not one moment: it may see a request counted and its attempt not yet. So wait for each in turn.
    """
    seen: list[Any] = []

    async def same() -> Counts | None:
        counts = await look(gate)
        seen[:] = [counts.of(measure, suffix, **labels)]
        return counts if seen[0] == wanted else None

    found: Counts = await eventually(same, what=f"{measure.name} {wanted}", tell=lambda: f"{seen}; {gate.seen()}")
    return found


def usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion}


def answer(prompt: int = 7, completion: int = 3, content: str = "hello") -> dict[str, Any]:
    """A chat completion in vLLM's order of fields."""
    message = {"role": "assistant", "content": content, "tool_calls": []}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    head = {"id": "c", "object": "chat.completion", "model": "chat", "choices": choices}
    return {**head, "usage": usage(prompt, completion), "prompt_logprobs": None}


def json_engine(**more: Any) -> Any:
    async def script(_engine: Engine, _request: web.Request, _body: Any) -> web.Response:
        return web.json_response(answer(**more))

    return script


def chunk(content: str = "", **more: Any) -> bytes:
    choices = [{"index": 0, "delta": {"content": content}, "finish_reason": None}]
    return b"data: " + json.dumps({"id": "c", "choices": choices, **more}, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = chunk(choices=[], usage=usage(7, 2))


def stream_engine(*parts: bytes, ending: bytes = DONE) -> Any:
    """Streams as vLLM does: the usage event comes only where it was asked for. `go_on` lets it go on after each part."""

    async def script(engine: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        engine.open_streams += 1
        try:
            for part in parts:
                await response.write(part)
                await engine.go_on.wait()
            if (body.get("stream_options") or {}).get("include_usage"):
                await response.write(USAGE)
            await response.write(ending)
        finally:
            engine.open_streams -= 1
        return response

    return script


HELLO = (chunk("hel"), chunk('lo \\"usage\\":{'))
