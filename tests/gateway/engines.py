"""Scripted engines: small HTTP servers that answer as vLLM does, in JSON or as a stream of events. Tests only."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from modelfleet.core.routing.model import Endpoint

Script = Callable[["Engine", web.Request, dict[str, Any]], Any]


@dataclass(kw_only=True)
class Engine:
    """One engine, and what it was asked."""

    name: str
    script: Script | None = None
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    open_streams: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Lets every stream go on after its first event."""
    address: str = "127.0.0.1"
    port: int = 0
    strict: bool = True
    """Whether every body must be JSON; else what is not counts as an empty object."""
    dead: bool = False
    site: Any = field(default=None, repr=False)
    runner: Any = field(default=None, repr=False)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(address=self.address, port=self.port)

    async def die(self) -> None:
        """End as a killed pod does: every connection is reset and none is taken any more."""
        self.dead = True
        await self.site.stop()
        # also those on which nobody has asked yet: Envoy keeps one whose request another took, and would use it later
        for connection in self.runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.dead and request.transport is not None:  # taken before the end, but not yet handed to the server then
            request.transport.abort()
            return web.Response()
        raw = await request.read()
        body = {}
        with contextlib.nullcontext() if self.strict else contextlib.suppress(ValueError, RecursionError):
            body = json.loads(raw) if raw else {}
        self.requests.append((request.path, dict(request.headers), body))
        if self.script is not None:
            answered = await self.script(self, request, body)
            if answered is not None:
                return answered
        if body.get("stream"):
            return await self.stream(request, body)
        return web.json_response({"object": "chat.completion", "model": body.get("model"), "served_by": self.name})

    async def stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.open_streams += 1
        try:
            for number in range(int(body.get("max_tokens", 3))):
                await response.write(event(self.name, number))
                await self.go_on.wait()
            await response.write(b"data: [DONE]\n\n")
        finally:
            self.open_streams -= 1
        return response


def event(name: str, number: int) -> bytes:
    chunk = {"object": "chat.completion.chunk", "served_by": name, "choices": [{"delta": {"content": f"t{number}"}}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


@contextlib.asynccontextmanager
async def serving(*engines: Engine) -> AsyncIterator[None]:
    """Let engines listen on free ports of loopback."""
    async with contextlib.AsyncExitStack() as stack:
        for engine in engines:
            app = web.Application(client_max_size=64 * 1024 * 1024)
            app.router.add_route("*", "/{path:.*}", engine.answer)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, engine.address, engine.port, backlog=2048)  # as vLLM's server has it
            await site.start()
            engine.site, engine.runner = site, runner
            engine.port = runner.addresses[0][1]
        yield
