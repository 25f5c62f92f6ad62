"""The simulated fleets on which `bench.judgement` measures: which canary, which traffic, how often. It plays none of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from bench.queueing import Fault
from bench.trials import Ended, fleet, rollout, slow, trial

EQUAL = Fault()
Steps = tuple[tuple[float, int, int], ...]
"""Weight, canary replicas and stable ones of each step of a whole rollout."""
STEPS: Steps = ((0.05, 1, 4), (0.25, 1, 3), (0.5, 2, 2))
HALF_STEPS: Steps = ((1 / 9, 1, 4), (1 / 7, 1, 3), (1 / 3, 2, 2))
DOUBLE_STEPS: Steps = ((1 / 3, 1, 4), (0.4, 1, 3), (2 / 3, 2, 2))
"""A canary replica has half, or double, the load of a stable one at every step."""
HALF, DOUBLE, COLD = {"weight": 1 / 7}, {"weight": 0.4}, {"cold": 3.0}
CONDITIONS: tuple[tuple[str, dict[str, Any], Steps], ...] = (
    ("half load", HALF, HALF_STEPS),
    ("double load", DOUBLE, DOUBLE_STEPS),
    ("cold cache 3x", COLD, STEPS),
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One scenario, played many times: one window, or with `steps` a whole rollout. `bound` names the promise it tests."""

    name: str
    rate: float
    runs: int
    fault: Fault = EQUAL
    changes: dict[str, Any] = field(default_factory=dict)
    steps: Steps = ()
    bound: str = ""

    @property
    def whole(self) -> bool:
        """Whether it is a whole rollout."""
        return bool(self.steps)

    def play(self, seed: int) -> Ended:
        """Plays it once."""
        some = fleet(self.rate, fault=self.fault, **self.changes)
        return rollout(some, seed=seed, steps=self.steps) if self.whole else trial(some, seed=seed, last=True)


FAULTS = (
    ("equal", EQUAL),
    ("1.1x slower", slow(1.1)),
    ("1.2x slower", slow(1.2)),
    ("1.5x slower", slow(1.5)),
    ("errors +1 point", Fault(errors=0.01)),
    ("errors +2", Fault(errors=0.02)),
    ("errors +5", Fault(errors=0.05)),
    ("empty 2 %", Fault(empty=0.02)),
)
DOUBLE_DROP = (
    ("1.2x slower", slow(1.2)),
    ("errors +2", Fault(errors=0.02)),
    ("empty 2 %", Fault(empty=0.02)),
)


def cells(scale: float) -> list[Cell]:
    """Every scenario, with its runs times `scale`.

    At 0.2 requests/s "1.2x slower" is a drop of one M only, so nothing is promised there.
    """
    made = [
        Cell(name=name, rate=rate, runs=runs, fault=fault, bound=_bound(name) if rate >= 1 or name == "equal" else "")
        for rate, runs in ((0.2, 40), (1.0, 80), (5.0, 100), (50.0, 25))
        for name, fault in FAULTS
    ]
    for condition, changes, _ in CONDITIONS:
        for name, fault in (("equal", EQUAL), *DOUBLE_DROP):
            cell = Cell(name=f"{name}, {condition}", rate=5.0, runs=100, fault=fault, changes=changes)
            made.append(replace(cell, bound=_bound(name)))
    made.append(Cell(name="equal, replicas differ by 5 %", rate=5.0, runs=100, changes={"replica_sd": 0.05}))
    even = {"canary": 3, "weight": 0.5}
    made += [
        Cell(name="equal, 3 against 3", rate=rate, runs=100, changes=even, bound="rollback")
        for rate in (1.0, 5.0, 50.0)
    ]
    for condition, changes, steps in (("", {}, STEPS), *CONDITIONS):
        for name, fault in (("equal", EQUAL), *DOUBLE_DROP):
            runs = (500 if name == "equal" else 100) // (2 if condition else 1)
            words = ", ".join(filter(None, (name, condition)))
            made.append(
                Cell(name=words, rate=5.0, runs=runs, fault=fault, changes=changes, steps=steps, bound=_bound(name))
            )
    return [replace(cell, runs=max(2, round(cell.runs * scale))) for cell in made]


def _bound(name: str) -> str:
    if name == "equal":
        return "rollback"
    return "promotion" if name in dict(DOUBLE_DROP) else ""


def where(cell: Cell) -> str:
    """Say what fleet it is."""
    weights = "/".join(f"{weight:.0%}"[:-1] for weight, _, _ in cell.steps)
    return f"rollout {weights}" if cell.whole else f"{cell.rate:g} req/s"
