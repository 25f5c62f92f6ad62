"""One Envoy cluster and its endpoints per revision.

A cluster always travels with its ClusterLoadAssignment, be it empty: a cluster without one warms for ever.
"""

from typing import Any

from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from modelfleet.core.routing.model import Revision, Served
from modelfleet.gateway import proto
from modelfleet.gateway.render_measures import labels

NO_LIMIT = 1_000_000
"""Requests are bounded by the engines' own queues; Envoy's default of 1024 would cut a large fleet."""
IDLE_SECONDS = 4
"""Below the five seconds after which an engine's server closes an idle connection, so that none is reused as it goes."""
HASH_BALANCE_PERCENT = 125
"""Most load that one replica may have, relative to the average, however hot its prefix is."""


def cluster_name(model: Served, revision: str) -> str:
    """Name a revision's cluster. No dots: Envoy's statistics split at them."""
    return f"{model.namespace}/{model.name}/{revision}"


def cluster(model: Served, revision: Revision) -> Any:
    """Render the cluster of one revision; nothing in it depends on its endpoints."""
    hashed = model.balance == "PrefixAffinity" or model.stickiness is not None
    kind = proto.cluster.Cluster
    options = proto.upstream_http.HttpProtocolOptions()
    options.common_http_protocol_options.idle_timeout.CopyFrom(proto.duration(IDLE_SECONDS))
    options.explicit_http_config.http_protocol_options.SetInParent()
    rendered = kind(
        name=cluster_name(model, revision.name),
        type=kind.EDS,
        connect_timeout=proto.duration(model.timeouts.connect),
        lb_policy=kind.RING_HASH if hashed else kind.LEAST_REQUEST,
        eds_cluster_config=kind.EdsClusterConfig(eds_config=ads_source()),
        circuit_breakers=_breakers(),
        outlier_detection=_ejection(),
        metadata=labels(revision=revision.name),
        typed_extension_protocol_options={options.DESCRIPTOR.full_name: proto.packed(options)},
    )
    rendered.upstream_connection_options.tcp_keepalive.SetInParent()
    if hashed:
        rendered.common_lb_config.consistent_hashing_lb_config.hash_balance_factor.value = HASH_BALANCE_PERCENT
    return rendered


def assignment(model: Served, revision: Revision) -> Any:
    """Render the endpoints of one revision, sorted, so that the same pods are the same bytes everywhere."""
    rendered = proto.endpoint.ClusterLoadAssignment(cluster_name=cluster_name(model, revision.name))
    if revision.endpoints:
        group = rendered.endpoints.add()
        for one in sorted(revision.endpoints):
            address = group.lb_endpoints.add().endpoint.address.socket_address
            address.address, address.port_value = one.address, one.port
    return rendered


def ads_source() -> Any:
    """Say that a resource comes over the one stream."""
    config = proto.source
    return config.ConfigSource(ads=config.AggregatedConfigSource(), resource_api_version=config.ApiVersion.V3)


def _breakers() -> Any:
    limit = UInt32Value(value=NO_LIMIT)
    threshold = proto.breaker.CircuitBreakers.Thresholds(
        max_connections=limit, max_pending_requests=limit, max_requests=limit, max_retries=UInt32Value(value=1024)
    )
    return proto.breaker.CircuitBreakers(thresholds=[threshold])


def _ejection() -> Any:
    """Eject a pod that refuses or answers 502 to 504 three times running.

    Not one that answers 500: a request that breaks an engine would take away one replica after the other.
    """
    return proto.outlier.OutlierDetection(
        consecutive_gateway_failure=UInt32Value(value=3),
        enforcing_consecutive_gateway_failure=UInt32Value(value=100),
        enforcing_consecutive_5xx=UInt32Value(value=0),
        enforcing_success_rate=UInt32Value(value=0),
        base_ejection_time=proto.duration(5),
        max_ejection_time=proto.duration(60),
        interval=proto.duration(1),
        max_ejection_percent=UInt32Value(value=50),
        always_eject_one_host=BoolValue(value=True),
    )
