"""The scripted engines: one that dies is dead at once, as a killed pod is, or a test would blame the gateway."""

import asyncio

from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import SECONDS

ASKED = b"GET / HTTP/1.1\r\nHost: one\r\n\r\n"


async def read(reader: asyncio.StreamReader) -> bytes:
    """All that still comes; a reset ends it."""
    try:
        async with asyncio.timeout(SECONDS):
            return await reader.read()
    except ConnectionError:
        return b""


async def test_a_dead_engine_answers_on_no_connection():
    one = Engine(name="one")
    async with serving(one):
        used, used_writer = await asyncio.open_connection(one.address, one.port)
        used_writer.write(ASKED)
        assert b"200" in await used.readline()
        fresh, fresh_writer = await asyncio.open_connection(one.address, one.port)
        await one.die()
        for writer in (used_writer, fresh_writer):
            writer.write(ASKED)
        await read(used)
        assert await read(fresh) == b"", "nobody had asked on it before"
        assert len(one.requests) == 1
