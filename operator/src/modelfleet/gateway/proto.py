"""Envoy's message types under short names, and the two wrappers that every extension needs.

The generated modules have no types; they are imported here only. Must not know what is configured.
"""

from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2 as accesslog
from envoy.config.cluster.v3 import circuit_breaker_pb2 as breaker
from envoy.config.cluster.v3 import cluster_pb2 as cluster
from envoy.config.cluster.v3 import outlier_detection_pb2 as outlier
from envoy.config.core.v3 import base_pb2 as base
from envoy.config.core.v3 import config_source_pb2 as source
from envoy.config.core.v3 import extension_pb2 as extension
from envoy.config.endpoint.v3 import endpoint_components_pb2 as endpoints
from envoy.config.endpoint.v3 import endpoint_pb2 as endpoint
from envoy.config.listener.v3 import listener_pb2 as listener
from envoy.config.route.v3 import route_components_pb2 as route
from envoy.config.route.v3 import route_pb2 as routes
from envoy.extensions.access_loggers.stream.v3 import stream_pb2 as stream_log
from envoy.extensions.filters.http.api_key_auth.v3 import api_key_auth_pb2 as api_key
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2 as limit
from envoy.extensions.filters.http.lua.v3 import lua_pb2 as lua
from envoy.extensions.filters.http.router.v3 import router_pb2 as router
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as http
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2 as early_headers
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2 as previous_hosts
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2 as secret
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2 as tls
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as upstream_http
from envoy.service.discovery.v3 import discovery_pb2 as discovery
from envoy.type.matcher.v3 import http_inputs_pb2 as inputs
from envoy.type.v3 import token_bucket_pb2 as token_bucket
from google.protobuf import any_pb2, duration_pb2, json_format, struct_pb2
from xds.type.matcher.v3 import matcher_pb2 as matcher
from xds.type.v3 import typed_struct_pb2 as typed_struct

__all__ = [
    "access_log",
    "any_pb2",
    "api_key",
    "base",
    "breaker",
    "cluster",
    "discovery",
    "duration",
    "early_headers",
    "endpoint",
    "endpoints",
    "extension",
    "http",
    "inputs",
    "limit",
    "listener",
    "loose",
    "lua",
    "matcher",
    "outlier",
    "packed",
    "previous_hosts",
    "route",
    "router",
    "routes",
    "secret",
    "source",
    "stream_log",
    "struct_pb2",
    "tls",
    "token_bucket",
    "typed",
    "upstream_http",
]

PREFIX = "type.googleapis.com/"


def packed(message: Any) -> Any:
    """Wrap a message as google.protobuf.Any, always in the same bytes for the same content."""
    return any_pb2.Any(
        type_url=PREFIX + message.DESCRIPTOR.full_name, value=message.SerializeToString(deterministic=True)
    )


def typed(message: Any, *, name: str, kind: Any = None) -> Any:
    """Wrap a message as a named extension; `kind` is the wrapper where it is another than TypedExtensionConfig."""
    return (kind or extension.TypedExtensionConfig)(name=name, typed_config=packed(message))


def loose(url: str, config: dict[str, Any]) -> Any:
    """Wrap words as a message that the generated modules do not have, or have an older form of; Envoy reads them."""
    wrapped = typed_struct.TypedStruct(type_url=url)
    wrapped.value.update(config)
    return packed(wrapped)


def access_log(*, name: str, when: dict[str, Any] | None, config: Any) -> Any:
    """Wrap an access logger with its filter, which is given in Envoy's JSON; None for every request."""
    log = accesslog.AccessLog(name=name, typed_config=config)
    if when is not None:
        json_format.ParseDict(when, log.filter)
    return log


def duration(seconds: float) -> Any:
    """Write seconds as Envoy does."""
    whole = int(seconds)
    return duration_pb2.Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))
