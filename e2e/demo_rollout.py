"""The end of the demo: a canary that is promoted by what it measures, and one that rolls itself back.

Called by `demo`, which has brought up the cluster, the model and a tenant with a key. It must not judge: what it shows
is what the operator says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console

from e2e import fleet
from e2e.edge import Edge
from e2e.llm import Llm
from e2e.rollouts import ANALYSIS, MEASURED, Json, line, reasons, weights
from modelfleet.cli.rollout_view import serving

SECONDS = 600.0
SAMPLES_SECONDS = 15.0
STREAMS = 16
TOKENS = 8
"""A small machine, a real model: short answers give the requests that a verdict needs."""
BOUNDS: dict[str, Json] = {"ttft": {"within": 2.5}, "interToken": {"within": 2.5}}
ROLLOUT: dict[str, Any] = {
    "strategy": "Canary",
    # One step: half of sixteen clients is more than one request at a time can serve.
    "canary": {"steps": [{"weight": 50}]},
    "analysis": {
        **ANALYSIS,
        "minSeconds": 30,
        "warmupSeconds": 10,
        "metrics": [{**metric, **BOUNDS.get(metric["name"], {}), "maxDropFromStable": 0.1} for metric in MEASURED],
    },
    "scaleDownDelaySeconds": 10,
    "abortScaleDownDelaySeconds": 5,
}
PARALLEL = "--max-num-seqs={}"
ENOUGH = 16
"""Requests at once that nobody has to wait for."""
WORSE = PARALLEL.format(1)


class RolloutError(Exception):
    """A rollout did not end as it should; the message says where it stood."""


def show(*, namespace: str, name: str, by: Edge, console: Console) -> None:
    """Roll out a better and a worse revision under load, and print each change of weights, samples and verdicts.

    Raises:
        RolloutError: one of them did not end in time, or otherwise than by itself.
    """
    llm = Llm(namespace=namespace, name=name)
    body, before = llm.body(), serving(llm.status())
    spec = body["spec"]
    # Another number each time: to go back to what a demo before promoted would not be judged.
    better = PARALLEL.format(ENOUGH + body["metadata"]["generation"])
    # One replica is enough here: what is shown is not scaling.
    llm.patch({"rollout": ROLLOUT, "scaling": {"maxReplicas": 1}})
    fleet.stop_load(namespace=namespace)
    fleet.send_load(namespace=namespace, name=name, streams=STREAMS, seconds=2 * SECONDS, tokens=TOKENS, by=by)
    try:
        _ask(llm, console=console, argument=better, why="more requests at once")
        now = _until(llm, lambda s: serving(s) not in {"", before}, what="a promotion", console=console)
        console.print(f"[green]✓[/] promoted by itself: {serving(now)} has all the traffic")
        _ask(llm, console=console, argument=WORSE, why="one request at a time, so others wait")
        now = _until(llm, lambda s: reasons(s)[-1:] == ["RolledBack"], what="a rollback", console=console)
        console.print(f"[green]✓[/] rolled back by itself: {_last(now)}")
        console.print(f"    traffic: {weights(now)}; streams: {_streams(namespace)}")
    finally:
        fleet.stop_load(namespace=namespace)
        # Another demo on the same cluster begins as this one did.
        llm.patch({name: spec.get(name) for name in ("engine", "rollout", "scaling")})


def _ask(llm: Llm, *, console: Console, argument: str, why: str) -> None:
    kept = [arg for arg in llm.body()["spec"]["engine"]["args"] if not arg.startswith(PARALLEL.format(""))]
    llm.patch({"engine": {"args": [*kept, argument]}})
    console.print(f"    a new revision with [bold]{argument}[/] ({why})")


def _until(llm: Llm, done: Callable[[Json], bool], *, what: str, console: Console) -> Json:
    deadline, last, told_at = time.monotonic() + SECONDS, "", 0.0
    with console.status(f"waiting for {what} …"):
        while time.monotonic() < deadline:
            status = llm.status()
            now = line(status)
            stands = now.partition(" | ")[0] != last.partition(" | ")[0]
            # Samples grow all the time: now and then is enough.
            if stands or (now != last and time.monotonic() - told_at > SAMPLES_SECONDS):
                console.print(f"    [dim]{now}[/]")
                last, told_at = now, time.monotonic()
            if done(status):
                return status
            time.sleep(1)
    raise RolloutError(f"{what} did not come within {SECONDS:.0f} s; it stands at: {last}")


def _last(status: Json) -> str:
    return str(status["decisions"][-1]["message"])


def _streams(namespace: str) -> str:
    told = fleet.load_counts(namespace=namespace).get("revisions", {})
    return "; ".join(
        f"{name}: {', '.join(f'{n} {end}' for end, n in ends.items() if n)}" for name, ends in told.items()
    )
