"""An engine that answers at once and a client that asks, both small, in one event loop on one core; and what was seen.

Bounded: so many connections, so many seconds, loopback only. Must not know what is between the two.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

CHUNKS = 20
CHUNK_SECONDS = 0.005
STREAMS = 8
KEY = "key-of-team-a"


def body(size: int, *, stream: bool = False) -> bytes:
    """A chat of about this many bytes."""
    message = {"role": "user", "content": ""}
    asked = {"model": "chat", "max_tokens": CHUNKS, "stream": stream, "messages": [message]}
    missing = size - len(json.dumps(asked))
    message["content"] = ("the quick brown fox jumps over the lazy dog " * (missing // 44 + 1))[: max(0, missing)]
    return json.dumps(asked).encode()


USAGE = {"prompt_tokens": 7, "total_tokens": 27, "completion_tokens": CHUNKS}
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "chat",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello " * 40}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()
OTHER = json.dumps({"object": "list", "status": "ok", "data": [{"id": "chat", "object": "model"}]}).encode()


async def read(reader: asyncio.StreamReader) -> tuple[bytes, Mapping[str, str], bytes]:
    """Read one message of HTTP/1.1 whole: first line, headers, body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if "content-length" in headers:
        return head[0].encode(), headers, await reader.readexactly(int(headers["content-length"]))
    if headers.get("transfer-encoding") == "chunked":
        return head[0].encode(), headers, b"".join([part async for part in chunks(reader)])
    return head[0].encode(), headers, b""


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Give the chunks of a chunked body as they come."""
    while size := int((await reader.readline()).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)


def written(first: bytes, payload: bytes, kind: bytes = b"application/json") -> bytes:
    """Write one message with a known length."""
    return b"%s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (first, kind, len(payload), payload)


async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a connection's requests; every event of a stream carries when it was sent."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            first, _, payload = await read(reader)
            if not first.startswith(b"POST /v1/chat"):
                writer.write(written(b"HTTP/1.1 200 OK", OTHER))
            elif b'"stream": true' in payload or b'"stream":true' in payload:
                await _stream(writer)
            else:
                writer.write(written(b"HTTP/1.1 200 OK", ANSWER))
    writer.close()


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(CHUNKS):
        sent = f"at{time.perf_counter_ns()} "
        delta = [{"index": 0, "delta": {"role": "assistant", "content": sent}, "finish_reason": None}]
        event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "chat", "choices": delta}
        _event(writer, b"data: " + json.dumps(event).encode() + b"\n\n")
        await asyncio.sleep(CHUNK_SECONDS)
    _event(writer, b"data: [DONE]\n\n")
    writer.write(b"0\r\n\r\n")


def _event(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


@dataclass(kw_only=True)
class Seen:
    """What clients saw; times in milliseconds."""

    requests: int = 0
    failed: int = 0
    times: list[float] = field(default_factory=list)

    def at(self, share: float) -> float:
        """A quantile of the times."""
        return statistics.quantiles(self.times, n=1000, method="inclusive")[round(share * 1000) - 1]


class Client:
    """Asks one address."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def ask(self, size: int, *, clients: int, seconds: float) -> Seen:
        """Ask for so long with so many connections, each its next request when the last is answered."""
        seen, until = Seen(), time.monotonic() + seconds
        request = self._request(body(size))

        async def one() -> None:
            async with self._connection() as (reader, writer):
                while time.monotonic() < until:
                    begun = time.perf_counter_ns()
                    writer.write(request)
                    status, _, _ = await read(reader)
                    seen.times.append((time.perf_counter_ns() - begun) / 1e6)
                    seen.requests += 1
                    seen.failed += b" 200 " not in status + b" "

        await asyncio.gather(*(one() for _ in range(clients)))
        return seen

    async def stream(self) -> Seen:
        """Read some streams beside each other; the times are how long their events were on the way."""
        seen, request = Seen(), self._request(body(8192, stream=True))

        async def one() -> None:
            async with self._connection() as (reader, writer):
                writer.write(request)
                await reader.readuntil(b"\r\n\r\n")
                async for part in chunks(reader):
                    now = time.perf_counter_ns()
                    seen.times += [(now - int(text.split()[0])) / 1e6 for text in part.decode().split('"at')[1:]]

        await asyncio.gather(*(one() for _ in range(STREAMS)))
        seen.requests, seen.failed = len(seen.times), STREAMS * CHUNKS - len(seen.times)
        return seen

    def _request(self, payload: bytes) -> bytes:
        first = b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer %s" % KEY.encode()
        return written(first, payload)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            yield reader, writer
        finally:
            writer.close()
