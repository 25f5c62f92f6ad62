"""Is the engine hung? Decided from numbers that the engine reports, and the time.

Pure: samples in, verdict out; the clock is an argument. It must not talk to the engine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SERIES = re.compile(r"^(vllm:[a-z_]+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_RUNNING = "vllm:num_requests_running"
_WORK = ("vllm:generation_tokens_total", "vllm:prompt_tokens_total")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the engine said about itself once."""

    running: float
    """Requests being computed, over all engine cores."""
    tokens: float
    """Tokens read and written since the start."""


def parse(metrics: str) -> Sample:
    r"""Read a Prometheus exposition; series that are absent count as 0.

    >>> parse('vllm:num_requests_running{engine="0"} 2.0\nvllm:prompt_tokens_total{engine="0"} 7.0')
    Sample(running=2.0, tokens=7.0)
    """
    found = [(name, float(value)) for name, value in _SERIES.findall(metrics)]
    return Sample(
        running=sum(value for name, value in found if name == _RUNNING),
        tokens=sum(value for name, value in found if name in _WORK),
    )


@dataclass(kw_only=True)
class Progress:
    """Remembers when tokens were last seen to move."""

    hang_after: float
    idle_probe_after: float
    last_tokens: float = -1.0
    last_moved: float = 0.0

    def observe(self, *, sample: Sample | None, now: float) -> bool:
        """Take a sample (None: no answer) and say whether one token should be asked for.

        An engine that hangs while idle still reports 0 running, so silence counts too, only later.
        """
        if sample is not None and sample.tokens != self.last_tokens:
            self.last_tokens, self.last_moved = sample.tokens, now
        idle = sample is not None and sample.running == 0
        return now - self.last_moved >= (self.idle_probe_after if idle else self.hang_after)

    def moved(self, *, now: float) -> None:
        """A token was generated."""
        self.last_moved = now
