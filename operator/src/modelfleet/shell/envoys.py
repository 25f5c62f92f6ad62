"""What the gateway's Envoys have taken in, asked for no more often than passes need it.

Must not judge the answers: `core/routing/router.py` narrows them to one LLMDeployment, `decide` reads that.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from modelfleet.core.routing.router import Reports, Router
from modelfleet.core.world import Replica
from modelfleet.ports import Acknowledgements

FRESH_SECONDS = 0.4
"""Below the pause between two passes of a replica that leaves: each of these asks anew, others share the answer."""


class Envoys:
    """The last reports, and when to ask for newer ones. Without a gateway nobody is asked."""

    def __init__(self, *, source: Acknowledgements | None = None, clock: Callable[[], float] = time.time) -> None:
        self._source, self._clock = source, clock
        self._asking = asyncio.Lock()
        self.reports: Reports | None = None

    def must_ask(self, replicas: Iterable[Replica], *, uid: str = "", weights: Mapping[str, int] | None = None) -> bool:
        """Whether news is waited for: by a replica that leaves, or by weights that not every Envoy has."""
        if self._source is None:
            return False
        out = [r.out_since for r in replicas if not r.in_rotation and not r.terminating]
        known = self.reports.of(uid).weights if self.reports and weights is not None else None
        awaited = weights is not None and (
            known is None or any(known.get(revision, 0) != weight for revision, weight in weights.items())
        )
        if not out and not awaited:
            return False
        return (
            self.reports is None
            or self.reports.observed_at < max(out, default=0.0)
            or self._clock() - self.reports.observed_at > FRESH_SECONDS
        )

    async def ask(self) -> None:
        """Ask the whole gateway once, however many passes want to know.

        Raises:
            ApiProblem: the gateway's pods cannot be listed.
        """
        wished = self._clock()
        async with self._asking:
            if self._source is not None and (self.reports is None or self.reports.observed_at < wished):
                self.reports = await self._source.fetch()

    def router(self, uid: str) -> Router | None:
        """Give the last word about one LLMDeployment."""
        return self.reports.of(uid) if self.reports is not None else None
