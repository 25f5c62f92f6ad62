"""Streams through the gateway during a rollout, each attributed to the revision that answered it: the blast radius.

Sits on `streams`. It must not judge what a revision did: scenarios do, by `check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
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
    newest: dict[str, dict[str, float]] = field(default_factory=dict)
    """When the newest stream of a revision began, of all and of the lost ones, on the clients' clock."""

    def began(self, kind: str, *, of: str) -> float:
        """When the newest of a revision's streams began: of those that have ended (`begun`) or the `lost`; 0 for none."""
        return self.newest.get(of, {}).get(kind, 0.0)

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


def check(
    blast: Blast,
    *,
    revisions: set[str],
    spared: set[str] | None = None,
    until: Mapping[str, float] | None = None,
    short: bool = False,
) -> None:
    """Assert that every stream is of one of these revisions and ended as it may.

    Args:
        blast: How they ended.
        revisions: Those that may have answered.
        spared: Those that lost no stream; all, unless told.
        until: Revision → moment (of `Prober.moment`) when every Envoy had confirmed that it gets nothing: whatever began
            later was not lost on it. One that began before may be, whenever it ended.
        short: Whether an answer may say [DONE] and lack tokens: an engine's fault, and no cut stream.
    """
    assert set(blast.revisions) <= revisions, blast
    assert (blast.count("strayed"), blast.count("unshaped")) == (0, 0), blast
    assert short or blast.count("short") == 0, blast
    for revision in spared or revisions:
        assert blast.lost(of=revision) == 0, blast
    for revision, moment in (until or {}).items():
        lost = blast.began("lost", of=revision)
        assert lost <= moment, f"lost on {revision}: began {lost - moment:.3f} s after it had no weight\n{blast}"


class Prober:
    """Streams that run while something else happens."""

    def __init__(self, *, flow: Streams) -> None:
        self._flow = flow

    def blast(self) -> Blast:
        """How they ended so far."""
        return _blast(self._flow.counts())

    def moment(self) -> float:
        """Tell the time on the clients' clock: every stream that has begun by now began at or before it.

        Read after a status that says what Envoys have confirmed, it needs no other clock: those of nodes differ, and
        times in status are whole seconds. It is later than the confirmation by as long as the reading took, so a loss
        within that second is let pass, and none is blamed wrongly.
        """
        return self._flow.moment()

    def await_flow(self) -> None:
        """Wait until one stream of each client has ended well from now on."""
        self._flow.await_finished()

    def end(self) -> Blast:
        """Begin no more, wait for the end of those that run, print the blast radius and return it."""
        blast = _blast(self._flow.end())
        print(f"\n{blast}")
        return blast


def _blast(counts: dict[str, Any]) -> Blast:
    words = ("revisions", "problems", "newest")
    return Blast(**{word: counts.get(word, {}) for word in words})


@contextmanager
def probing(llm: Llm, *, by: Edge, count: int = PROBES, tokens: int = TOKENS) -> Iterator[Prober]:
    """Keep `count` streams going through the gateway."""
    with streams(llm, count=count, tokens=tokens, by=by) as flow:
        yield Prober(flow=flow)
