"""The control plane at one size: how soon a pod's change is routed by, what a change costs, what it takes to hold.

A process of its own, `python -m bench.gateway_control MODELS`, so that its memory is its own; prints one line of JSON. A
change begins as the watch hands it over: what the API server and the network take before is not the control plane's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.gateway_load import ANSWER, KEY, body, read, written
from bench.gateway_objects import Watched
from bench.gateway_variants import Ours
from bench.processes import rss_mib
from e2e.cluster.process import own_address

PORT = 8000
"""Of every engine."""
SURE = 40
"""Requests in a row that one of two equal replicas does not get by chance: less than once in a thousand million times."""
LONGEST_SECONDS = 20.0


class Bench:
    """What is measured: objects as watches show them, and an Envoy that is asked."""

    def __init__(self, *, ours: Ours, models: int) -> None:
        self._ours, self.watched = ours, Watched(models=models, idle=own_address(9))

    async def changed(self, *, replica: int, ready: bool) -> float:
        """Milliseconds from a pod's event to the first request that it answers, or after the last one."""
        name, seen, row = f"engine-{replica}", 0.0, 0
        async with self._client() as ask:
            begun = time.perf_counter()
            self._publish(replica=replica, ready=ready)
            while row < (1 if ready else SURE):
                at = time.perf_counter() - begun
                assert at < LONGEST_SECONDS, f"{name} did not come or go in time; {self._ours.child.tail()}"
                by_it = await ask() == name
                row = row + 1 if by_it == ready else 0
                seen = time.perf_counter() - begun if ready else at if by_it else seen
        return seen * 1000

    def _publish(self, *, replica: int, ready: bool) -> None:
        self.watched.pod("chat", number=replica, address=own_address(replica), ready=ready)
        self._ours.publish(self.watched.objects.fleet())

    async def rendered(self, *, replica: int, ready: bool) -> float:
        """Milliseconds from a pod's event to what goes out; returns when Envoy has taken it in."""
        begun = time.perf_counter()
        self.watched.pod("chat", number=replica, address=own_address(replica), ready=ready)
        snapshot = self._ours.publish(self.watched.objects.fleet())
        took = (time.perf_counter() - begun) * 1000
        await self._ours.acknowledged(snapshot, uid="uid-chat")
        return took

    async def grown(self, *, number: int) -> float:
        """Milliseconds until Envoy has acknowledged one more model."""
        begun = time.perf_counter()
        self.watched.model(f"new-{number}")
        snapshot = self._ours.publish(self.watched.objects.fleet())
        await self._ours.acknowledged(snapshot, uid=f"uid-new-{number}")
        return (time.perf_counter() - begun) * 1000

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Any]:
        """Give a way to ask, by one connection, who answers."""
        first = b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer %s" % KEY.encode()
        request = written(first, body(100))
        reader, writer = await asyncio.open_connection("127.0.0.1", self._ours.port)

        async def ask() -> str:
            writer.write(request)
            _, headers, _ = await read(reader)
            return headers.get("served-by", "")

        try:
            yield ask
        finally:
            writer.close()


async def measure(*, models: int, changes: int, core: int, folder: Path) -> dict[str, Any]:
    """Let a second replica come and go, add models, and look at this process."""
    ours = Ours(folder=folder, core=core)
    bench = Bench(ours=ours, models=models)
    engines = [await _engine(replica) for replica in (1, 2)]
    try:
        bench.watched.pod("chat", number=1, address=own_address(1), ready=True)
        await ours.start(bench.watched.objects.fleet())
        added, removed = [], []
        for _ in range(changes):
            added.append(await bench.changed(replica=2, ready=True))
            removed.append(await bench.changed(replica=2, ready=False))
        cpu = time.process_time()
        renders = [await bench.rendered(replica=2, ready=not n % 2) for n in range(changes)]
        cpu = time.process_time() - cpu
        grown = [await bench.grown(number=n) for n in range(max(2, changes // 5))]
    finally:
        ours.child.stop(grace_seconds=3)
        await ours.ads.stop()
        for server in engines:
            server.close()
    return {
        "added_ms": round(statistics.median(added), 2),
        "added_ms_max": round(max(added), 2),
        "removed_ms": round(statistics.median(removed), 2),
        "removed_ms_max": round(max(removed), 2),
        "render_ms": round(statistics.median(renders), 2),
        "cpu_ms_per_change": round(cpu * 1000 / changes, 2),
        "new_model_ms": round(statistics.median(grown), 1),
        "memory_mb": round(rss_mib(os.getpid())),
    }


async def _engine(number: int) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await read(reader)
                writer.write(written(b"HTTP/1.1 200 OK\r\nserved-by: engine-%d" % number, ANSWER))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return await asyncio.start_server(answer, own_address(number), PORT)


def main() -> None:
    """Measure one size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=int, help="LLMDeployments in the route table")
    parser.add_argument("--changes", type=int, default=40, help="how often the replica comes and goes")
    parser.add_argument("--envoy-core", type=int, default=0, help="core that Envoy has for itself")
    parser.add_argument("--core", type=int, default=1, help="core of this process")
    given = parser.parse_args()
    os.sched_setaffinity(0, {given.core})
    with tempfile.TemporaryDirectory(prefix="modelfleet-bench-") as folder:
        measured = measure(models=given.models, changes=given.changes, core=given.envoy_core, folder=Path(folder))
        print(json.dumps(asyncio.run(measured)))


if __name__ == "__main__":
    main()
