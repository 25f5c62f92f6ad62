"""What the gateway costs beside plain Envoy and other routers, and how soon its control plane acts.

The thing under test has one core, engine and clients the other; rounds are interleaved, so that what else runs here hits
all alike. CPU is the process's own, times are what a client sees beyond asking the engine itself. Ratios are medians of
the rounds' ratios to plain Envoy. The last line of output is one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import gateway_load as load
from bench.gateway_variants import PEERS, Ours, Variant, answering, everything_on, installed, peer, plain

SIZES = {"100b": 100, "8k": 8 * 1024, "100k": 100 * 1024}
CLIENTS = 8
CORE, OTHER_CORE = 0, 1
START_SECONDS = 90
PROMISED_MS = 50
"""From a pod's change to what requests see of it, at any size."""
PEERS_DIR = Path("build/bench-peers").resolve()
DIRECT, PLAIN = "engine alone", "envoy"
Figures = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured."""

    rounds: int
    seconds: float
    models: tuple[int, ...]
    changes: int
    peers: tuple[str, ...]


FULL = Plan(rounds=5, seconds=1.5, models=(10, 100, 1000), changes=40, peers=tuple(PEERS))
QUICK = Plan(rounds=2, seconds=0.4, models=(10, 100), changes=10, peers=())


def say(text: str) -> None:
    """Show progress."""
    print(text, flush=True)


@contextlib.asynccontextmanager
async def variants(plan: Plan, *, folder: Path) -> AsyncIterator[list[Variant]]:
    """Start everything that can be compared here."""
    engine = await asyncio.start_server(load.engine, "127.0.0.1", 0, limit=1024 * 1024)
    at = engine.sockets[0].getsockname()[1]
    ours = Ours(folder=folder, core=CORE)
    started = [
        Variant(name=DIRECT, port=at),
        plain(folder, engine=at, core=CORE),
        await ours.start(everything_on(engine=at)),
    ]
    for name in plan.peers:
        if (home := installed(name, folder=PEERS_DIR)) is None:
            say(f"{name}: left out, it cannot be installed here")
        else:
            started.append(peer(name, home=home, folder=folder, engine=at, core=CORE))
    try:
        ready = []
        for variant in started:
            if variant.child and not variant.child.alive:
                variant.child.start()
            if await answering(variant, seconds=START_SECONDS):
                ready.append(variant)
            else:
                say(f"{variant.name}: left out, it does not answer; {variant.child.tail() if variant.child else ''}")
        yield ready
    finally:
        for variant in started:
            if variant.child:
                variant.child.stop(grace_seconds=3)
        await ours.ads.stop()
        engine.close()


async def once(variant: Variant, *, seconds: float) -> dict[str, float]:
    """Measure one variant for one round."""
    client, found = load.Client(variant.port), {}
    for size, number in SIZES.items():
        before = variant.cpu_ns
        seen = await client.ask(number, clients=CLIENTS, seconds=seconds)
        found[f"cpu_us_{size}"] = (variant.cpu_ns - before) / 1000 / max(1, seen.requests)
        found["failed"] = found.get("failed", 0) + seen.failed
    alone = await client.ask(SIZES["8k"], clients=1, seconds=seconds)
    streamed = await client.stream()
    found |= {"p50_ms": alone.at(0.5), "p99_ms": alone.at(0.99)}
    found |= {"chunk_p50_ms": streamed.at(0.5), "chunk_p99_ms": streamed.at(0.99)}
    found["failed"] += alone.failed + streamed.failed
    found["memory_mb"] = variant.memory_mb
    return found


async def compare(plan: Plan, *, folder: Path) -> dict[str, dict[str, float]]:
    """Measure all variants in turn, round by round."""
    seen: dict[str, Figures] = defaultdict(lambda: defaultdict(list))
    async with variants(plan, folder=folder) as ready:
        for number in range(plan.rounds):
            for variant in ready:
                for name, value in (await once(variant, seconds=plan.seconds)).items():
                    seen[variant.name][name].append(value)
            say(f"round {number + 1} of {plan.rounds}")
    direct, base = seen.pop(DIRECT), seen[PLAIN]
    return {name: _summary(figures, base=base, direct=direct) for name, figures in seen.items()}


def _summary(figures: Figures, *, base: Figures, direct: Figures) -> dict[str, float]:
    def median(values: Sequence[float], digits: int) -> float:
        return round(statistics.median(values), digits)

    summary = {}
    for size in SIZES:
        cpu = f"cpu_us_{size}"
        summary[cpu] = median(figures[cpu], 1)
        summary[f"cpu_ratio_{size}"] = median([a / b for a, b in zip(figures[cpu], base[cpu], strict=True)], 2)
    for name in ("p50_ms", "p99_ms", "chunk_p50_ms", "chunk_p99_ms"):
        summary[f"added_{name}"] = median([a - b for a, b in zip(figures[name], direct[name], strict=True)], 3)
    return {**summary, "memory_mb": round(max(figures["memory_mb"]), 1), "failed": sum(figures["failed"])}


def control(plan: Plan) -> dict[str, Any]:
    """Measure the control plane at each size, in a process of its own."""
    found = {}
    for models in plan.models:
        argv = [sys.executable, "-m", "bench.gateway_control", str(models), "--changes", str(plan.changes)]
        argv += ["--envoy-core", str(CORE), "--core", str(OTHER_CORE)]
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, timeout=240, check=True)
        found[str(models)] = json.loads(done.stdout.splitlines()[-1])
        late = [name for name in ("added_ms", "removed_ms") if found[str(models)][name] > PROMISED_MS]
        say(f"control plane with {models} models" + (f": above {PROMISED_MS} ms: {', '.join(late)}" if late else ""))
    return found


def show(title: str, rows: dict[str, dict[str, Any]]) -> None:
    """Print figures, one column each."""
    table = Table("figure", *rows, title=title)
    for figure in next(iter(rows.values()), {}):
        table.add_row(figure, *(str(row[figure]) for row in rows.values()))
    Console(width=140).print(table)


def main() -> None:
    """Measure and print; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute: plain Envoy and ours, 10 and 100 models")
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds (default {FULL.rounds})")
    parser.add_argument("--no-peers", action="store_true", help="leave out the routers from PyPI")
    given = parser.parse_args()
    plan = QUICK if given.quick else FULL
    if given.rounds or given.no_peers:
        peers = () if given.no_peers else plan.peers
        plan = Plan(**{**vars(plan), "rounds": given.rounds or plan.rounds, "peers": peers})
    os.sched_setaffinity(0, {OTHER_CORE})
    with tempfile.TemporaryDirectory(prefix="modelfleet-bench-") as folder:
        compared = asyncio.run(compare(plan, folder=Path(folder)))
    show("one core, one engine that answers at once", compared)
    controlled = control(plan)
    show("control plane, by number of models", controlled)
    print(json.dumps({**compared, "control": controlled}))


if __name__ == "__main__":
    main()
