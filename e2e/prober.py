"""Streams through the gateway during a rollout, each attributed to the revision that answered it: the blast radius.

Sits on `streams`. It must not judge what a revision did: scenarios do, by `check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from e2e.edge import Edge
from e2e.llm import Llm
from e2e.streams import Streams, streams

PROBES = 24
"""Streams at a time."""
TOKENS = 24
"""Short: a step is judged by requests, and two cores give some hundred tokens per second."""
_ENDS = ("finished", "failed", "cut")


@dataclass(frozen=True)
class Blast:
    """How all streams of a rollout ended, by revision; an empty name stands for answers that named none."""

    revisions: dict[str, dict[str, int]]
    problems: dict[str, int]

    def count(self, kind: str, *, of: str | None = None) -> int:
        """Count streams of one end, of one revision or of all."""
        return sum(ends.get(kind, 0) for name, ends in self.revisions.items() if of in (None, name))

    def lost(self, *, of: str | None = None) -> int:
        """Count the failed and the cut ones."""
        return self.count("failed", of=of) + self.count("cut", of=of)

    def __str__(self) -> str:
        lines = [
            f"  revision {name or '(none named)'}: " + ", ".join(f"{ends.get(kind, 0)} {kind}" for kind in _ENDS)
            for name, ends in self.revisions.items()
        ]
        return "\n".join(["blast radius:", *lines, *(f"  {many} times {what}" for what, many in self.problems.items())])


def check(blast: Blast, *, revisions: set[str], spared: set[str] | None = None) -> None:
    """Assert that every stream is of one of these revisions, ended as it may, and is whole on the `spared` (all, unless told)."""
    assert set(blast.revisions) <= revisions, blast
    assert (blast.count("strayed"), blast.count("unshaped")) == (0, 0), blast
    for revision in spared or revisions:
        assert blast.lost(of=revision) == 0, blast


class Prober:
    """Streams that run while something else happens."""

    def __init__(self, *, flow: Streams) -> None:
        self._flow = flow

    def blast(self) -> Blast:
        """How they ended so far."""
        return _blast(self._flow.counts())

    def await_flow(self) -> None:
        """Wait until one stream of each client has ended well from now on."""
        self._flow.await_finished()

    def end(self) -> Blast:
        """Begin no more, wait for the end of those that run, print the blast radius and return it."""
        blast = _blast(self._flow.end())
        print(f"\n{blast}")
        return blast


def _blast(counts: dict[str, Any]) -> Blast:
    return Blast(revisions=counts.get("revisions", {}), problems=counts.get("problems", {}))


@contextmanager
def probing(llm: Llm, *, by: Edge, count: int = PROBES, tokens: int = TOKENS) -> Iterator[Prober]:
    """Keep `count` streams going through the gateway."""
    with streams(llm, count=count, tokens=tokens, by=by) as flow:
        yield Prober(flow=flow)
