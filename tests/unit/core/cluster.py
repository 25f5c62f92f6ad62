"""A small pure cluster: takes a Plan's writes, lets pods live, and shows the next Snapshot. Knows no decisions."""

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core import names
from modelfleet.core.decide import decide
from modelfleet.core.plan import Apply, Create, Delete, DryRun, Plan, RestoreTemplate, Rotate, Scale, Select
from modelfleet.core.world import OwnedObject, RenderSettings, Replica, Snapshot, StoredRevision, Workload

IMAGES = {"vLLM": {"gpu": "vllm:gpu", "cpu": "vllm:cpu"}}
UID = "uid-chat"
WRITTEN = {
    "ControllerRevision", "Deployment", "HTTPRoute", "Job", "NetworkPolicy", "PodDisruptionBudget", "Service",
}  # fmt: skip
"""What a decision may write, apart from pods' rotation and the status: never an LLMDeployment (I9)."""


def words(**changes: Any) -> dict[str, Any]:
    """A user's spec; a change of None removes the field."""
    spec = {"model": {"uri": "hf://org/model"}, "replicas": 1, **changes}
    return {key: value for key, value in spec.items() if value is not None}


@dataclass(kw_only=True)
class Cluster:
    """GPUs, one LLMDeployment, and what exists of it."""

    spec: dict[str, Any] = field(default_factory=words)
    gpus: int = 8
    now: float = 1_000_000.0
    generation: int = 1
    status: dict[str, Any] = field(default_factory=dict)
    stored: dict[str, StoredRevision] = field(default_factory=dict)
    workloads: dict[str, Workload] = field(default_factory=dict)
    pods: dict[str, Replica] = field(default_factory=dict)
    objects: dict[tuple[str, str], OwnedObject] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    drain: int = 0
    """How often the controllers come by while a pod that was deleted still finishes its requests, on its device."""
    status_writes: int = 0

    def __post_init__(self) -> None:
        self._ids = itertools.count(1)
        self._leaving: dict[str, int] = {}

    def change(self, **changes: Any) -> None:
        self.spec = {key: value for key, value in (self.spec | changes).items() if value is not None}
        self.generation += 1

    @property
    def parsed(self) -> LLMDeploymentSpec:
        return LLMDeploymentSpec.model_validate(self.spec)

    @property
    def revision(self) -> str:
        return names.revision_hash(spec=self.spec, annotations={})

    @property
    def used(self) -> int:
        """Devices that pods hold; one that leaves holds its own until it is gone."""
        return sum(p.scheduled and not p.failed for p in self.pods.values())

    @property
    def free(self) -> int:
        """Devices left; pods without a node count as used, as in `fit.room` (one device per replica here)."""
        staying = sum(p.scheduled and not p.terminating and not p.failed for p in self.pods.values())
        waiting = max(0, sum(w.replicas for w in self.workloads.values()) - staying)
        return max(0, self.gpus - self.used - waiting)

    def snapshot(self, **changes: Any) -> Snapshot:
        seen: dict[str, Any] = {
            "now": self.now, "name": "chat", "namespace": "team", "uid": UID, "generation": self.generation,
            "resource_version": "1", "annotations": {}, "raw_spec": self.spec, "spec": self.parsed,
            "status": self.status, "stored": tuple(self.stored.values()), "workloads": tuple(self.workloads.values()),
            "replicas": tuple(self.pods.values()), "objects": tuple(self.objects.values()),
            "free_gpus": self.free, "largest_node": 8, "settings": RenderSettings(engine_images=IMAGES),
        }  # fmt: skip
        return Snapshot(**(seen | self.extra | changes))

    def reconcile(self) -> Plan:
        """One whole pass: decide and carry everything out."""
        plan = decide(self.snapshot())
        self.execute(plan)
        return plan

    def execute(self, plan: Plan, *, first: int | None = None) -> bool:
        """Carry out the plan, or only its first writes, as after a crash. A stale write ends it, as a 409 does."""
        for action in plan.actions[:first]:
            if not self.act(action):
                return False
        if first is None and plan.status and dict(plan.status) != self.status:
            self.status = dict(plan.status)
            self.status_writes += 1
        return True

    def act(self, action: Any) -> bool:
        kind = getattr(action, "kind", "") or (getattr(action, "manifest", None) or {}).get("kind", "Deployment")
        assert kind in WRITTEN, ("I9", action)
        match action:
            case DryRun():
                return True
            case Create() | Apply():
                return self._put(action.manifest, new=isinstance(action, Create))
            case Scale():
                seen = self.workloads.get(action.name)
                if seen is None or seen.resource_version != action.resource_version:
                    return False
                self.workloads[action.name] = replace(seen, replicas=action.replicas, resource_version=self._next())
            case Select():
                seen = self.objects["Service", action.service]
                body = {**seen.body, "spec": {**seen.body["spec"], "selector": dict(action.selector)}}
                self.objects["Service", action.service] = replace(seen, body=body, resource_version=self._next())
            case RestoreTemplate():
                seen = self.workloads[action.name]
                self.workloads[action.name] = replace(
                    seen, template=action.template, foreign_managers=(), resource_version=self._next()
                )
            case Rotate():
                pod = self.pods.get(action.pod)
                if pod is None or pod.resource_version != action.resource_version:
                    return False
                self.pods[pod.name] = replace(pod, in_rotation=action.in_rotation, resource_version=self._next())
            case Delete():
                {"Deployment": self.workloads, "ControllerRevision": self.stored}.get(action.kind, {}).pop(
                    action.name, None
                )
                self.objects.pop((action.kind, action.name), None)
        return True

    def _next(self) -> str:
        return str(next(self._ids))

    def _put(self, manifest: Any, *, new: bool) -> bool:
        kind, meta, version = manifest["kind"], manifest["metadata"], self._next()
        name, revision = meta["name"], meta["labels"].get(names.REVISION, "")
        known = {"Deployment": self.workloads, "ControllerRevision": self.stored}.get(kind, {})
        if new and (name in known or (kind, name) in self.objects):
            return False
        if kind == "Deployment":
            spec = manifest["spec"]
            self.workloads[name] = Workload(
                name=name, uid=version, resource_version=version, revision=revision,
                replicas=spec["replicas"], template=spec["template"],
            )  # fmt: skip
        elif kind == "ControllerRevision":
            self.stored[name] = StoredRevision(
                name=name, uid=version, revision=revision, number=manifest["revision"],
                template=manifest["data"]["template"], rendering_version=meta["annotations"][names.RENDERING],
            )  # fmt: skip
        else:
            self.objects[kind, name] = OwnedObject(
                kind=kind, name=name, resource_version=version, uid=version, body=manifest
            )
        return True

    def controllers(self) -> None:
        """Do what Kubernetes does: create and delete pods, the ReplicaSet's order, and give pods devices."""
        for name in [name for name, left in self._leaving.items() if left <= 0]:
            del self.pods[name], self._leaving[name]
        self._leaving = {name: left - 1 for name, left in self._leaving.items()}
        for workload in self.workloads.values():
            known = [p for p in self.pods.values() if p.revision == workload.revision]
            mine = [p for p in known if not p.terminating and not p.failed]
            for pod in sorted(mine, key=lambda p: (p.scheduled, p.ready, p.in_rotation, -p.created_at))[
                : max(0, len(mine) - workload.replicas)
            ]:
                self._end(pod)
            for _ in range(workload.replicas - len(mine)):
                name = f"pod-{self._next():0>5}"
                self.pods[name] = Replica(
                    name=name, uid=name, resource_version=self._next(), revision=workload.revision, ready=False,
                    in_rotation=True, scheduled=False, waiting_reason="Unschedulable", created_at=self.now,
                )  # fmt: skip
        self._schedule()

    def _end(self, pod: Replica) -> None:
        if not self.drain:
            del self.pods[pod.name]
            return
        self.pods[pod.name] = replace(pod, terminating=True, ready=False, resource_version=self._next())
        self._leaving[pod.name] = self.drain - 1

    def _schedule(self) -> None:
        for pod in list(self.pods.values()):
            if not pod.scheduled and self.used < self.gpus:
                self.pods[pod.name] = replace(
                    pod, scheduled=True, got_on_at=self.now, waiting_reason="", resource_version=self._next()
                )

    def warm(self, *, count: int | None = None) -> None:
        """Let pods that have a node become ready; all of them by default."""
        cold = [p for p in self.pods.values() if p.scheduled and not p.ready and not p.terminating and not p.failed]
        for pod in cold[:count]:
            self.pods[pod.name] = replace(pod, ready=True, ready_since=self.now, resource_version=self._next())

    def ready(self, *, rotation: bool = True) -> int:
        return sum(p.ready and (p.in_rotation or not rotation) for p in self.pods.values())

    def settle(self, *, passes: int = 60) -> Plan:
        """Reconcile until a pass writes nothing; say what was seen when that never comes."""
        for _ in range(passes):
            writes, shape = self.status_writes, self.shape()
            plan = self.reconcile()
            self.controllers()
            self.warm()
            self.now += 1
            if not plan.actions and (writes, shape) == (self.status_writes, self.shape()):
                return plan
        raise AssertionError(f"no fixpoint after {passes} passes: {self.shape()} {plan.actions} {plan.status}")

    def shape(self) -> Any:
        return (
            sorted((w.revision, w.replicas) for w in self.workloads.values()),
            sorted((p.name, p.ready, p.in_rotation, p.scheduled) for p in self.pods.values()),
            sorted(self._leaving.items()),
        )

    def condition(self, kind: str) -> dict[str, Any]:
        return next(c for c in self.status["conditions"] if c["type"] == kind)


def running(**changes: Any) -> Cluster:
    """A cluster whose first revision serves."""
    gpus = changes.pop("gpus", 8)
    cluster = Cluster(spec=words(**changes), gpus=gpus)
    cluster.settle()
    return cluster
