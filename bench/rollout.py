"""How soon a bad canary has no traffic any more, how long a good one takes, and what a rollback costs.

A real API server, scheduler and operator, and faked nodes: pods are ready at once, so no figure holds the start of a
model. Requests are only counted, as Envoys and engines would count them; nothing is sent, so `requests`, `failed`, `cut`
and `canary_failed` are no prober's totals: each story of `make e2e-full` prints those of real streams, its blast radius.
The two false ratios are of the simulated fleets of `bench.judgement`, in a small part. The last line of output is one
line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.judgement import play
from bench.queueing import Fault
from bench.scenarios import Cell as Simulated
from bench.trials import slow
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.paths import CRD_DIR
from modelfleet.core.names import revision_hash
from tests.api.rollouts import METRICS, Rollouts, rollouts

STEPS = [{"weight": 20}, {"weight": 50}]
ROLLOUT: dict[str, Any] = {
    "canary": {"steps": STEPS},
    "analysis": {
        "intervalSeconds": 5,
        "minSamples": 50,
        "minSeconds": 45,
        "warmupSeconds": 15,
        "metrics": [{"name": name, "maxDropFromStable": 0.05} for name in METRICS],
    },
    "scaleDownDelaySeconds": 20,
}
PATIENCE = 600.0


@dataclass(frozen=True, kw_only=True)
class Regression:
    """A canary that is worse: `share` of its requests are `kind` (slow beyond the bound, or failing), at `rate` a second."""

    kind: str
    share: float
    rate: float

    @property
    def name(self) -> str:
        """Of its LLMDeployment."""
        return f"{self.kind}-{self.share * 100:.0f}-at-{self.rate:g}"


REGRESSIONS = tuple(
    Regression(kind=kind, share=share, rate=rate)
    for kind, shares in (("slow", (0.1, 0.2, 0.4)), ("failing", (0.05, 0.2, 1.0)))
    for share in shares
    for rate in (10.0, 100.0)
)
GOOD = tuple(f"good-at-{rate}" for rate in (10, 100))


def say(what: str) -> None:
    """Tells a person what is being measured."""
    print(f"[{time.strftime('%H:%M:%S')}] {what}", flush=True)


def await_all(waiting: Mapping[str, Callable[[], bool]]) -> dict[str, float]:
    """Waits until each condition holds, for `PATIENCE` at most; when each did, on the monotonic clock."""
    end, found = time.monotonic() + PATIENCE, dict[str, float]()
    while len(found) < len(waiting) and time.monotonic() < end:
        for name, condition in waiting.items():
            if name not in found and condition():
                found[name] = time.monotonic()
        time.sleep(0.1)
    return found


def detect(fleet: Rollouts) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Rolls everything at once; seconds from a regression's first traffic to none, and of the good ones to the promotion."""
    names = [one.name for one in REGRESSIONS] + list(GOOD)
    for name in names:
        fleet.traffic.rates[name] = float(name.rpartition("-")[2])
    old = {name: fleet.serve(name, **ROLLOUT) for name in names}
    begun = time.monotonic()
    for name in names:
        fleet.change(name)
    for one in REGRESSIONS:
        new = revision_hash(spec=fleet.get("llmdeployments", one.name)["spec"], annotations={})
        (fleet.traffic.slow if one.kind == "slow" else fleet.traffic.failing)[new] = one.share
    routed = await_all({name: partial(lambda name: len(fleet.weights(name)) > 1, name) for name in names})
    say("every canary has traffic")
    bad = {one.name: partial(gone, fleet, one.name, old[one.name]) for one in REGRESSIONS}
    good = {name: partial(lambda name: fleet.serving(name) != old[name], name) for name in GOOD}
    ended = await_all(bad | good)
    return (
        {name: round(ended[name] - routed[name], 1) if name in ended else None for name in bad},
        {name: round(ended[name] - begun, 1) if name in ended else None for name in good},
    )


def gone(fleet: Rollouts, name: str, old: str) -> bool:
    """Whether it was rolled back, by status."""
    return fleet.weights(name) == {old: 100} and "RolledBack" in fleet.reasons(name)


def roll_back(fleet: Rollouts) -> dict[str, float]:
    """Seconds from the wish to go back to all traffic there: while the old set is still up, and after its end."""
    old, new = fleet.begin("back", **{**ROLLOUT, "scaleDownDelaySeconds": 3600})
    fleet.act("back", "promote-full 1")
    fleet.reach("back", lambda: fleet.serving("back") == new, what="the promotion")
    warm = timed(fleet, f"rollback-to {old} 2", old)
    fleet.patch("llmdeployments", "back", {"spec": {"rollout": {"scaleDownDelaySeconds": 0}}})
    fleet.reach("back", lambda: fleet.revisions_of_pods("back") == {old}, what="the end of the other set")
    return {"warm": warm, "cold": timed(fleet, f"rollback-to {new} 3", new)}


def timed(fleet: Rollouts, action: str, revision: str) -> float:
    """Seconds from an action to all traffic for a revision."""
    begun = time.monotonic()
    fleet.act("back", action)
    fleet.reach("back", lambda: fleet.weights("back") == {revision: 100}, what=action)
    return round(time.monotonic() - begun, 2)


def false_ratios(runs: int) -> dict[str, float]:
    """Shares of wrong verdicts over simulated fleets: of equal canaries, and of those worse by twice what is allowed."""
    cells = [
        Simulated(name="equal", rate=5.0, runs=runs),
        Simulated(name="1.2x slower", rate=5.0, runs=runs // 2, fault=slow(1.2)),
        Simulated(name="errors +2", rate=5.0, runs=runs // 2, fault=Fault(errors=0.02)),
    ]
    with ProcessPoolExecutor(max_workers=2) as pool:
        rows = [play(cell=cell, seed=500_000 + 1000 * i, progress=say, pool=pool) for i, cell in enumerate(cells)]
    return {
        "false_promote_ratio": round(sum(row.passes for row in rows[1:]) / sum(row.cell.runs for row in rows[1:]), 4),
        "false_rollback_ratio": round(rows[0].rollback, 4),
    }


def measure(folder: Path) -> dict[str, Any]:
    """Runs what needs a control plane."""
    with ControlPlane(audit=True) as plane:
        plane.apply_files(CRD_DIR)
        with rollouts(plane=plane, namespace="bench", rate=100) as fleet:
            return on(fleet, folder=folder)


def on(fleet: Rollouts, *, folder: Path) -> dict[str, Any]:
    """Runs it in one namespace."""
    with fleet.operator(folder=folder):
        say(f"{len(REGRESSIONS)} bad canaries and {len(GOOD)} good ones at once")
        detect_s, promote_s = detect(fleet)
        say("a rollback by hand")
        rollback_s = roll_back(fleet)
    bad = set(fleet.traffic.slow) | set(fleet.traffic.failing)
    failed = fleet.traffic.failed
    return {
        "requests": round(sum(fleet.traffic.requests.values())),
        "failed": round(sum(count for revision, count in failed.items() if revision not in bad)),
        "cut": round(fleet.traffic.lost),
        "canary_failed": round(sum(count for revision, count in failed.items() if revision in bad)),
        "detect_s": detect_s,
        "rollback_s": rollback_s,
        "promote_s": promote_s,
    }


def show(figures: dict[str, Any]) -> None:
    """Prints the figures for people."""
    table = Table(
        "canary", "share", "requests/s", "seconds to no traffic", title="Steps 20 → 50 → 100 %, drop of 5 % allowed"
    )
    for one in REGRESSIONS:
        seconds = figures["detect_s"][one.name]
        table.add_row(
            one.kind, f"{one.share:.0%}", f"{one.rate:g}", "not in time" if seconds is None else f"{seconds:g}"
        )
    console = Console(width=110)
    console.print(table)
    console.print(
        "Simulated: nodes, pods (ready at once), the Envoy, traffic and its counters, Prometheus; for the false ratios"
        " whole fleets (bench.judgement). Real: API server, scheduler, controllers, operator. `cut` counts requests that a"
        " weight sent to a revision without a ready pod. Totals of real streams: the blast radius that each story of"
        " make e2e-full prints."
    )


def main() -> None:
    """Measures and prints; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40, help="simulated fleets per kind of canary (default 40)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="modelfleet-bench-") as folder:
        figures = measure(Path(folder))
    say("false verdicts, by simulation")
    figures |= false_ratios(given.runs)
    show(figures)
    sys.stdout.flush()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
