"""Readiness and liveness for the kubelet, on a port of their own.

A few lines of HTTP/1.0 over asyncio. It must not compute anything: it shows what it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass

_READ_TIMEOUT = 5


@dataclass(frozen=True, kw_only=True)
class State:
    """What the probes are told."""

    ready: bool
    live: bool
    phase: str
    message: str


async def serve(*, port: int, state: Callable[[], State]) -> asyncio.Server:
    """Serve `/modelfleet/ready` and `/modelfleet/live`: 200 or 503, with the state as JSON.

    Raises:
        OSError: the port is taken.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(_READ_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].split(b"?")[0].decode(errors="replace")
                now = state()
                verdict = {"/modelfleet/ready": now.ready, "/modelfleet/live": now.live}.get(path)
                line = {True: "200 OK", False: "503 Service Unavailable", None: "404 Not Found"}[verdict]
                body = json.dumps({"phase": now.phase, "message": now.message}).encode()
                writer.write(
                    f"HTTP/1.0 {line}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            writer.close()
            await writer.wait_closed()

    return await asyncio.start_server(answer, host=None, port=port, limit=8192)
