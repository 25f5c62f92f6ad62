"""What the watches have shown: LLMDeployments, what they own, nodes. Newest resourceVersion wins.

Filled by a listing at start, by watch events, and by the answers to our own writes. Must not fetch.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelfleet.api.v1alpha1.spec import Accelerator
from modelfleet.core import names, observe, quota
from modelfleet.core.fit import Claim, Node
from modelfleet.core.quota import Quota
from modelfleet.core.world import Job, OwnedObject, Replica, StoredRevision, Workload
from modelfleet.shell.devices import Devices
from modelfleet.shell.queue import Key

Record = Replica | Workload | StoredRevision | Job | OwnedObject
DEVICE = Accelerator().resource
"""What a replica gets where the spec names no other."""
READERS = {
    "Pod": observe.replica,
    "Deployment": observe.workload,
    "ControllerRevision": observe.stored_revision,
    "Job": observe.job,
    "Service": observe.owned_object,
    "PodDisruptionBudget": observe.owned_object,
    "NetworkPolicy": observe.owned_object,
    "HTTPRoute": observe.owned_object,
}


@dataclass(kw_only=True)
class _Entry:
    version: int
    uid: str
    owners: frozenset[str]
    record: Any
    claims: tuple[Claim, ...] = ()


@dataclass(kw_only=True)
class Cache:
    """The last known state of everything that decisions look at."""

    fleet: dict[Key, dict[str, Any]] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    quotas: dict[str, dict[str, Quota]] = field(default_factory=dict)
    """By namespace, then name; only those that limit devices."""
    waiting: set[Key] = field(default_factory=set)
    """Who waits for a free device: woken when a node changes or a pod goes."""
    devices: Devices = field(default_factory=Devices)
    _owned: dict[Key, dict[tuple[str, str], _Entry]] = field(default_factory=lambda: defaultdict(dict))
    _at: dict[tuple[str, str, str], Key] = field(default_factory=dict)
    """Under whom an owned object is kept, by kind, namespace and name: its label may come to name another."""
    _served: dict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))

    def observe(self, body: Mapping[str, Any], *, deleted: bool = False) -> Key | None:
        """Take in one object; returns the LLMDeployment that it concerns, None for a node or quota."""
        kind, meta = body["kind"], body["metadata"]
        if kind == "Node":
            if deleted:
                self.nodes.pop(meta["name"], None)
            else:
                self.nodes[meta["name"]] = observe.node(body)
            return None
        if kind == "ResourceQuota":
            self._set_quota(meta["namespace"], meta["name"], None if deleted else quota.read(body))
            return None
        if kind == names.KIND:
            return self._observe_fleet(body, deleted=deleted)
        return self._observe_owned(body, deleted=deleted)

    def _observe_owned(self, body: Mapping[str, Any], *, deleted: bool) -> Key | None:
        """Take in one of our objects. Where its label names another, or nobody, by now, it concerns whom it was taken from."""
        kind, meta = body["kind"], body["metadata"]
        key = (meta["namespace"], (meta.get("labels") or {}).get(names.OWNER, ""))
        where = (kind, meta["name"])
        before = self._at.get((kind, key[0], meta["name"]), key)
        if not before[1]:
            return None
        seen, version = self._owned.get(before, {}).get(where), int(meta["resourceVersion"])
        if deleted:
            if seen is not None and seen.uid == meta["uid"]:
                self._set(before, where, None)
        elif seen is None or version > seen.version:  # the echo of our own write tells nothing new
            entry = _Entry(
                version=version,
                uid=meta["uid"],
                owners=frozenset(o["uid"] for o in meta.get("ownerReferences") or ()),
                record=READERS[kind](body),
                claims=observe.claims(body) if kind == "Pod" else (),
            )
            if before != key:
                self._set(before, where, None)
            if key[1]:
                self._set(key, where, entry)
        return before

    def _observe_fleet(self, body: Mapping[str, Any], *, deleted: bool) -> Key:
        meta = body["metadata"]
        key = (meta["namespace"], meta["name"])
        seen = self.fleet.get(key)
        if seen is not None:
            self._served[_served_name(seen)].discard(key)
        if deleted and (seen is None or seen["metadata"]["uid"] == meta["uid"]):
            self.fleet.pop(key, None)
        elif seen is None or int(meta["resourceVersion"]) >= int(seen["metadata"]["resourceVersion"]):
            self.fleet[key] = dict(body)
        if key in self.fleet:
            self._served[_served_name(self.fleet[key])].add(key)
        self._count_devices(key)
        return key

    def known(self, *, kind: str) -> set[str]:
        """Give the UIDs of all objects of a kind."""
        if kind == names.KIND:
            return {body["metadata"]["uid"] for body in self.fleet.values()}
        if kind == "ResourceQuota":
            return {one.uid for place in self.quotas.values() for one in place.values()}
        return {entry.uid for place in self._owned.values() for (k, _), entry in place.items() if k == kind}

    def drop(self, *, kind: str, known: set[str]) -> set[Key]:
        """Drop the objects with these UIDs; returns the LLMDeployments that they concerned."""
        if kind == names.KIND:
            gone = [body for body in self.fleet.values() if body["metadata"]["uid"] in known]
            return {self._observe_fleet(body, deleted=True) for body in gone}
        if kind == "ResourceQuota":
            vanished = [one for place in self.quotas.values() for one in place.values() if one.uid in known]
            for one in vanished:
                self._set_quota(one.namespace, one.name, None)
            return {key for key in self.waiting if key[0] in {one.namespace for one in vanished}}
        concerned = set()
        for key, place in list(self._owned.items()):
            for where in [at for at, entry in place.items() if at[0] == kind and entry.uid in known]:
                self._set(key, where, None)
                concerned.add(key)
        return concerned

    def drop_nodes(self, gone: Mapping[str, Node]) -> set[Key]:
        """Drop the nodes that are still the ones given; returns the LLMDeployments that wait for a device."""
        vanished = [name for name, node in gone.items() if self.nodes.get(name) is node]
        for name in vanished:
            del self.nodes[name]
        return set(self.waiting) if vanished else set()

    def quotas_of(self, namespace: str) -> list[Quota]:
        """Give the quotas of a namespace that limit devices."""
        return list(self.quotas.get(namespace, {}).values())

    def _set_quota(self, namespace: str, name: str, found: Quota | None) -> None:
        place = self.quotas.setdefault(namespace, {})
        place.pop(name, None)
        if found is not None:
            place[name] = found
        if not place:
            del self.quotas[namespace]

    def forget(self, key: Key, *, kind: str, name: str) -> None:
        """Drop an object that turned out to be gone."""
        self._set(key, (kind, name), None)

    def _set(self, key: Key, where: tuple[str, str], entry: _Entry | None) -> None:
        place = self._owned[key]
        place.pop(where, None)
        self._at.pop((where[0], key[0], where[1]), None)
        if entry is not None:
            place[where] = entry
            self._at[where[0], key[0], where[1]] = key
        if not place:
            del self._owned[key]
        if where[0] in {"Pod", "Deployment"}:
            self._count_devices(key)

    def _count_devices(self, key: Key) -> None:
        place = self._owned.get(key, {})
        self.devices.put(key, _claims(place), kept=_kept(place, body=self.fleet.get(key, {})))

    def records(self, key: Key, *, kind: str, uid: str) -> Iterator[Any]:
        """Give the records of one kind that belong to the LLMDeployment with this UID.

        Pods belong to ReplicaSets, which are not watched: their labels tell.
        """
        for (entry_kind, _), entry in sorted(self._owned.get(key, {}).items()):
            if entry_kind == kind and (kind == "Pod" or uid in entry.owners):
                yield entry.record

    def older_with_same_name(self, key: Key) -> str:
        """Name the LLMDeployment that has a better claim to this one's served name; empty when there is none."""
        mine = self.fleet[key]

        def seniority(k: Key) -> tuple[str, Key]:
            return self.fleet[k]["metadata"].get("creationTimestamp", ""), k

        rivals = self._served[_served_name(mine)]
        first = min(rivals, key=seniority, default=key)
        return "" if first == key else f"{first[0]}/{first[1]}"

    def same_name(self, key: Key) -> set[Key]:
        """Give all that claim this one's served name."""
        return set(self._served[_served_name(self.fleet[key])]) if key in self.fleet else set()


def _claims(entries: Mapping[tuple[str, str], _Entry]) -> Iterator[Claim]:
    """Give the devices that an LLMDeployment's pods hold, and those of replicas that have no pod yet."""
    pods: dict[str, int] = defaultdict(int)
    for (kind, _), entry in entries.items():
        if kind == "Pod":
            pods[entry.record.revision] += not entry.record.terminating and not entry.record.failed
            yield from entry.claims
    for (kind, _), entry in entries.items():
        if kind == "Deployment" and (lag := entry.record.replicas - pods[entry.record.revision]) > 0:
            yield from (replace(claim, times=lag) for claim in observe.template_claims(entry.record.template))


def _kept(entries: Mapping[tuple[str, str], _Entry], *, body: Mapping[str, Any]) -> Iterator[Claim]:
    """Give the devices that a revision change has had and does not ask for at this moment, as its replicas ask for them.

    Who is frozen asks for nothing, and keeps nothing.
    """
    spec = body.get("spec") or {}
    had = ((body.get("status") or {}).get("rollout") or {}).get("gpus") or 0
    workloads = [entry for (kind, _), entry in entries.items() if kind == "Deployment"]
    if not had or not workloads or spec.get("suspend"):
        return
    # With no replica left, the one changed last is the one that gave it up, or the one to come.
    strongest = max(workloads, key=lambda entry: (entry.record.replicas, entry.version)).record
    resource = (spec.get("accelerator") or {}).get("resource") or DEVICE
    missing = had - sum(claim.count * claim.times for claim in _claims(entries) if claim.resource == resource)
    for claim in observe.template_claims(strongest.template):
        if claim.resource == resource and missing > 0:
            whole, rest = divmod(missing, claim.count)
            parts = (replace(claim, times=whole), replace(claim, count=rest, times=1))
            yield from (part for part in parts if part.count and part.times)


def _served_name(body: Mapping[str, Any]) -> str:
    return str(((body.get("spec") or {}).get("model") or {}).get("servedName") or body["metadata"]["name"])
