"""From a fleet to resources: what one version of the world is in Envoy's words.

Renders again only what changed: a pod that comes or goes costs its own model. Must not know streams or nodes.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelfleet.core.routing.access import Admission, admission
from modelfleet.core.routing.digest import route_digest
from modelfleet.core.routing.model import Fleet, Served
from modelfleet.core.routing.resolve import Names, resolve
from modelfleet.gateway import headers, proto
from modelfleet.gateway.render_cluster import assignment, cluster, cluster_name
from modelfleet.gateway.render_listener import ListenerSettings, listener
from modelfleet.gateway.render_route import model_routes, pointer
from modelfleet.gateway.render_table import action, entries, list_action, listed, table

CLUSTERS = proto.PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS = proto.PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENERS = proto.PREFIX + "envoy.config.listener.v3.Listener"
ROUTES = proto.PREFIX + "envoy.config.route.v3.RouteConfiguration"
SECRETS = proto.PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource; its version is its content's hash, hence the same from every control replica."""

    version: str
    body: Any


@dataclass(frozen=True, kw_only=True)
class ModelState:
    """What must be acknowledged until a model's digest is."""

    digest: str
    route_version: str
    clusters: Mapping[str, tuple[str, str]]
    """Cluster → versions of itself and of its endpoints."""
    emptied: frozenset[str] = frozenset()
    """Clusters without endpoints, of a model of which another cluster has some: that one takes what they had."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All resources by type and name, and each model's part in them."""

    resources: Mapping[str, Mapping[str, Resource]] = field(default_factory=dict)
    models: Mapping[str, ModelState] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Rendered:
    given: tuple[Any, ...]
    clusters: Mapping[str, Resource]
    endpoints: Mapping[str, Resource]
    routes: bytes
    """Its part of the table."""
    listed: str
    state: ModelState


def resource(message: Any) -> Resource:
    """Wrap a message and name its version."""
    body = proto.packed(message)
    return Resource(version=_version(body.value), body=body)


class Renderer:
    """Keeps what was rendered, to render only what changed."""

    def __init__(self, *, settings: ListenerSettings) -> None:
        self._listener = resource(listener(settings))
        self._models: dict[str, _Rendered] = {}
        self._table: tuple[tuple[Any, ...], Resource] | None = None
        self._known: tuple[tuple[Any, ...], Names, Mapping[str, Admission]] | None = None

    def render(self, fleet: Fleet, *, secrets: Iterable[Any] = ()) -> Snapshot:
        """Render a fleet; `secrets` are further resources for the edge."""
        names, admitted = self._rights(fleet)
        models = {m.uid: self._model(m, names=names, admitted=admitted[m.uid]) for m in fleet.models}
        self._models = models
        return Snapshot(
            resources={
                SECRETS: {one.name: resource(one) for one in secrets},
                CLUSTERS: {name: one for m in models.values() for name, one in m.clusters.items()},
                ENDPOINTS: {name: one for m in models.values() for name, one in m.endpoints.items()},
                LISTENERS: {headers.LISTENER: self._listener},
                ROUTES: {headers.ROUTES: self._table_of(fleet)},
            },
            models={uid: m.state for uid, m in models.items()},
        )

    def _rights(self, fleet: Fleet) -> tuple[Names, Mapping[str, Admission]]:
        """Say which names reach whom and who may; pods, which come and go most, change nothing of it."""
        given = (
            tuple((m.uid, m.created, m.served_name, m.adapter_names, m.allowed_tenants) for m in fleet.models),
            fleet.keys,
            fleet.access,
            fleet.namespaces,
        )
        if self._known is None or self._known[0] != given:
            tenants = sorted({one.tenant for one in fleet.keys})
            admitted = {m.uid: admission(m, fleet=fleet, tenants=tenants) for m in fleet.models}
            self._known = (given, resolve(fleet.models), admitted)
        return self._known[1:]

    def _model(self, model: Served, *, names: Names, admitted: Admission) -> _Rendered:
        given = (model, names.of[model.uid], admitted)
        before = self._models.get(model.uid)
        if before is not None and before.given == given:
            return before
        clusters, endpoints = {}, {}
        for revision in model.revisions:
            described = cluster(model, revision)
            clusters[described.name] = resource(described)
            endpoints[described.name] = resource(assignment(model, revision))
        empty = frozenset(cluster_name(model, r.name) for r in model.revisions if not r.endpoints)
        routes = _routes(model, names=given[1], admitted=admitted)
        state = ModelState(
            digest=route_digest(model, names=given[1], admission=admitted),
            route_version=_version(routes),
            clusters={name: (one.version, endpoints[name].version) for name, one in clusters.items()},
            emptied=empty if len(empty) < len(clusters) else frozenset(),
        )
        return _Rendered(
            given=given,
            clusters=clusters,
            endpoints=endpoints,
            routes=routes,
            listed=listed(model, names=given[1]),
            state=state,
        )

    def _table_of(self, fleet: Fleet) -> Resource:
        models = [self._models[m.uid] for m in sorted(fleet.models, key=lambda m: m.full_name)]
        parts = [(m.state.route_version, m.listed, m.given[-1]) for m in models]
        given = (parts, fleet.keys, fleet.rates, fleet.access)
        if self._table is not None and self._table[0] == given:
            return self._table[1]
        rendered = resource(
            table(
                models=(m.routes for m in models),
                listing=list_action(
                    [(listed, admitted) for _, listed, admitted in parts], tenants=(one.tenant for one in fleet.keys)
                ),
                keys=fleet.keys,
                rates=fleet.rates,
                open_to_all=fleet.access == "Open",
            )
        )
        self._table = (given, rendered)
        return rendered


def _routes(model: Served, *, names: tuple[str, ...], admitted: Admission) -> bytes:
    full, *known = names
    return entries(
        {full: action(model_routes(model, admission=admitted)), **dict.fromkeys(known, action(pointer(model)))}
    )


def _version(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
