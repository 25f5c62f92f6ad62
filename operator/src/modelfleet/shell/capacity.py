"""What a pass may see of devices: the room on nodes for one LLMDeployment's pods, and what its namespace's quotas leave.

Our own claims stand in the cache; those of others are listed where they matter. Must not decide.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from modelfleet.adapters.kube import Kube
from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core import names, observe
from modelfleet.core.fit import Claim, Room, Want, room
from modelfleet.core.quota import Left, left
from modelfleet.core.render.pod import render_template
from modelfleet.core.scheduling import NodeChoice, node_choice
from modelfleet.core.world import RenderSettings
from modelfleet.shell.cache import Cache
from modelfleet.shell.queue import Key

OTHERS_SECONDS = 15.0
NOT_OURS = f"!{names.OWNER}"


@dataclass(frozen=True, kw_only=True)
class Others:
    """What pods of others claim: on the nodes with devices, and in the namespace. None where nobody has to know."""

    on_nodes: tuple[Claim, ...] | None = None
    in_namespace: tuple[Claim, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Supply:
    """What comes out; the room is None where it is not known, or not asked for."""

    room: Room | None = None
    quotas: tuple[Left, ...] = ()


class Capacity:
    """Free devices, by nodes and by quotas."""

    def __init__(
        self, *, kube: Kube, cache: Cache, render: RenderSettings, read_nodes: bool, clock: Callable[[], float]
    ) -> None:
        self._kube, self._cache, self._clock = kube, cache, clock
        self._render, self._read_nodes = render, read_nodes
        self._known: dict[str, tuple[float, tuple[Claim, ...]]] = {}
        self._listing: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ask(self, key: Key, *, body: dict[str, Any], spec: LLMDeploymentSpec | None) -> Others:
        """Learn what pods of others claim, as far as it matters to this pass; the answer is good for 15 s.

        Raises:
            ApiProblem: their pods cannot be listed.
        """
        if spec is None or not spec.devices_per_replica:
            return Others()
        moves = self._moves(key, body=body)
        limited = self._may_be_limited(key, body=body, spec=spec, moves=moves)
        on_nodes = await self._on_nodes() if self._read_nodes and moves else None
        return Others(on_nodes=on_nodes, in_namespace=await self._in(key[0]) if limited else None)

    def look(self, key: Key, *, body: dict[str, Any], spec: LLMDeploymentSpec | None, others: Others) -> Supply:
        """Count what is left, everything that is promised at this moment taken off."""
        if spec is None or not spec.devices_per_replica:
            return Supply()
        found = None
        if others.on_nodes is not None:
            want = Want(
                resource=spec.accelerator.resource,
                count=spec.devices_per_replica,
                choice=self._choice(key, body=body, spec=spec),
            )
            found = self._room(key, want=want, others=others.on_nodes)
        return Supply(room=found, quotas=self._quotas(key, spec=spec, others=others))

    def _room(self, key: Key, *, want: Want, others: tuple[Claim, ...]) -> Room:
        devices, nodes = self._cache.devices, self._cache.nodes.values()
        found = room(want=want, nodes=nodes, claims=[*devices.claims(asker=key), *others])
        if own := devices.kept(resource=want.resource, asker=key):
            first = room(want=want, nodes=nodes, claims=[*devices.claims(asker=key, first=True), *others])
            return replace(found, replicas=max(found.replicas, min(first.replicas, -(-own // want.count))))
        return found

    def _quotas(self, key: Key, *, spec: LLMDeploymentSpec, others: Others) -> tuple[Left, ...]:
        quotas = self._cache.quotas_of(key[0])
        if not quotas:
            return ()
        resource, each, devices = spec.accelerator.resource, spec.devices_per_replica, self._cache.devices
        theirs = sum(claim.count for claim in others.in_namespace or () if claim.resource == resource)
        own = -(-devices.kept(resource=resource, asker=key) // each) * each
        claimed = [theirs + devices.claimed(resource=resource, asker=key, first=first) for first in (False, True)]
        found = []
        for quota in quotas:
            shown, first = (left(quota, resource=resource, claimed=number) for number in claimed)
            if shown is not None and first is not None:
                found.append(replace(shown, left=max(shown.left, min(first.left, own))))
        return tuple(found)

    def _may_be_limited(self, key: Key, *, body: dict[str, Any], spec: LLMDeploymentSpec, moves: bool) -> bool:
        """Tell whether it matters to this pass what others claim in the namespace."""
        resource = spec.accelerator.resource
        quotas = [quota for quota in self._cache.quotas_of(key[0]) if resource in quota.hard]
        if not quotas or spec.suspend or moves:
            return bool(quotas) and not spec.suspend
        asked = sum(w.replicas for w in self._cache.records(key, kind="Deployment", uid=body["metadata"]["uid"]))
        most = spec.scaling.max_replicas if spec.scaling else spec.replicas or 0
        more = (most - asked) * spec.devices_per_replica
        ours = self._cache.devices.claimed(resource=resource, asker=key)
        amounts = [(quota.hard[resource], quota.used.get(resource, 0)) for quota in quotas]
        # Without them at least `used` is known to be taken, and never more than that is theirs.
        return more > 0 and any(max(ours, used) < hard < ours + used + more for hard, used in amounts)

    def _moves(self, key: Key, *, body: dict[str, Any]) -> bool:
        """Tell whether this pass may replace replicas, or has some that wait for a device."""
        uid = body["metadata"]["uid"]
        workloads = list(self._cache.records(key, kind="Deployment", uid=uid))
        moving = {w.revision for w in workloads if w.replicas} != {_revision(body)}
        return moving or any(not r.scheduled for r in self._cache.records(key, kind="Pod", uid=uid))

    def _choice(self, key: Key, *, body: dict[str, Any], spec: LLMDeploymentSpec) -> NodeChoice:
        """Read where the pods of the revision that the spec asks for may go: as stored, or as it will be rendered."""
        revision = _revision(body)
        for stored in self._cache.records(key, kind="ControllerRevision", uid=body["metadata"]["uid"]):
            if stored.revision == revision:
                return node_choice(stored.template.get("spec") or {})
        template = render_template(name=key[1], revision=revision, spec=spec, settings=self._render)
        return node_choice(template.get("spec") or {})

    async def _on_nodes(self) -> tuple[Claim, ...]:
        nodes = [node.name for node in self._cache.nodes.values() if node.allocatable]
        return await self._claims("", [{"fields": f"spec.nodeName={name}"} for name in nodes])

    async def _in(self, namespace: str) -> tuple[Claim, ...]:
        return await self._claims(namespace, [{"namespace": namespace}])

    async def _claims(self, of: str, where: list[dict[str, str]]) -> tuple[Claim, ...]:
        if not self._fresh(of):
            async with self._listing[of]:  # the first who asks lists for everyone
                if not self._fresh(of):
                    found: list[Claim] = []
                    for one in where:
                        pods = await self._kube.list(api_version="v1", kind="Pod", selector=NOT_OURS, **one)
                        found += [claim for pod in pods for claim in observe.claims(pod)]
                    self._known[of] = (self._clock(), tuple(found))
        return self._known[of][1]

    def _fresh(self, of: str) -> bool:
        return of in self._known and self._clock() - self._known[of][0] < OTHERS_SECONDS


def _revision(body: dict[str, Any]) -> str:
    annotations = body["metadata"].get("annotations") or {}
    return names.revision_hash(spec=body.get("spec") or {}, annotations=annotations)
