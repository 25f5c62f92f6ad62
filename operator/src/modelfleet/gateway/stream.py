"""One Envoy's stream: what it has, what it asked for, what it said yes or no to.

Plain bookkeeping over messages, no I/O: `ads` moves them. Versions are content hashes, so an Envoy that comes from
another control replica says what it has and gets only what differs. Must not know models beyond their states.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelfleet.gateway import proto
from modelfleet.gateway.snapshot import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, SECRETS, ModelState, Snapshot

ORDER = (SECRETS, CLUSTERS, ENDPOINTS, LISTENERS, ROUTES)
"""Nothing is named before it is there: clusters and endpoints go before the routes to them."""
ALL = "*"


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """An Envoy's no: its own message, and which resources were in what it refused."""

    kind: str
    message: str
    names: tuple[str, ...]


@dataclass(kw_only=True)
class _Sent:
    kind: str
    versions: Mapping[str, str]
    removed: tuple[str, ...]
    routes: Mapping[str, str]


@dataclass(kw_only=True, eq=False)
class Stream:
    """The state of one stream."""

    node: str = ""
    confirmed: dict[str, str] = field(default_factory=dict)
    """UID → the digest that this Envoy has taken in wholly."""
    rejections: dict[str, Rejection] = field(default_factory=dict)
    """Type → its last no, until it says yes to that type again."""
    stuck: set[str] = field(default_factory=set)
    """Clusters whose endpoints it has not asked for in time: routes wait for them no longer."""
    _wanted: dict[str, set[str]] = field(default_factory=dict)
    _sent: dict[str, dict[str, str]] = field(default_factory=dict)
    _acked: dict[str, dict[str, str]] = field(default_factory=dict)
    _routes: dict[str, str] = field(default_factory=dict)
    _open: dict[str, _Sent] = field(default_factory=dict)
    _retry: list[str] = field(default_factory=list)
    _greeted: set[str] = field(default_factory=set)
    _new: set[str] = field(default_factory=set)
    _nonce: int = 0

    def take(self, request: Any, *, snapshot: Snapshot) -> Rejection | None:
        """Take in a request; returns what it rejects, if it does."""
        self.node = self.node or request.node.id
        kind = request.type_url
        rejection = self._answered(request) if request.response_nonce else None
        if kind not in self._wanted:
            self._wanted[kind] = set(request.resource_names_subscribe) or {ALL}
            self._sent[kind] = dict(request.initial_resource_versions)
            self._acked[kind] = dict(request.initial_resource_versions)
        elif request.resource_names_subscribe or request.resource_names_unsubscribe:
            self._wanted[kind] |= set(request.resource_names_subscribe)
            self._wanted[kind] -= set(request.resource_names_unsubscribe)
            for name in (*request.resource_names_subscribe, *request.resource_names_unsubscribe):
                self._sent[kind].pop(name, None)  # asked for again: it has it no longer
        self._confirm(snapshot)
        return rejection

    def due(self, snapshot: Snapshot) -> Iterator[Any]:
        """Give the responses to send now, in order."""
        for kind in ORDER:
            if kind not in self._wanted or (kind == ROUTES and self.waiting(snapshot)):
                continue
            resources = snapshot.resources.get(kind, {})
            versions = {n: r.version for n, r in resources.items() if self._wants(kind, n)}
            changed = [n for n, version in versions.items() if self._sent[kind].get(n) != version]
            if kind == ENDPOINTS and changed:
                held = self._held(snapshot)
                changed = [name for name in changed if name not in held]
            # An Envoy that asks for all and hears nothing waits for 15 s: nothing is an answer too.
            if changed or (kind not in self._greeted and ALL in self._wanted[kind]):
                yield self._response(kind, changed, snapshot)
        while self._retry:
            if (name := self._retry.pop()) in snapshot.resources.get(CLUSTERS, {}):
                yield self._response(CLUSTERS, [name], snapshot)
        if gone := self._removable(snapshot):
            yield self._response(CLUSTERS, [], snapshot, removed=gone)
        self._confirm(snapshot)

    def waiting(self, snapshot: Snapshot) -> set[str]:
        """Name the clusters that routes wait for: this Envoy is still about to take them in.

        It asks for a cluster's endpoints when it has taken the cluster in.
        """
        clusters = snapshot.resources.get(CLUSTERS, {}).keys()
        missing = set(clusters - self._sent.get(ENDPOINTS, {}).keys()) if CLUSTERS in self._wanted else set()
        return missing - self.stuck

    def _held(self, snapshot: Snapshot) -> set[str]:
        """Name the clusters whose last endpoints stay until routes that pass them over are in use.

        A request for a cluster without endpoints fails at once. One for an endpoint that is gone is tried elsewhere.
        """
        if ROUTES not in self._wanted or ROUTES in self.rejections:
            return set()
        late = (m for uid, m in snapshot.models.items() if m.emptied and self._routes.get(uid) != m.route_version)
        return {name for model in late for name in model.emptied if name in self._sent[ENDPOINTS]}

    def _removable(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Name the clusters that may go: none that a route table, known to be in use, may still name."""
        gone = self._sent.get(CLUSTERS, {}).keys() - snapshot.resources.get(CLUSTERS, {}).keys()
        if not gone or (ROUTES in self._wanted and not self._up_to_date(ROUTES, snapshot)):
            return ()
        return tuple(sorted(gone))

    def _up_to_date(self, kind: str, snapshot: Snapshot) -> bool:
        resources = snapshot.resources.get(kind, {})
        return all(self._acked.get(kind, {}).get(n) == r.version for n, r in resources.items() if self._wants(kind, n))

    def _wants(self, kind: str, name: str) -> bool:
        wanted = self._wanted.get(kind, set())
        return ALL in wanted or name in wanted

    def _response(self, kind: str, names: list[str], snapshot: Snapshot, *, removed: tuple[str, ...] = ()) -> Any:
        resources = snapshot.resources.get(kind, {})
        versions = {name: resources[name].version for name in names}
        if kind == CLUSTERS:
            self._new = (self._new - versions.keys()) | (versions.keys() - self._sent[kind].keys())
        self._sent[kind].update(versions)
        for name in removed:
            self._sent[kind].pop(name, None)
            self._new.discard(name)
        if kind == ENDPOINTS:
            self.stuck -= versions.keys()
        for name in names if kind == CLUSTERS else ():
            # A changed cluster warms anew and does not ask again: its endpoints follow it unasked.
            self._sent.get(ENDPOINTS, {}).pop(name, None)
        self._greeted.add(kind)
        self._nonce += 1
        nonce = str(self._nonce)
        routes = {uid: m.route_version for uid, m in snapshot.models.items()} if kind == ROUTES else {}
        self._open[nonce] = _Sent(kind=kind, versions=versions, removed=removed, routes=routes)
        discovery = proto.discovery
        return discovery.DeltaDiscoveryResponse(
            type_url=kind,
            nonce=nonce,
            removed_resources=removed,
            resources=[
                discovery.Resource(name=n, version=resources[n].version, resource=resources[n].body) for n in names
            ],
        )

    def _answered(self, request: Any) -> Rejection | None:
        sent = self._open.pop(request.response_nonce, None)
        if sent is None:
            return None
        if request.HasField("error_detail"):
            names = tuple(sorted(sent.versions))
            rejection = Rejection(kind=sent.kind, message=request.error_detail.message, names=names)
            self.rejections[sent.kind] = rejection
            if sent.kind == CLUSTERS:
                # One bad cluster must not hide that the others were taken: each is sent again by itself.
                self.stuck |= set(names) if len(names) == 1 else set()
                self._retry += names if len(names) > 1 else ()
            return rejection
        acked = self._acked.setdefault(sent.kind, {})
        acked.update(sent.versions)
        for name in sent.removed:
            acked.pop(name, None)
        if sent.kind == ROUTES:
            self._routes = dict(sent.routes)
        if sent.kind == ENDPOINTS:
            # One cluster that warms for ever keeps back Envoy's yes to all: that it took in the endpoints of a cluster
            # that it did not have before, for which it asked, says the same of this one.
            taken = self._new & sent.versions.keys()
            self._acked[CLUSTERS].update({name: self._sent[CLUSTERS][name] for name in taken})
            self._new -= taken
        self._forgive(sent)
        return None

    def _forgive(self, sent: _Sent) -> None:
        """A yes clears an earlier no, if it is about the same resources."""
        rejected = self.rejections.get(sent.kind)
        if rejected is not None and (sent.kind != CLUSTERS or set(rejected.names) & set(sent.versions)):
            del self.rejections[sent.kind]

    def _confirm(self, snapshot: Snapshot) -> None:
        if ROUTES in self._wanted and snapshot.models and self._up_to_date(ROUTES, snapshot):
            self._routes = {uid: m.route_version for uid, m in snapshot.models.items()}
        for uid in self.confirmed.keys() - snapshot.models.keys():
            del self.confirmed[uid]
        for uid, model in snapshot.models.items():
            if self.confirmed.get(uid) != model.digest and self._has(uid, model):
                self.confirmed[uid] = model.digest

    def _has(self, uid: str, model: ModelState) -> bool:
        clusters, endpoints = self._acked.get(CLUSTERS, {}), self._acked.get(ENDPOINTS, {})
        return self._routes.get(uid) == model.route_version and all(
            clusters.get(name) == version and endpoints.get(name) == of_endpoints
            for name, (version, of_endpoints) in model.clusters.items()
        )
