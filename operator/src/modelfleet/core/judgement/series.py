"""What vLLM calls the counters that a judgement is made of, and which bounds its histograms know.

Read by the adapter that asks for them, and by whoever sets a bound. A fleet may run several releases at once, so every
name of a meaning is asked for. Must not hold a query language.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

Latency = Literal["ttft", "interToken"]

FINISHED: Final = "vllm:request_success_total"
"""Requests that ended, by `finished_reason`: stop, length, abort (also: the client left), error, repetition."""
GENERATED: Final = "vllm:generation_tokens_total"
"""Tokens of answers: for tokens per second, which are told and not judged."""
BORN: Final = "process_start_time_seconds"
"""When the engine's process began: tells a restart that happened between two scrapes."""
HISTOGRAMS: Final[Mapping[Latency, tuple[str, ...]]] = MappingProxyType(
    {
        # One observation per request, at its first token.
        "ttft": ("vllm:time_to_first_token_seconds",),
        # One observation per gap between tokens. Before release 0.11 it was called after the output token.
        "interToken": ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
    }
)
"""Metric -> names, the newest first."""
BUCKETS: Final[Mapping[Latency, tuple[float, ...]]] = MappingProxyType(
    {
        "ttft": (
            *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
            *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
        ),
        "interToken": (
            *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
            *(20.0, 40.0, 80.0),
        ),
    }
)
"""Upper bounds of the buckets, in seconds: only these can be told apart."""


def bucket(*, metric: Latency, within: float) -> float:
    """Answer the bound that is measured for a wanted one: the same, or the next higher that the engine counts by.

    Higher, so that what is asked for as good is never counted as bad. Above the last one it is the last one.

    >>> bucket(metric="interToken", within=0.05), bucket(metric="ttft", within=0.8), bucket(metric="ttft", within=3600)
    (0.05, 1.0, 2560.0)
    """
    bounds = BUCKETS[metric]
    return next((bound for bound in bounds if bound >= within), bounds[-1])
