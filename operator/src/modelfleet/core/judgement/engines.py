"""What the engines of one revision counted, pod by pod, per block.

A pod that serves and has no sample makes a block unknown; one that has gone does not. Must not know what a count means
for a verdict.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from modelfleet.core.judgement.counters import Counted, Series, clean, falls, increases, summed
from modelfleet.core.judgement.question import Answers, Part, Values
from modelfleet.core.judgement.traffic import PARTS as OF_GATEWAY

Counter = tuple[Part, str]
"""What is counted, and of which kind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """One pod.

    Attributes:
        serving: whether it takes requests now.
        counts: its counters per block.
        nothing: a counter that it does not have.
        present: whether there is a fresh sample, per edge.
        restarts: places of the edges before which its process began anew.
        cold_since: when it began with an empty cache, in this window.
    """

    serving: bool
    counts: Mapping[Counter, Counted]
    nothing: Counted
    present: Sequence[bool]
    restarts: frozenset[int]
    cold_since: tuple[float, ...]

    def counted(self, part: Part, kind: str = "") -> Counted:
        """Answer one of its counters per block."""
        return self.counts.get((part, kind), self.nothing)


@dataclass(frozen=True, kw_only=True, slots=True)
class Engines:
    """The pods of a revision.

    Attributes:
        pods: those that serve, and those that Prometheus still tells of.
        counts: the counters of all of them, per block.
        nothing: a counter that none of them has.
    """

    pods: tuple[Engine, ...]
    counts: Mapping[Counter, Counted]
    nothing: Counted

    def counted(self, part: Part, kind: str = "") -> Counted:
        """Answer one counter of all pods per block; not known without a pod."""
        return self.counts.get((part, kind), self.nothing)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Why requests finished."""
        return tuple(sorted(kind for part, kind in self.counts if part == "finished"))

    @property
    def replicas(self) -> tuple[float, ...]:
        """Pods with a fresh sample at the end of each block; those that serve, where there is none."""
        serving = float(sum(pod.serving for pod in self.pods))
        blocks = range(1, len(self.nothing) + 1)
        return tuple(float(sum(pod.present[i] for pod in self.pods)) or serving for i in blocks)

    @property
    def restarts(self) -> int:
        """Restarts in the window."""
        return sum(len(pod.restarts) for pod in self.pods)

    @property
    def steady_from(self) -> int:
        """Answer the first block from which on no pod came, went or restarted."""
        changes = [0]
        for pod in self.pods:
            changes += [i for i, (before, now) in enumerate(pairwise(pod.present), 1) if before != now]
            changes += pod.restarts
        return max(changes)


def engines(answers: Answers, *, revision: str, serving: Mapping[str, float]) -> Engines:
    """Gather a revision's pods.

    Args:
        answers: what Prometheus said.
        revision: whose pods.
        serving: since when each pod that takes requests now has been ready, by name.
    """
    asked, edges = answers.asked, answers.asked.edges
    rows: dict[str, dict[Counter, Values]] = {name: {} for name in serving}
    for key, values in answers.series.items():
        if key.part not in OF_GATEWAY:
            rows.setdefault(key.process, {})[key.part, key.kind] = values
    pods = tuple(
        _engine(found, ready_since=serving.get(name), edges=edges)
        for name, found in rows.items()
        if asked.belongs(pod=name, revision=revision)
    )
    every = {counter for pod in pods for counter in pod.counts}
    return Engines(
        pods=pods,
        counts={counter: summed(pod.counted(*counter) for pod in pods) for counter in every},
        nothing=(None,) * max(0, len(edges) - 1),
    )


def _engine(rows: Mapping[Counter, Values], *, ready_since: float | None, edges: Sequence[float]) -> Engine:
    counters = {counter: values for counter, values in rows.items() if counter[0] != "born"}
    resets = falls(counters.values())
    begins = None if ready_since is None else bisect_left(edges, ready_since)

    def counted(values: Values) -> Counted:
        return increases(Series(values=values, begins=begins, gone=ready_since is None, resets=resets))

    present = [any(row[i] is not None for row in rows.values()) for i in range(len(edges))]
    born = rows.get(("born", ""))
    restarts = resets if born is None else frozenset(_rises(born))
    first = present.index(True) if True in present else len(edges)
    came = ready_since if ready_since is not None else edges[min(first, len(edges) - 1)]
    cold = [edges[i] for i in restarts]
    return Engine(
        serving=ready_since is not None,
        counts={counter: counted(values) for counter, values in counters.items()},
        nothing=counted((None,) * len(edges)),
        present=present,
        restarts=restarts,
        # A pod that was there and merely not scraped is not new.
        cold_since=tuple([*cold, came] if first > 0 and came > edges[0] else cold),
    )


def _rises(born: Values) -> Iterator[int]:
    known = [(i, value) for i, value in enumerate(clean(born)) if value is not None]
    return (i for (_, old), (i, new) in pairwise(known) if new > old)
