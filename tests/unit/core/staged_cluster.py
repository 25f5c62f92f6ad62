"""The pure cluster of `cluster.py` with a gateway before it: Envoys that take weights in late, and a judge on demand."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from modelfleet.core import assess as assessing
from modelfleet.core import staged
from modelfleet.core.assess import Assessment
from modelfleet.core.decide import decide
from modelfleet.core.judgement.verdict import StepVerdict
from modelfleet.core.plan import Plan, Rotate
from modelfleet.core.routing.router import Router
from modelfleet.core.world import RenderSettings
from tests.unit.core.cluster import IMAGES, Cluster

SETTINGS = RenderSettings(engine_images=IMAGES, gateway_url="http://gateway")
Seen = tuple[dict[str, int], dict[str, int]]
"""Weights, then replicas, by revision; only those that have any."""


def verdict(outcome: str, *, reason: str = "", final: bool | None = None, **more: Any) -> Assessment:
    default = {"Pass": "NotWorse", "Fail": "Worse", "NoData": "NoData", "Inconclusive": "Undecided"}[outcome]
    ends = outcome in {"Pass", "Fail"} if final is None else final
    words: dict[str, Any] = {"message": f"{outcome}!", "metrics": ()} | more
    return Assessment(verdict=StepVerdict(outcome=outcome, reason=reason or default, final=ends, **words))


def sized(replicas: int, *, budget: int | None) -> dict[str, Any]:
    """The words for a fixed number of replicas, within a budget if there is one."""
    if budget is None:
        return {"replicas": replicas, "scaling": None}
    metrics = [{"type": "QueueDepth", "target": 5}]
    scaling = {"minReplicas": replicas, "maxReplicas": replicas, "maxGPUs": max(budget, replicas), "metrics": metrics}
    return {"replicas": None, "scaling": scaling}


def weighed(seen: list[Seen]) -> list[dict[str, int]]:
    """The changes of weights alone."""
    weights = [weights for weights, _ in seen]
    return [now for before, now in zip([None, *weights], weights, strict=False) if now != before]


PASS = verdict("Pass", latency_proven=True)
FAIL = verdict("Fail")


@dataclass(frozen=True)
class Scripted:
    """What stands in `Snapshot.measured`: the judge's word itself."""

    says: Assessment


@contextmanager
def scripted() -> Iterator[None]:
    """Let the word in `Snapshot.measured` be the assessment of every judged stage."""

    def assess(snapshot: Any, *, memory: Any, stage: Any, **_: Any) -> Assessment:
        judged = stage.judged and stage.kind != "Mirror"
        return snapshot.measured.says if judged and memory.reached_at else Assessment()

    with patch.object(staged, "assess", assess), patch.object(assessing, "assess", assess):
        yield


@dataclass(kw_only=True)
class StagedCluster(Cluster):
    """`deaf`: Envoys that take nothing in. `says`: the assessment of whatever is judged."""

    deaf: bool = False
    says: Assessment = field(default_factory=lambda: PASS)
    routed: dict[str, int] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

    def snapshot(self, **changes: Any) -> Any:
        if not self.deaf:
            self.routed = {r["hash"]: r.get("weight", r["ready"]) for r in self.status.get("revisions") or ()}
        router = Router(
            weights=dict(self.routed), lagging=("envoy-0",) if self.deaf else (), observed_at=self.now
        )  # fmt: skip
        seen: dict[str, Any] = {"router": router, "settings": SETTINGS, "annotations": self.annotations}
        return super().snapshot(**seen | {"measured": Scripted(self.says)} | self.extra | changes)

    def act(self, action: Any) -> bool:
        done = super().act(action)
        if done and isinstance(action, Rotate):
            since = 0.0 if action.in_rotation else action.at
            self.pods[action.pod] = replace(self.pods[action.pod], out_since=since)
        return done

    @property
    def desired(self) -> int:
        """Replicas that are wanted; with a budget its scaling has nothing to decide."""
        spec = self.parsed
        return spec.scaling.min_replicas if spec.scaling else spec.replicas or 0

    @property
    def budget(self) -> int | None:
        scaling = self.parsed.scaling
        return scaling.max_gpus if scaling else None

    def act_on(self, text: str) -> None:
        """Write the action annotation."""
        self.annotations = {"modelfleet.dev/action": text}

    def unready(self, number: int, *, restarts: int = 0) -> None:
        """Let a pod lose its readiness."""
        names = sorted(name for name, pod in self.pods.items() if pod.ready)
        if names:
            pod = self.pods[names[number % len(names)]]
            self.pods[pod.name] = replace(
                pod, ready=False, ready_since=None, restarts=restarts, message="died", resource_version=self._next(),
                waiting_reason="CrashLoopBackOff" if restarts else "",
            )  # fmt: skip

    def kill(self, number: int) -> None:
        """Let a pod vanish, as with its node."""
        names = sorted(name for name, pod in self.pods.items() if name not in self._leaving and not pod.failed)
        if names:
            del self.pods[names[number % len(names)]]

    def fail(self, number: int) -> None:
        """Let a pod end for good, as by an eviction: it gives its device back, and stays to be seen."""
        names = sorted(name for name, pod in self.pods.items() if name not in self._leaving and not pod.failed)
        if names:
            pod = self.pods[names[number % len(names)]]
            self.pods[pod.name] = replace(
                pod, failed=True, ready=False, ready_since=None, message="low on resource: ephemeral-storage",
                waiting_reason="Evicted", resource_version=self._next(),
            )  # fmt: skip

    @property
    def weights(self) -> dict[str, int]:
        return {r["hash"]: r["weight"] for r in self.status.get("revisions") or () if r.get("weight")}

    @property
    def roles(self) -> dict[str, str]:
        return {r["hash"]: r["role"] for r in self.status.get("revisions") or ()}

    @property
    def rollout(self) -> dict[str, Any]:
        return self.status.get("rollout") or {}

    @property
    def reasons(self) -> list[str]:
        """Every decision that status still shows."""
        return [decision["reason"] for decision in self.status.get("decisions") or ()]

    def counts(self) -> dict[str, int]:
        return {w.revision: w.replicas for w in self.workloads.values() if w.replicas}

    def update(self, seed: int = 1) -> tuple[str, str]:
        """Ask for another revision; gives the one of before and the new one."""
        before = self.revision
        self.change(engine={"args": [f"--seed={seed}"]})
        return before, self.revision

    def turn(self, *, seconds: float = 10, warm: bool = True) -> Plan:
        """One pass, and what the cluster does after it."""
        plan = self.reconcile()
        self.controllers()
        if warm:
            self.warm()
        self.now += seconds
        return plan

    def history(self, *, passes: int = 200, warm: bool = True) -> list[Seen]:
        """Let it run until nothing changes for a while; gives every change of weights and replicas on the way."""
        seen: list[Seen] = []
        still = 0
        for _ in range(passes):
            self.turn(warm=warm)
            look = (self.weights, self.counts())
            still = still + 1 if seen and seen[-1] == look else 0
            if not seen or seen[-1] != look:
                seen.append(look)
            if still > 8:
                break
        return seen

    def until(self, wanted: Any, *, passes: int = 100, **how: Any) -> None:
        """Run until `wanted` holds; say what was seen when it never does."""
        for _ in range(passes):
            if wanted():
                return
            self.turn(**how)
        raise AssertionError(f"never: {self.weights} {self.counts()} {self.rollout}")

    def silent(self, *, seconds: float = 10) -> Any:
        """Name what one more pass would write; nothing where it is at rest."""
        for _ in range(3):
            self.turn()
        self.now += seconds
        plan = decide(self.snapshot())
        changed = {key for key in plan.status.keys() | self.status if plan.status.get(key) != self.status.get(key)}
        return plan.actions, {key: (self.status.get(key), plan.status.get(key)) for key in changed}
