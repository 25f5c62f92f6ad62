"""The listener: TLS, the filters and the shape of errors. Rendered once, from settings alone.

Nothing that changes at run time may stand here: a changed listener drains, and drained connections are cut.
"""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from google.protobuf import json_format
from google.protobuf.wrappers_pb2 import UInt32Value

from modelfleet.gateway import headers, proto
from modelfleet.gateway.render_cluster import ads_source
from modelfleet.gateway.render_limits import limit_filter
from modelfleet.gateway.render_measures import request_logs, try_logs
from modelfleet.gateway.render_table import forwarding, key_sources
from modelfleet.gateway.replies import RETRIABLE, RETRY_AFTER_SECONDS, local_replies

SCRIPTS = ("body.lua", "request.lua", "response.lua")
INTERNAL_HEADERS = "x-envoy-"
"""Envoy's own words to itself (timeouts, retries, where to): from a client they are removed."""


@dataclass(frozen=True, kw_only=True)
class ListenerSettings:
    """What an installation chooses once."""

    address: str = "0.0.0.0"  # noqa: S104 - a gateway is there to be reached
    port: int = 8443
    tls: bool = False
    """Whether the edge speaks TLS with the certificate of the SDS resource `edge`, rotated without a new listener."""
    largest_body_bytes: int = 32 * 1024 * 1024
    """Bodies are read whole to find the model in them; above this the answer is 413."""
    longest_upload_seconds: float = 300
    """Time that a client has to send all of a request; then the answer is 408. No answer is limited by it."""


def listener(settings: ListenerSettings) -> Any:
    """Render the listener."""
    rendered = proto.listener.Listener(
        name=headers.LISTENER,
        per_connection_buffer_limit_bytes=UInt32Value(value=settings.largest_body_bytes),
    )
    at = rendered.address.socket_address
    at.address, at.port_value = settings.address, settings.port
    chain = rendered.filter_chains.add()
    manager = chain.filters.add(name="envoy.filters.network.http_connection_manager")
    manager.typed_config.CopyFrom(proto.packed(_manager(settings)))
    if settings.tls:
        chain.transport_socket.name = "envoy.transport_sockets.tls"
        chain.transport_socket.typed_config.CopyFrom(proto.packed(_edge()))
    return rendered


def edge_secret(*, certificate: str, key: str) -> Any:
    """Render the certificate of the edge (both PEM)."""
    rendered = proto.secret.Secret(name=headers.EDGE_SECRET)
    rendered.tls_certificate.certificate_chain.inline_string = certificate
    rendered.tls_certificate.private_key.inline_string = key
    return rendered


def _edge() -> Any:
    context = proto.tls.DownstreamTlsContext()
    context.common_tls_context.alpn_protocols.extend(["h2", "http/1.1"])
    context.common_tls_context.tls_certificate_sds_secret_configs.add(name=headers.EDGE_SECRET, sds_config=ads_source())
    return context


def _manager(settings: ListenerSettings) -> Any:
    kind = proto.http.HttpConnectionManager
    manager = kind(
        stat_prefix="requests",
        rds=proto.http.Rds(route_config_name=headers.ROUTES, config_source=ads_source()),
        http_filters=_filters(),
        access_log=request_logs(),
        local_reply_config=json_format.ParseDict(local_replies(), proto.http.LocalReplyConfig()),
        # Silence is bounded per route; the manager's own five minutes would end a long prefill.
        stream_idle_timeout=proto.duration(0),
        request_headers_timeout=proto.duration(30),
        request_timeout=proto.duration(settings.longest_upload_seconds),
        merge_slashes=True,
        path_with_escaped_slashes_action=kind.REJECT_REQUEST,
        server_header_transformation=kind.PASS_THROUGH,
        always_set_request_id_in_response=True,
    )
    # Of a body in HTTP/2 no more is kept than its stream's window: by default half of what is taken in HTTP/1.1.
    manager.http2_protocol_options.initial_stream_window_size.value = settings.largest_body_bytes
    manager.use_remote_address.value = True
    manager.normalize_path.value = True
    manager.early_header_mutation_extensions.append(_cleaned())
    return manager


def _cleaned() -> Any:
    """Remove what only the gateway itself may say, before any filter reads it."""
    mutations: list[dict[str, Any]] = [{"remove": name} for name in headers.OWN]
    mutations.append({"remove_on_match": {"key_matcher": {"prefix": INTERNAL_HEADERS}}})
    cleaned = json_format.ParseDict({"mutations": mutations}, proto.early_headers.HeaderMutation())
    return proto.typed(cleaned, name="envoy.http.early_header_mutation.header_mutation")


def _filters() -> list[Any]:
    keys = proto.api_key.ApiKeyAuth(key_sources=key_sources(), forwarding=forwarding())
    lua = proto.lua.Lua(default_source_code=proto.base.DataSource(inline_string=script()))
    chain = (
        (headers.API_KEYS, keys),
        (headers.LIMITS, limit_filter()),
        (headers.LUA, lua),
        ("envoy.filters.http.router", _router()),
    )
    return [proto.typed(config, name=name, kind=proto.http.HttpFilter) for name, config in chain]


def _router() -> Any:
    router = proto.router.Router(upstream_log=try_logs())
    router.upstream_log_options.flush_upstream_log_on_upstream_stream = True  # also when a try begins
    return router


def script() -> str:
    """Give the Lua of requests and of answers, its constants first."""
    operations = ", ".join(f'["{path}"] = true' for path in headers.OPERATIONS)
    streams = ", ".join(f'["{path}"] = true' for path in headers.USAGE_ON_REQUEST)
    retriable = ", ".join(f'["{status}"] = true' for status in RETRIABLE)
    constants = (
        f'local MODEL_HEADER = "{headers.MODEL}"',
        f'local PREFIX_HEADER = "{headers.PREFIX}"',
        f'local METADATA = "{headers.METADATA}"',
        f'local TENANT_HEADER = "{headers.TENANT}"',
        f'local LISTING = "{headers.LISTING}"',
        f"local OPERATIONS = {{{operations}}}",
        f"local USAGE_ON_REQUEST = {{{streams}}}",
        f"local RETRIABLE = {{{retriable}}}",
        f'local RETRY_AFTER = "{RETRY_AFTER_SECONDS}"',
    )
    scripts = (files("modelfleet.gateway").joinpath(name).read_text() for name in SCRIPTS)
    return "\n".join((*constants, *scripts))
