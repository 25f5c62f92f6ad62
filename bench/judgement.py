"""How often the judgement is wrong, and how soon it is right: simulated fleets and independent trials.

Prints progress while it runs, then the tables of docs/explanation/judgement.md; the last line is one line of JSON.
Deterministic for given arguments. It must not tune anything: the method's figures are the product's.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.others import others_table
from bench.scenarios import Cell, cells, where
from bench.trials import WARMUP_SECONDS, Ended
from modelfleet.core.judgement import ArmBlock, Block, Config, Counts, MetricConfig, Window, judge

SAMPLES = (50, 100, 200, 400, 800, 1600)
EARLY_SECONDS = WARMUP_SECONDS + 600.0
"""Ten counted minutes; a window has thirty."""
BATCH = 10


@dataclass(frozen=True, kw_only=True)
class Row:
    """A cell's outcome: seconds and canary requests of each Fail, seconds of each Pass."""

    cell: Cell
    fails: list[tuple[float, float]]
    passed: list[float]

    @property
    def passes(self) -> int:
        """Count the runs that passed."""
        return len(self.passed)

    @property
    def open(self) -> int:
        """Count the runs that were not decided."""
        return self.cell.runs - len(self.fails) - self.passes

    @property
    def rollback(self) -> float:
        """Share of runs that failed."""
        return len(self.fails) / self.cell.runs

    @property
    def promotion(self) -> float:
        """Share of runs that passed."""
        return self.passes / self.cell.runs

    def shares(self) -> list[str]:
        """Word the shares that failed, passed and stayed open; of one window also after ten minutes."""
        runs = self.cell.runs
        early = [sum(s <= EARLY_SECONDS for s in ended) / runs for ended in ([f[0] for f in self.fails], self.passed)]
        late = [self.rollback, self.promotion]
        if not self.cell.whole:
            return [f"{a:.1%} → {b:.1%}" for a, b in zip(early, late, strict=True)] + [f"{self.open / runs:.1%}"]
        return [f"{share:.1%}" for share in (*late, self.open / runs)]


def play(*, cell: Cell, seed: int, progress: Callable[[str], None], pool: ProcessPoolExecutor) -> Row:
    """Plays a cell in batches."""
    seeds = [seed + i for i in range(cell.runs)]
    batches = [seeds[i : i + BATCH] for i in range(0, len(seeds), BATCH)]
    ended = [one for batch in pool.map(partial(_play_batch, cell), batches) for one in batch]
    fails = [(e.seconds, e.canary_requests) for e in ended if e.verdict.outcome == "Fail"]
    passed = [e.seconds for e in ended if (e.promoted if cell.whole else e.verdict.outcome == "Pass")]
    row = Row(cell=cell, fails=fails, passed=passed)
    progress(f"{where(cell)}, {cell.name}: Fail {row.rollback:.1%}, Pass {row.promotion:.1%} of {cell.runs}")
    return row


def _play_batch(cell: Cell, seeds: Sequence[int]) -> list[Ended]:
    return [cell.play(seed) for seed in seeds]


INDEPENDENT = (
    # ratio, allowed drop, canary requests per block
    (0.05, 0.05, 10),
    (0.05, 0.02, 40),
    (0.1, 0.05, 10),
    (0.002, 0.01, 20),
    (0.002, 0.005, 50),
    (0.01, 0.01, 40),
)


def independent(*, ratio: float, drop: float, size: int, times: float, seed: int) -> tuple[str, float]:
    """One metric of independent requests, 200 blocks at most: the outcome and the canary's requests."""
    metric = MetricConfig(
        name="errors",
        label="bad",
        latency=False,
        max_drop=drop,
        limit=None,
        weight=1.0,
        prior_spread=1.0,
        least_spread=1.0,
    )
    config = Config(metrics=(metric,), min_seconds=0.0, patience_seconds=1e9)
    draw = random.Random(seed)  # noqa: S311 - a simulation, no secret
    blocks: list[Block] = []
    arms = ((size, ratio + times * drop), (3 * size, ratio))
    for number in range(1, 201):
        canary, stable = (_independent_arm(draw, mean=mean, ratio=p) for mean, p in arms)
        blocks.append(Block(end=15.0 * number, canary=canary, stable=stable))
        verdict = judge(Window(now=15.0 * number, weight=0.25, blocks=tuple(blocks)), config=config)
        if verdict.final:
            break
    outcome = verdict.outcome if verdict.final else "Inconclusive"
    return outcome, float(verdict.metrics[0].canary_samples)


def _independent_arm(draw: random.Random, *, mean: float, ratio: float) -> ArmBlock:
    total = max(0, round(draw.gauss(mean, mean**0.5)))
    bad = sum(draw.random() < ratio for _ in range(total))
    return ArmBlock(started=total, replicas=mean, counts={"errors": Counts(bad=bad, total=total)})


def independent_row(row: tuple[float, float, int], *, runs: int, pool: ProcessPoolExecutor) -> list[str]:
    """One row of the table: equal, worse by M, 2M and 5M."""
    ratio, drop, size = row
    words, false_ratios = [f"{ratio:g}, {drop:g}"], []
    for times, right, wrong in ((0, "Pass", "Fail"), (1, "Fail", "Pass"), (2, "Fail", ""), (5, "Fail", "")):
        play_one = partial(_independent_batch, ratio, drop, size, times)
        found = [one for batch in pool.map(play_one, _batches(runs)) for one in batch]
        needed = sorted(n for outcome, n in found if outcome == right)
        share = sum(outcome == wrong for outcome, _ in found) / runs
        false_ratios.append(share)
        spent = f"{statistics.median(needed):.0f}/{needed[int(0.9 * (len(needed) - 1))]:.0f}" if needed else "-"
        words.append(f"{share:.1%} · {spent}" if wrong else spent)
    return words


def _batches(runs: int) -> list[range]:
    return [range(i, min(i + BATCH, runs)) for i in range(0, runs, BATCH)]


def _independent_batch(ratio: float, drop: float, size: int, times: float, seeds: Sequence[int]) -> list[Any]:
    return [independent(ratio=ratio, drop=drop, size=size, times=times, seed=700_000 + s) for s in seeds]


def upper_95(*, bad: int, runs: int) -> float:
    """Upper 95 % bound of a share (Wilson's)."""
    p, z = bad / runs, 1.645
    middle = p + z * z / (2 * runs)
    return float((middle + z * (p * (1 - p) / runs + z * z / (4 * runs * runs)) ** 0.5) / (1 + z * z / runs))


def print_rows(console: Console, rows: list[Row]) -> None:
    """The simulated fleets: outcomes, and the power by canary requests."""
    heads = ("Fail", "Pass", "open", "median s / requests to Fail")
    table = Table("fleet", "canary", "runs", *heads, title="Outcomes; of one window after 10 → 30 counted minutes")
    for row in rows:
        spent = "-"
        if row.fails:
            seconds, requests = (statistics.median(f[i] for f in row.fails) for i in (0, 1))
            spent = f"{seconds:.0f} / {requests:.0f}"
        table.add_row(where(row.cell), row.cell.name, str(row.cell.runs), *row.shares(), spent)
    console.print(table)
    names = [f"<= {n}" for n in SAMPLES]
    power = Table("fleet", "canary", *names, title="Share of runs that failed, by canary requests")
    for row in rows:
        if not row.cell.whole and not row.cell.changes:
            shares = [f"{sum(r <= n for _, r in row.fails) / row.cell.runs:.0%}" for n in SAMPLES]
            power.add_row(f"{row.cell.rate:g} req/s", row.cell.name, *shares)
    console.print(power)


def summary(rows: list[Row], *, seconds: float) -> dict[str, Any]:
    """What the last line says: the promises over all scenarios, and the worst of them."""
    said: dict[str, Any] = {"runs": sum(r.cell.runs for r in rows)}
    for bound, share in (("rollback", lambda r: len(r.fails)), ("promotion", lambda r: r.passes)):
        tested = [r for r in rows if r.cell.bound == bound]
        bad, runs = sum(share(r) for r in tested), sum(r.cell.runs for r in tested)
        worst = max(tested, key=lambda r: share(r) / r.cell.runs)
        name = "false_rollback" if bound == "rollback" else "false_promote"
        said |= {
            f"{name}_ratio": round(bad / runs, 4),
            f"{name}_upper_95": round(upper_95(bad=bad, runs=runs), 4),
            f"{name}_worst": f"{where(worst.cell)}, {worst.cell.name}: {share(worst)} of {worst.cell.runs}",
        }
        whole = [r for r in tested if r.cell.whole]
        said[f"{name}_whole_rollout"] = round(sum(share(r) for r in whole) / sum(r.cell.runs for r in whole), 4)
    return {**said, "seconds": round(seconds, 1)}


def main() -> None:
    """Runs everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="times the runs of every scenario (default 1)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--seed", type=int, default=400_000, help="first seed")
    arguments = parser.parse_args()
    console, began = Console(width=130), time.monotonic()

    def progress(words: str) -> None:
        print(f"[{time.monotonic() - began:6.0f} s] {words}", flush=True)

    with ProcessPoolExecutor(max_workers=arguments.jobs) as pool:
        runs = max(10, round(2000 * arguments.scale))
        title = f"Independent requests, one metric, {runs} runs: false verdicts · canary requests, median/90 %"
        table = Table("ratio, M", "equal: false Fail · to Pass", "by M: false Pass · to Fail", "2M", "5M", title=title)
        for row in INDEPENDENT:
            words = independent_row(row, runs=runs, pool=pool)
            table.add_row(*words)
            progress(f"independent requests {words}")
        rows = [
            play(cell=cell, seed=arguments.seed + 1000 * i, progress=progress, pool=pool)
            for i, cell in enumerate(cells(arguments.scale))
        ]
        others = others_table(runs=max(4, round(100 * arguments.scale)), pool=pool, progress=progress)
    console.print(table)
    print_rows(console, rows)
    console.print(others)
    print(json.dumps(summary(rows, seconds=time.monotonic() - began)))


if __name__ == "__main__":
    main()
