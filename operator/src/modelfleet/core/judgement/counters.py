"""From cumulative counters, as Prometheus keeps them, to what was counted in each block.

Per process and series: a counter that fell was reset, so its new value is what it counted since; a value that is missing
between two others makes the interval unknown, never zero. Knows nothing of metrics' meaning; must not guess.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

Counted = tuple[float | None, ...]
"""One per block; None where it is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One counter of one process.

    Attributes:
        values: one per edge of the grid (a block more edges than blocks); None or NaN where there is no sample.
        begins: place of the edge until which the process took no requests, so that missing values up to there are not
            missing; None where its first value tells.
        gone: the process takes no requests any more, so that missing values at the end are not missing.
        resets: places of edges before which another counter of the process fell, so that this one began anew too.
    """

    values: Sequence[float | None]
    begins: int | None = None
    gone: bool = False
    resets: frozenset[int] = frozenset()


def clean(values: Sequence[float | None]) -> Counted:
    """Keep what can be a counter's value.

    >>> clean([1, float("nan"), None, -1])
    (1, None, None, None)
    """
    # NaN compares false with everything.
    return tuple(v if v is not None and 0 <= v < inf else None for v in values)


def increases(series: Series) -> Counted:
    """Answer what a counter counted in each interval; None where that is not known.

    A reset, a gap, and a pod that appears (its first sample is only a beginning):

    >>> increases(Series(values=[5, 9, 2, None, 7, 8]))
    (4, 2, None, None, 1)
    >>> increases(Series(values=[None, None, 3, 8])), increases(Series(values=[None, None, 3, 8], begins=1))
    ((0.0, 0.0, 5), (0.0, None, 5))
    >>> increases(Series(values=[1, 4, None, None], gone=True)), increases(Series(values=[1, 4, None, None]))
    ((3, 0.0, 0.0), (3, None, None))
    """
    values = clean(series.values)
    known = [i for i, v in enumerate(values) if v is not None]
    last = known[-1] if known else 0
    begins = series.begins if series.begins is not None or not known else known[0]
    if known and begins is not None:
        begins = min(begins, known[0])
    found: list[float | None] = []
    for i in range(1, len(values)):
        before, after = values[i - 1], values[i]
        if (begins is not None and i <= begins) or (series.gone and i > last):
            found.append(0.0)
        elif before is None or after is None:
            found.append(None)
        else:
            found.append(after if after < before or i in series.resets else after - before)
    return tuple(found)


def falls(rows: Iterable[Sequence[float | None]]) -> frozenset[int]:
    """Answer at which edges any counter of a process is below what it was before: there the process is a new one.

    >>> sorted(falls([[5, None, 3, 4], [1, 1, 1, 0]]))
    [2, 3]
    """
    found = set()
    for row in rows:
        before = None
        for i, value in enumerate(clean(row)):
            if value is not None:
                if before is not None and value < before:
                    found.add(i)
                before = value
    return frozenset(found)


def summed(rows: Iterable[Counted]) -> Counted:
    """Add up; an interval that one of them lacks is unknown.

    >>> summed([(1, 1), (5, None)]), summed([])
    ((6, None), ())
    """
    return tuple(None if None in column else sum(v or 0 for v in column) for column in zip(*rows, strict=True))


def less(whole: Counted, part: Counted) -> Counted:
    """Take away, where both are known.

    >>> less((5, 3, None), (1, None, 2))
    (4, None, None)
    """
    return tuple(w - p if w is not None and p is not None else None for w, p in zip(whole, part, strict=True))


def unexplained(events: Counted, *, by: Counted) -> Counted:
    """Answer which events have no counterpart in their own block or in a neighbouring one.

    Two processes count the same thing and are not scraped in the same moment. A block whose neighbour is not known, as
    at both ends, has none: what would explain them may be out of sight.

    >>> unexplained((4, 2, 3, 1, 4), by=(5, 0, 0, 2, 0))
    (0.0, 1.0, 1.0, 1.0, 0.0)
    """
    left = list(by)
    found: list[float | None] = []
    for i, count in enumerate(events):
        near = left[max(0, i - 1) : i + 2]
        if count is None or left[i] is None:
            found.append(None)
            continue
        rest = count
        for j in range(max(0, i - 1), min(len(left), i + 2)):
            used = min(rest, left[j] or 0.0)
            rest, left[j] = rest - used, None if left[j] is None else (left[j] or 0.0) - used
        found.append(rest if len(near) == 3 and None not in near else 0.0)  # noqa: PLR2004 - itself and two neighbours
    return tuple(found)
