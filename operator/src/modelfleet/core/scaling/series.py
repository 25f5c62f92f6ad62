"""What vLLM calls the series that signals are made of: names change between releases, meanings do not.

Read by the adapter that writes the queries. A fleet may run several releases at once, so a query asks for every name of
a meaning; a name is removed when no release that has it is supported any more. Must not hold a query language.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

Meaning = Literal["waiting", "running", "kv_cache_usage"]

NAMES: Final[Mapping[Meaning, tuple[str, ...]]] = MappingProxyType(
    {
        # Requests that wait for a place in the batch.
        "waiting": ("vllm:num_requests_waiting",),
        # Requests in the batch.
        "running": ("vllm:num_requests_running",),
        # Share of the KV cache that is taken, 0-1. Before release 0.12 it was called after the GPU.
        "kv_cache_usage": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    }
)
"""Meaning -> names, the newest first. All are gauges, one series per engine and served model."""
