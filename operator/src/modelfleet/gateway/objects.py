"""What the watches have shown, as a fleet: LLMDeployments, their pods by owner, keys and the edge's certificate.

A label alone puts no pod into a route: its chain of controllers must end at the LLMDeployment, all in one namespace.
Must not fetch or render.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from modelfleet.core import names
from modelfleet.core.routing.model import Access, ApiKey, Fleet, Served
from modelfleet.core.routing.read import api_keys, certificate, routed, served

log = structlog.get_logger(__name__)
Json = Mapping[str, Any]
LONGEST_CHAIN = 4
"""Pod, ReplicaSet, Deployment, LLMDeployment."""


@dataclass(frozen=True, kw_only=True)
class _Pod:
    namespace: str
    owner: str
    body: Json


@dataclass(kw_only=True)
class Objects:
    """The last known state; reads again only what an event touched."""

    access: Access
    namespaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    edge: tuple[str, str] | None = None
    """Certificate and key of the edge, both PEM."""
    _fleet: dict[str, Json] = field(default_factory=dict)
    _owners: dict[str, tuple[str, str]] = field(default_factory=dict)
    """UID of a ReplicaSet or Deployment → namespace and UID of its controller."""
    _pods: dict[str, dict[str, _Pod]] = field(default_factory=lambda: defaultdict(dict))
    """namespace/name of the LLMDeployment that the label names → pods by UID."""
    _keys: dict[str, tuple[ApiKey, ...]] = field(default_factory=dict)
    _served: dict[str, Served] = field(default_factory=dict)
    _at: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """namespace/name → UIDs of the LLMDeployments there: two for a moment when one is made anew."""
    _labelled: dict[str, str] = field(default_factory=dict)
    """UID of a pod → where it was put."""

    def llmdeployment(self, body: Json, *, deleted: bool = False) -> None:
        """Take in an LLMDeployment."""
        meta = body["metadata"]
        uid, place = meta["uid"], f"{meta['namespace']}/{meta['name']}"
        self._served.pop(uid, None)
        if deleted or not routed(body):
            self._fleet.pop(uid, None)
            self._at[place].discard(uid)
        else:
            self._fleet[uid] = body
            self._at[place].add(uid)

    def pod(self, body: Json, *, deleted: bool = False) -> None:
        """Take in a pod."""
        meta = body["metadata"]
        place = self._labelled.pop(meta["uid"], None)
        if place is not None:
            self._pods[place].pop(meta["uid"], None)
            self._touch(place)
        if not deleted:
            place = _place(meta)
            self._labelled[meta["uid"]] = place
            self._pods[place][meta["uid"]] = _Pod(
                namespace=meta["namespace"], owner=_controller(meta), body=_slim(body)
            )
            self._touch(place)

    def owner(self, body: Json, *, deleted: bool = False) -> None:
        """Take in a ReplicaSet or Deployment."""
        meta = body["metadata"]
        before = self._owners.pop(meta["uid"], None)
        if not deleted:
            self._owners[meta["uid"]] = (meta["namespace"], _controller(meta))
        if before != self._owners.get(meta["uid"]):
            self._touch(_place(meta))

    def keys(self, body: Json, *, deleted: bool = False) -> None:
        """Take in a Secret of API keys."""
        meta = body["metadata"]
        self._keys.pop(meta["uid"], None)
        if deleted:
            return
        self._keys[meta["uid"]] = api_keys(body)
        if not self._keys[meta["uid"]]:
            log.warning(
                "keys.unusable", secret=meta["name"], message=f"annotate it with {names.TENANT}; values are keys"
            )

    def edge_secret(self, body: Json, *, deleted: bool = False) -> None:
        """Take in the edge's certificate; a deleted or half-written one leaves the last in use."""
        self.edge = (None if deleted else certificate(body)) or self.edge

    def fleet(self) -> Fleet:
        """Give all of it."""
        for uid, body in self._fleet.items():
            if uid not in self._served:
                self._served[uid] = served(body, pods=self._own(uid, body))
        keys = {one for found in self._keys.values() for one in found}
        return Fleet(
            models=tuple(self._served[uid] for uid in sorted(self._fleet)),
            keys=tuple(sorted(keys, key=lambda one: (one.tenant, one.key))),
            access=self.access,
            namespaces=self.namespaces,
            rates=self.rates,
        )

    def _own(self, uid: str, body: Json) -> list[Json]:
        meta = body["metadata"]
        labelled = self._pods.get(f"{meta['namespace']}/{meta['name']}", {}).values()
        return [pod.body for pod in labelled if self._root(pod) == uid]

    def _root(self, pod: _Pod) -> str:
        """Follow the controllers of a pod to the top."""
        uid = pod.owner
        for _ in range(LONGEST_CHAIN):
            above = self._owners.get(uid)
            if above is None or above[0] != pod.namespace:
                return uid
            uid = above[1]
        return ""

    def _touch(self, place: str) -> None:
        for uid in self._at.get(place, ()):
            self._served.pop(uid, None)


def _place(meta: Json) -> str:
    return f"{meta['namespace']}/{(meta.get('labels') or {}).get(names.OWNER, '')}"


def _controller(meta: Json) -> str:
    return next((str(o["uid"]) for o in meta.get("ownerReferences") or () if o.get("controller")), "")


def _slim(pod: Json) -> Json:
    """Keep what routes are made of; a fleet has many pods and each has long lists of volumes."""
    meta, status = pod["metadata"], pod.get("status") or {}
    kept = {key: meta[key] for key in ("labels", "deletionTimestamp") if key in meta}
    conditions = [c for c in status.get("conditions") or () if c.get("type") == "Ready"]
    return {"metadata": kept, "status": {"podIP": status.get("podIP"), "conditions": conditions}}
