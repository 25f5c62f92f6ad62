"""Requests per second of a tenant: buckets in the route table, so that a new rate changes no listener.

Each Envoy has buckets of its own, and a new route table fills them anew. The check comes before the body is read. Must
not know who is a tenant: the key check has said so in a header that no client can write.
"""

from collections.abc import Mapping
from typing import Any

from modelfleet.gateway import headers, proto

STAT_PREFIX = "tenants"
TENANT = "tenant"
UNLIMITED = 2**32 - 1
"""Tokens per second of the bucket that Envoy demands for requests of everybody else."""


def limit_filter() -> Any:
    """Render the filter as the listener has it: it limits nothing until a table says so."""
    return proto.limit.LocalRateLimit(stat_prefix=STAT_PREFIX)


def limits(rates: Mapping[str, float]) -> Any:
    """Render tenants' rates (requests per second) for the route table."""
    limited = proto.limit.LocalRateLimit(stat_prefix=STAT_PREFIX, token_bucket=_bucket(UNLIMITED))
    for share in (limited.filter_enabled, limited.filter_enforced):
        share.default_value.numerator = 100
    who = limited.rate_limits.add().actions.add().request_headers
    who.header_name, who.descriptor_key = headers.TENANT, TENANT
    for tenant, rate in sorted(rates.items()):
        descriptor = limited.descriptors.add(token_bucket=_bucket(rate))
        descriptor.entries.add(key=TENANT, value=tenant)
    # What has a bucket of its own takes nothing from the common one.
    limited.always_consume_default_token_bucket.value = False
    return limited


def _bucket(rate: float) -> Any:
    """Hold the requests of one second, or one where the rate is below; Envoy counts whole tokens."""
    tokens = max(1, round(rate))
    bucket = proto.token_bucket.TokenBucket(max_tokens=tokens, fill_interval=proto.duration(tokens / rate))
    bucket.tokens_per_fill.value = tokens
    return bucket
