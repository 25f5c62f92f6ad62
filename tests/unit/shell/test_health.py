"""What the probes are told: a task that ended is a failure of the process, what cannot be listed is not being ready."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from e2e.cluster.process import free_ports
from modelfleet.shell.health import Health, serve

Probe = tuple[int, str]
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture
async def asked() -> AsyncIterator[tuple[Health, httpx.AsyncClient]]:
    """A process' health, and a client of its server."""
    health, (port,) = Health(), free_ports(1)
    runner = await serve(health=health, port=port)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=PLAIN, trust_env=False) as client:
        yield health, client
    await runner.cleanup()


async def probe(client: httpx.AsyncClient, path: str) -> Probe:
    answer = await client.get(path)
    return answer.status_code, answer.text


async def test_a_task_that_ended_is_named(asked: tuple[Health, httpx.AsyncClient]) -> None:
    health, client = asked
    stop = asyncio.Event()
    waiting = [asyncio.create_task(_wait(stop), name=name) for name in ("worker-0", "worker-1")]
    health.tasks = waiting
    assert await probe(client, "/healthz") == (200, "ok")
    waiting[1].cancel()
    await asyncio.wait([waiting[1]])
    assert await probe(client, "/healthz") == (503, "worker-1")
    stop.set()
    await asyncio.wait(waiting)
    assert await probe(client, "/healthz") == (503, "worker-0; worker-1")


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


async def test_it_is_ready_while_nothing_keeps_it_from_its_work(asked: tuple[Health, httpx.AsyncClient]) -> None:
    health, client = asked
    assert await probe(client, "/readyz") == (503, "starting")
    health.tell("")
    assert await probe(client, "/readyz") == (200, "ok")
    health.tell("no CRD")
    assert await probe(client, "/readyz") == (503, "no CRD")
    assert await probe(client, "/healthz") == (200, "ok"), "a restart would not help"
