"""What the operator needs from the world, one small Protocol each.

Implemented by `adapters/`, consumed by `shell/`, replaced by doubles in tests. Must not import an implementation.
"""

from typing import Protocol

from modelfleet.core.judgement.question import Answers, Question
from modelfleet.core.routing.router import Reports
from modelfleet.core.scaling.signals import FleetSignals


class Metrics(Protocol):
    """Where signals come from."""

    async def fetch(self) -> FleetSignals:
        """Ask once for the whole fleet; never raises: what failed is in the answer's `errors`."""
        ...


class Analysis(Protocol):
    """Where the counts come from that a canary is judged by."""

    async def fetch(self, question: Question) -> Answers:
        """Ask for one window; never raises: what failed is in the answer's `errors`."""
        ...


class Acknowledgements(Protocol):
    """Who knows what the gateway's Envoys have taken in."""

    async def fetch(self) -> Reports:
        """Ask once for the whole fleet."""
        ...
