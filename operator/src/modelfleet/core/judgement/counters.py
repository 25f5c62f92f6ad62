"""From cumulative counters, as Prometheus keeps them, to blocks.

Per pod and series: a counter that fell was reset, so its new value is what it counted since; a value that is missing
between two others makes the interval unknown, never zero. Knows nothing of metrics' meaning; must not guess.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from modelfleet.core.judgement.inputs import ArmBlock, Counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One counter of one pod.

    Attributes:
        values: one per edge of the grid (a block more edges than blocks); None or NaN where there is no sample.
        counts_from: place of the first edge that counts: later than 0 for a pod in its own warm-up after a restart.
        gone: the pod no longer exists, so that missing values at the end are not missing.
    """

    values: Sequence[float | None]
    counts_from: int = 0
    gone: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Counter:
    """The series of one metric of one arm: one `Series` per pod each; `units` None when every event is a request."""

    bad: Sequence[Series]
    total: Sequence[Series]
    units: Sequence[Series] | None = None


def increases(series: Series) -> tuple[float | None, ...]:
    """Answer what a counter counted in each interval; None where that is not known.

    A reset, a gap, and a pod that appears (its first sample is only a beginning):

    >>> increases(Series(values=[5, 9, 2, None, 7, 8]))
    (4, 2, None, None, 1)
    >>> increases(Series(values=[None, None, 3, 8]))
    (0.0, 0.0, 5)
    >>> increases(Series(values=[1, 4, None, None], gone=True)), increases(Series(values=[1, 4, None, None]))
    ((3, 0.0, 0.0), (3, None, None))
    """
    values = [v if v is not None and isfinite(v) and v >= 0 else None for v in series.values]
    known = [i for i, v in enumerate(values) if v is not None]
    if not known:
        return tuple([0.0 if series.gone else None] * max(0, len(values) - 1))
    first, last = known[0], known[-1]
    found: list[float | None] = []
    for i in range(1, len(values)):
        before, after = values[i - 1], values[i]
        if i <= first or i <= series.counts_from or (series.gone and i > last):
            found.append(0.0)
        elif before is None or after is None:
            found.append(None)
        else:
            found.append(after - before if after >= before else after)
    return tuple(found)


def summed(all_series: Iterable[Series]) -> tuple[float | None, ...]:
    """Add up the pods of an arm; an interval that one of them lacks is unknown.

    >>> summed([Series(values=[0, 1, 2]), Series(values=[0, 5, None])])
    (6, None)
    >>> summed([])
    ()
    """
    rows = [increases(one) for one in all_series]
    return tuple(
        None if any(v is None for v in column) else sum(v for v in column if v is not None)
        for column in zip(*rows, strict=True)
    )


def arm_blocks(
    *,
    blocks: int,
    started: Sequence[float | None],
    replicas: Sequence[float],
    counters: Mapping[str, Counter],
    kinds: Mapping[str, Mapping[str, Sequence[Series]]] | None = None,
) -> tuple[ArmBlock | None, ...]:
    """Make one arm's blocks; None where the router's count is unknown.

    >>> arm_blocks(blocks=1, started=[10.0], replicas=[1], counters={
    ...     "errors": Counter(bad=[Series(values=[0, 1])], total=[Series(values=[0, 9])])})[0].counts["errors"]
    Counts(bad=1, total=9, units=None, kinds={})
    """
    per_metric = {
        name: _counts(blocks=blocks, counter=counter, kinds=(kinds or {}).get(name, {}))
        for name, counter in counters.items()
    }
    made: list[ArmBlock | None] = []
    for i in range(blocks):
        count = started[i] if i < len(started) else None
        if count is None or not isfinite(count) or count < 0:
            made.append(None)
            continue
        counts = {name: found[i] for name, found in per_metric.items()}
        made.append(ArmBlock(started=count, replicas=replicas[i], counts=counts))
    return tuple(made)


def _counts(*, blocks: int, counter: Counter, kinds: Mapping[str, Sequence[Series]]) -> list[Counts | None]:
    bad, total = summed(counter.bad), summed(counter.total)
    units = summed(counter.units) if counter.units is not None else None
    parts = {kind: summed(series) for kind, series in kinds.items()}
    made: list[Counts | None] = []
    for i in range(blocks):
        b, t = _at(bad, i), _at(total, i)
        u = _at(units, i) if units is not None else None
        if b is None or t is None or (units is not None and u is None):
            made.append(None)
            continue
        made.append(Counts(bad=b, total=t, units=u, kinds={k: v for k, s in parts.items() if (v := _at(s, i))}))
    return made


def _at(values: Sequence[float | None], place: int) -> float | None:
    return values[place] if place < len(values) else None
