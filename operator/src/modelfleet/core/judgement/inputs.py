"""What `judge()` reads: counts per block and arm, as frozen data.

A block is one analysis interval; an arm is the canary or stable. Made by `window.py` from what Prometheus answered.
None means "not known" and is never a zero. Must not hold any statistics.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Bad events among all events; both from the same histogram or the same scrape.

    Attributes:
        bad: events that were bad.
        total: all events.
        units: independent requests behind them; None when every event is a request. Token gaps of one request are not
            independent of each other, so their units are the requests with a first token.
        kinds: parts of `bad` by name, only for messages.
    """

    bad: float
    total: float
    units: float | None = None
    kinds: Mapping[str, float] = field(default_factory=dict)

    @property
    def requests(self) -> float:
        """Independent requests."""
        return self.total if self.units is None else self.units

    @property
    def usable(self) -> bool:
        """Whether these can be counts at all.

        >>> Counts(bad=1, total=2).usable, Counts(bad=3, total=2).usable, Counts(bad=float("nan"), total=2).usable
        (True, False, False)
        """
        # NaN compares false with everything.
        return 0 <= self.bad <= self.total < inf and 0 <= self.requests < inf


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmBlock:
    """One arm in one block.

    Attributes:
        started: requests that the router drew for it: first tries.
        carried: tries that it took on, also for requests that were drawn for the other arm; None where nobody counts
            tries.
        replicas: ready replicas.
        counts: metric name -> counts; None or absent when they are not known.
    """

    started: float
    replicas: float
    counts: Mapping[str, Counts | None]
    carried: float | None = None

    def known(self, metric: str) -> Counts | None:
        """Answer the counts of a metric when they are usable."""
        counts = self.counts.get(metric)
        return counts if counts is not None and counts.usable else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One interval of both arms.

    Attributes:
        end: when it ended, in the clock of `Window.now`.
        canary: None when a scrape of it is missing; then stable does not count either.
        stable: as the canary.
        warming: within the warm-up (cold prefix cache): only the absolute limits on errors and outputs look at it.
    """

    end: float
    canary: ArmBlock | None
    stable: ArmBlock | None
    warming: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomValues:
    """The latest answers to a custom query, one per interval, the newest last; None or NaN for no answer."""

    values: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """What one window tells the next; kept in status, as nothing else shows it later.

    Attributes:
        windows: windows opened in this rollout, the present one included; they share the error budget.
        latency_proven: a window with like load gave a latency Pass. Without one there is no 100 %.
    """

    windows: int = 1
    latency_proven: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """One step at one weight, since that weight was acknowledged. Evidence is never pooled over weights.

    Attributes:
        now: the present, in seconds of any one clock.
        weight: the canary's share of traffic, 0-1.
        blocks: oldest first, from the window's beginning, on a fixed grid.
        replica_shares: metric name -> (bad, total) of every stable replica over the window, for latency metrics: how
            much replicas differ from each other without any change.
        overdue: (canary, stable) streams that wait for their first token for longer than the bound: misses that no
            histogram has seen.
        canary_restarts: container restarts of the canary in the window.
        stable_restarts: those of stable.
        canary_replicas: replicas of the canary, warm or not.
        custom: answers to the custom queries, by name.
        tokens_per_second: (canary, stable) as their engines counted; told, never judged: it follows the load.
        last: the next step is 100 %.
    """

    now: float
    weight: float
    blocks: tuple[Block, ...]
    replica_shares: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    overdue: tuple[float, float] = (0.0, 0.0)
    canary_restarts: int = 0
    stable_restarts: int = 0
    canary_replicas: int = 1
    custom: Mapping[str, CustomValues] = field(default_factory=dict)
    tokens_per_second: tuple[float | None, float | None] = (None, None)
    last: bool = False
