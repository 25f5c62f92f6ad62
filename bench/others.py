"""What other methods would say of the same simulated traffic: how often they are wrong, to compare with.

Three in wide use, over the same blocks: one window of a minute in which a metric is worse by more than is allowed rolls
back (as a check of Argo Rollouts with no failure allowed), or the fifth such window does (as a Flagger threshold), or a
test of two proportions at 5 %, looked at after every block. After ten counted minutes what stands is promoted. They are
drawn in outline, without their products' other settings: no figure here is one of those products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from rich.table import Table

from bench.queueing import Fault, Simulation
from bench.trials import SETTLE_SECONDS, WARMUP_SECONDS, config_for, fleet
from modelfleet.core.judgement import ArmBlock, Block
from modelfleet.core.judgement.config import MetricName

BLOCKS = 40
"""Ten minutes."""
PER_WINDOW = 4
"""Blocks of a minute."""
CRITICAL = 1.645
"""One-sided, at 5 %."""
RATES = (1.0, 5.0, 50.0)
Totals = tuple[float, float]
Drops = Mapping[MetricName, float]
Method = Callable[[Sequence[Block], Drops], bool]


def _total(arms: Sequence[ArmBlock | None], metric: str) -> Totals:
    counts = [arm.counts[metric] for arm in arms if arm]
    return sum(c.bad for c in counts if c), sum(c.total for c in counts if c)


def _both(blocks: Sequence[Block], metric: str) -> tuple[Totals, Totals]:
    return _total([b.canary for b in blocks], metric), _total([b.stable for b in blocks], metric)


def _windows(blocks: Sequence[Block], drops: Drops, *, limit: int) -> bool:
    """Whether so many minutes were worse than allowed."""
    failed = 0
    for start in range(0, len(blocks), PER_WINDOW):
        part = blocks[start : start + PER_WINDOW]
        worse = False
        for metric, drop in drops.items():
            (x, n), (y, m) = _both(part, metric)
            worse |= bool(n and m) and x / max(1, n) > y / max(1, m) + drop
        failed += worse
    return failed >= limit


def _peeks(blocks: Sequence[Block], drops: Drops) -> bool:
    """Whether any look found a difference that a single look would call significant."""
    for metric in drops:
        for seen in range(PER_WINDOW, len(blocks) + 1):
            (x, n), (y, m) = _both(blocks[:seen], metric)
            if not n or not m or not 0 < x + y < n + m:
                continue
            p = (x + y) / (n + m)
            if (x / n - y / m) / (p * (1 - p) * (1 / n + 1 / m)) ** 0.5 > CRITICAL:
                return True
    return False


METHODS: dict[str, Method] = {
    "one failed minute": partial(_windows, limit=1),
    "five failed minutes": partial(_windows, limit=5),
    "a z-test after every block": _peeks,
}


def _fails(rate: float, fault: Fault, seed: int) -> list[bool]:
    """Play ten minutes once; says of each method whether it rolls back."""
    some = fleet(rate, fault=fault)
    simulation = Simulation(fleet=some, seed=seed)
    simulation.settle(SETTLE_SECONDS)
    for _ in range(round(WARMUP_SECONDS / some.interval)):
        simulation.block(warming=True)
    blocks = [simulation.block() for _ in range(BLOCKS)]
    drops = {metric.name: metric.max_drop for metric in config_for(some).metrics}
    return [method(blocks, drops) for method in METHODS.values()]


def others_table(*, runs: int, pool: ProcessPoolExecutor, progress: Callable[[str], None]) -> Table:
    """Play equal canaries and some with one more point of errors; gives a table of the mistakes."""
    rates = " / ".join(f"{rate:g}" for rate in RATES)
    heads = ("method", "equal: rolled back", "errors +1 point: promoted")
    table = Table(*heads, title=f"Other methods, {runs} runs at each of {rates} requests/s")
    shares: list[list[list[float]]] = []
    for fault in (Fault(), Fault(errors=0.01)):
        found = []
        for number, rate in enumerate(RATES):
            play = partial(_fails, rate, fault)
            ended = list(pool.map(play, range(800_000 + 1000 * number, 800_000 + 1000 * number + runs)))
            found.append([sum(one[i] for one in ended) / runs for i in range(len(METHODS))])
        shares.append(found)
        progress(f"other methods, {fault}: rolled back {found}")
    for i, name in enumerate(METHODS):
        wrong = [" / ".join(f"{one[i]:.0%}" for one in shares[0]), " / ".join(f"{1 - one[i]:.0%}" for one in shares[1])]
        table.add_row(name, *wrong)
    return table
