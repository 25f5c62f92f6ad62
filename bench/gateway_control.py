"""The control plane at one size: how soon a changed endpoint is routed to, what a change costs, what it takes to hold.

A process of its own, `python -m bench.gateway_control MODELS`, so that its memory is its own; prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.gateway_load import ANSWER, KEY, body, read, written
from bench.gateway_variants import Ours, resident_mb


async def measure(*, models: int, changes: int, core: int, folder: Path) -> dict[str, Any]:
    """Move an endpoint to and fro, add models, and look at this process."""
    ours = Ours(folder=folder, core=core, models=models)
    engines = [await _engine(name) for name in (b"a", b"b")]
    ports = [server.sockets[0].getsockname()[1] for server in engines]
    try:
        await ours.start(engine=ports[0])
        routable = [await _moved(ours, to=ports[n % 2], name=b"ab"[n % 2 : n % 2 + 1]) for n in range(1, changes + 1)]
        cpu = time.process_time()
        renders = [await _rendered(ours, engine=ports[n % 2]) for n in range(changes)]
        cpu = time.process_time() - cpu
        added = [await _added(ours, engine=ports[0], more=n) for n in range(1, max(3, changes // 5))]
    finally:
        ours.child.stop(grace_seconds=3)
        await ours.ads.stop()
    return {
        "routable_ms": round(statistics.median(routable), 2),
        "routable_ms_max": round(max(routable), 2),
        "render_ms": round(statistics.median(renders), 2),
        "cpu_ms_per_change": round(cpu * 1000 / changes, 2),
        "new_model_ms": round(statistics.median(added), 1),
        "memory_mb": round(resident_mb(os.getpid())),
    }


async def _engine(name: bytes) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await read(reader)
                writer.write(written(b"HTTP/1.1 200 OK\r\nserved-by: %s" % name, ANSWER))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


async def _moved(ours: Ours, *, to: int, name: bytes) -> float:
    """Milliseconds from the change to the first request that the new endpoint answers; the old one then has none."""
    first = b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer %s" % KEY.encode()
    request = written(first, body(100))
    reader, writer = await asyncio.open_connection("127.0.0.1", ours.port)
    begun = time.perf_counter()
    ours.publish(to)
    try:
        while True:
            writer.write(request)
            _, headers, _ = await read(reader)
            if headers.get("served-by") == name.decode():
                return (time.perf_counter() - begun) * 1000
            if time.perf_counter() - begun > 20:
                raise AssertionError(f"the endpoint was not routed to in 20 s; {ours.child.tail()}")
    finally:
        writer.close()


async def _rendered(ours: Ours, *, engine: int) -> float:
    begun = time.perf_counter()
    wanted = ours.publish(engine)
    took = (time.perf_counter() - begun) * 1000
    await ours.acknowledged(wanted)
    return took


async def _added(ours: Ours, *, engine: int, more: int) -> float:
    """Milliseconds until Envoy has acknowledged one more model."""
    begun = time.perf_counter()
    wanted = ours.publish(engine, more=more)
    await ours.acknowledged(wanted)
    return (time.perf_counter() - begun) * 1000


def main() -> None:
    """Measure one size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=int, help="LLMDeployments in the route table")
    parser.add_argument("--changes", type=int, default=40, help="how often the endpoint moves")
    parser.add_argument("--envoy-core", type=int, default=0, help="core that Envoy has for itself")
    parser.add_argument("--core", type=int, default=1, help="core of this process")
    given = parser.parse_args()
    os.sched_setaffinity(0, {given.core})
    with tempfile.TemporaryDirectory(prefix="modelfleet-bench-") as folder:
        measured = measure(models=given.models, changes=given.changes, core=given.envoy_core, folder=Path(folder))
        print(json.dumps(asyncio.run(measured)))


if __name__ == "__main__":
    main()
