"""Windows for the judgement's tests, said in shares: `window(canary={"ttft": 0.2})`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelfleet.core.judgement import ArmBlock, Block, Counts, Window, default_config

QUIET = {"ttft": 0.04, "interToken": 0.04, "errors": 0.0, "badOutputs": 0.0}
CONFIG = default_config()


def arm(*, requests: float, replicas: float, shares: Mapping[str, float]) -> ArmBlock:
    counts: dict[str, Counts | None] = {
        name: Counts(bad=share * requests, total=requests) for name, share in {**QUIET, **shares}.items()
    }
    counts["interToken"] = Counts(
        bad={**QUIET, **shares}["interToken"] * requests * 200, total=requests * 200, units=requests
    )
    return ArmBlock(started=requests, replicas=replicas, counts=counts)


def block(
    number: int,
    *,
    canary: Mapping[str, float] | None = None,
    stable: Mapping[str, float] | None = None,
    requests: float = 25,
    warming: bool = False,
) -> Block:
    """One of 15 s: `requests` on the one canary replica, as many on each of three stable ones."""
    return Block(
        end=15.0 * (number + 1),
        canary=arm(requests=requests, replicas=1, shares=canary or {}),
        stable=arm(requests=3 * requests, replicas=3, shares=stable or {}),
        warming=warming,
    )


def window(count: int = 24, **blocks: Any) -> Window:
    """Equal blocks, seen at the end of the last."""
    return Window(now=15.0 * count, weight=0.25, blocks=tuple(block(i, **blocks) for i in range(count)))


def change(some: Window, *places: int, **changes: Any) -> Window:
    """Replace fields of some blocks."""
    wanted = {place % len(some.blocks) for place in places}
    blocks = (replace(b, **changes) if i in wanted else b for i, b in enumerate(some.blocks))
    return replace(some, blocks=tuple(blocks))


def lose(some: Window, *, metric: str, arm_name: str, places: range, value: Counts | None = None) -> Window:
    """Take one metric of one arm away, or put something else in its place."""
    blocks = list(some.blocks)
    for i in places:
        one = getattr(blocks[i], arm_name)
        blocks[i] = replace(blocks[i], **{arm_name: replace(one, counts={**one.counts, metric: value})})
    return replace(some, blocks=tuple(blocks))
