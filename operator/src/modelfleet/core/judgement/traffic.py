"""What the gateway counted of one revision, over all of its Envoys, per block.

Each Envoy counts for itself and starts anew by itself, so each is read for itself. Must not know what an outcome means
for a verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelfleet.core.judgement.counters import Counted, Series, falls, increases, summed
from modelfleet.core.judgement.question import Answers, Part, SeriesKey, Values

PARTS: tuple[Part, ...] = ("started", "attempts_started", "attempts", "first_attempts", "requests")


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """Requests and tries of one revision; None in a block of which an Envoy's scrape is missing.

    Attributes:
        started: requests handed out for the first time.
        attempts_started: tries that began.
        attempts: tries that ended, by outcome.
        first_attempts: first tries of requests that were drawn for it, and what no try shows, by outcome.
        requests: requests that ended as clients saw them, by outcome.
        nothing: zero wherever anything is known.
    """

    started: Counted
    attempts_started: Counted
    attempts: Mapping[str, Counted]
    first_attempts: Mapping[str, Counted]
    requests: Mapping[str, Counted]
    nothing: Counted

    def ended(self, part: Mapping[str, Counted], *outcomes: str) -> Counted:
        """Add up some outcomes, or all of them."""
        return summed([self.nothing, *(counts for name, counts in part.items() if not outcomes or name in outcomes)])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Envoy:
    """One process of the data plane; `present` says per edge whether there is a fresh sample of anything."""

    rows: Mapping[SeriesKey, Values]
    present: Sequence[bool]
    resets: frozenset[int]

    def counted(self, key: SeriesKey) -> Counted:
        """Count one series. What has not happened yet has none: where the Envoy is there, that is 0."""
        values = self.rows.get(key, (None,) * len(self.present))
        filled = [
            (0.0 if value is None else value) if here else None
            for value, here in zip(values, self.present, strict=True)
        ]
        # Absent at the end it has gone, or will be back; meanwhile both arms lack the same of it.
        return increases(Series(values=filled, gone=True, resets=self.resets))


def traffic(answers: Answers, *, revision: str) -> Traffic:
    """Read one revision's part of what all Envoys counted."""
    edges = len(answers.asked.edges)
    envoys = _envoys(answers)
    nothing: Counted = tuple(
        0.0 if any(envoy.present[i - 1] and envoy.present[i] for envoy in envoys.values()) else None
        for i in range(1, edges)
    )

    def count(part: Part, kind: str = "") -> Counted:
        found = (envoy.counted(SeriesKey(part, name, revision, kind)) for name, envoy in envoys.items())
        return summed([nothing, *found])

    def by_kind(part: Part) -> dict[str, Counted]:
        kinds = {key.kind for key in answers.series if key.part == part and key.revision == revision}
        return {kind: count(part, kind) for kind in sorted(kinds)}

    return Traffic(
        started=count("started"),
        attempts_started=count("attempts_started"),
        attempts=by_kind("attempts"),
        first_attempts=by_kind("first_attempts"),
        requests=by_kind("requests"),
        nothing=nothing,
    )


def _envoys(answers: Answers) -> dict[str, _Envoy]:
    found: dict[str, dict[SeriesKey, Values]] = {}
    for key, values in answers.series.items():
        if key.part in PARTS:
            found.setdefault(key.process, {})[key] = values
    edges = range(len(answers.asked.edges))
    return {
        name: _Envoy(
            rows=rows,
            present=[any(row[i] is not None for row in rows.values()) for i in edges],
            # Of the rows as they came: one that has gone says nothing of the others.
            resets=falls(rows.values()),
        )
        for name, rows in found.items()
    }
