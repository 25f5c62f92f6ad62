"""Plays the judgement on the simulated fleet: one window, or a whole rollout. Used by the benchmark and by the tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from bench.queueing import Fault, Fleet, Simulation
from modelfleet.core.judgement import Block, Carried, Config, StepVerdict, Window, default_config, judge, next_carried

SETTLE_SECONDS: Final = 300.0
WARMUP_SECONDS: Final = 120.0
RATES: Final[Mapping[float, tuple[float, float, float]]] = {
    # requests/s of 4 replicas: slowness, bounds on the first token and on gaps that about 5 % of stable's exceed
    0.2: (40.0, 2.98, 0.28),
    1.0: (20.0, 1.58, 0.205),
    5.0: (10.0, 0.89, 0.24),
    50.0: (1.0, 0.095, 0.0267),
}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a trial ended: the last verdict, counted and whole seconds, and the requests that the canary got."""

    verdict: StepVerdict
    seconds: float
    canary_requests: float
    promoted: bool = False


def fleet(rate: float, **changes: object) -> Fleet:
    """Make a scenario of one of RATES: 3 stable replicas and 1 canary replica at 25 %."""
    slowness, ttft, gap = RATES[rate]
    base = Fleet(rate=rate, slowness=slowness, ttft_within=ttft, gap_within=gap)
    return replace(base, **changes)  # type: ignore[arg-type]


def config_for(some: Fleet, **changes: object) -> Config:
    """Default judgement with the scenario's bounds."""
    made = default_config(ttft_within=some.ttft_within, inter_token_within=some.gap_within)
    return replace(made, **changes)  # type: ignore[arg-type]


def window(
    simulation: Simulation,
    *,
    config: Config,
    carried: Carried,
    last: bool = False,
    limit_seconds: float = 1800.0,
) -> Ended:
    """Plays one window, judged on every block, until a final verdict or the time is up."""
    blocks: list[Block] = []
    opened = simulation.now
    while True:
        warming = simulation.now - opened < WARMUP_SECONDS
        blocks.append(simulation.block(warming=warming))
        if warming:
            simulation.forget_shares()
            continue
        seen = Window(
            now=simulation.now,
            weight=simulation.weight,
            blocks=tuple(blocks),
            replica_shares=simulation.shares(),
            last=last,
        )
        verdict = judge(seen, config=config, carried=carried)
        seconds = simulation.now - opened
        if verdict.final or seconds - WARMUP_SECONDS >= limit_seconds:
            counted = [b.canary for b in blocks if b.canary and not b.warming]
            return Ended(verdict=verdict, seconds=seconds, canary_requests=sum(a.started for a in counted))


def trial(
    some: Fleet, *, seed: int, config: Config | None = None, limit_seconds: float = 1800.0, last: bool = False
) -> Ended:
    """Plays one window of a fresh fleet."""
    simulation = Simulation(fleet=some, seed=seed)
    simulation.settle(SETTLE_SECONDS)
    return window(
        simulation, config=config or config_for(some), carried=Carried(), limit_seconds=limit_seconds, last=last
    )


def rollout(
    some: Fleet, *, seed: int, steps: tuple[tuple[float, int, int], ...], config: Config | None = None
) -> Ended:
    """Plays a whole rollout of (weight, canary replicas, stable replicas) until it fails, hangs, or is promoted."""
    used = replace(config or config_for(some), judged_steps=len(steps))
    simulation = Simulation(fleet=some, seed=seed)
    simulation.settle(SETTLE_SECONDS)
    carried, requests = Carried(), 0.0
    for number, (weight, canary, stable) in enumerate(steps, start=1):
        simulation.scale_canary(canary)
        simulation.weight = weight
        simulation.scale_stable(stable)
        ended = window(simulation, config=used, carried=carried, last=number == len(steps))
        requests += ended.canary_requests
        if ended.verdict.outcome != "Pass":
            return replace(ended, seconds=simulation.now, canary_requests=requests)
        carried = next_carried(carried=carried, verdict=ended.verdict)
    return replace(ended, seconds=simulation.now, canary_requests=requests, promoted=True)


def slow(factor: float) -> Fault:
    """A canary that takes so many times longer for everything."""
    return Fault(slow=factor)
