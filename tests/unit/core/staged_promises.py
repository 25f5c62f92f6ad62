"""The invariants of rollouts in stages, checked after anything that happened: each says what it saw when it is broken."""

from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import Any

from modelfleet.core.rollout.stages import ALL, stages
from tests.unit.core.staged_cluster import StagedCluster

STAGED = {"Canary", "BlueGreen"}


@dataclass(frozen=True)
class Facts:
    """One look at the cluster."""

    ready: dict[str, int]
    asked: dict[str, int]
    weights: dict[str, int | None]
    routed: dict[str, int]
    stable: str
    rollout: dict[str, Any]
    serving: frozenset[str]
    free: int
    used: int


def facts(cluster: StagedCluster) -> Facts:
    """Look at it."""
    revisions = {w.revision for w in cluster.workloads.values()}
    up = [p for p in cluster.pods.values() if p.ready and p.in_rotation and not p.terminating]
    return Facts(
        ready={revision: sum(p.revision == revision for p in up) for revision in revisions},
        asked={w.revision: w.replicas for w in cluster.workloads.values()},
        weights={r["hash"]: r.get("weight") for r in cluster.status.get("revisions") or ()},
        routed=dict(cluster.routed),
        stable=next((r for r, role in cluster.roles.items() if role == "stable"), ""),
        rollout=dict(cluster.rollout),
        serving=frozenset(p.name for p in up),
        free=cluster.free,
        used=used(cluster),
    )


def used(cluster: StagedCluster) -> int:
    """Count the devices that replicas have or will ask for, those that leave included."""
    asked = {w.revision: w.replicas for w in cluster.workloads.values()}
    alive = Counter(p.revision for p in cluster.pods.values() if not p.terminating and not p.failed)
    leaving = sum(p.terminating for p in cluster.pods.values())
    return leaving + sum(max(asked.get(revision, 0), alive[revision]) for revision in asked.keys() | alive.keys())


class Promises:
    """What must hold after each thing that the operator did, whole or cut short."""

    def __init__(self, cluster: StagedCluster) -> None:
        self.cluster = cluster
        self.deaf_since = 0.0

    @property
    def desired(self) -> int:
        return self.cluster.desired

    @property
    def loss(self) -> int:
        rollout = self.cluster.parsed.rollout
        return max(1, rollout.max_unavailable) if rollout.capacity == "InPlace" else rollout.max_unavailable

    @property
    def patience_is_over(self) -> bool:
        """Whether Envoys kept silent for so long that nobody waits for them any more."""
        return self.cluster.deaf and self.cluster.now - self.deaf_since > 30

    def hold(self, before: Facts, *, whole: bool) -> None:
        """Check what the operator did since; `whole`: its pass was not cut short."""
        after = facts(self.cluster)
        self._serves(before, after)
        self._leaves_no_traffic_behind(before, after)
        self._stays_in_bounds(before, after)
        self._replaces(before, after)
        if whole and self.cluster.parsed.rollout.strategy in STAGED:
            self._weights(before, after)
            self._earned(before, after)
            self._switches_back(before, after)

    def _serves(self, before: Facts, after: Facts) -> None:
        """I2: no pass takes warm replicas that serve below the floor."""
        if not before.weights or self.cluster.parsed.rollout.strategy not in STAGED:
            return  # status was lost, and nobody can tell who serves; test_rollout.py checks the others
        routed = after.weights if self.patience_is_over else after.routed
        by_weight = any(before.weights.values()) and any(routed.values())
        asked = [r for r in before.ready if routed.get(r) or not by_weight]
        floor = min(sum(before.ready[r] for r in asked), self.desired - self.loss)
        assert sum(after.ready.get(r, 0) for r in asked) >= floor, ("I2", floor, before, after)

    def _leaves_no_traffic_behind(self, before: Facts, after: Facts) -> None:
        """I3: whoever an Envoy sends requests to is not scaled away, and keeps what its share needs."""
        if self.patience_is_over or None in before.weights.values() or not before.weights:
            return
        total = max(1, sum(after.routed.values()))
        for revision, weight in after.routed.items():
            if not weight or revision not in before.asked:
                continue
            need = ceil(self.desired * (weight / total * ALL - 1) / ALL) - self.loss
            kept = min(before.asked[revision], max(1, min(need, before.ready[revision]))) if self.desired else 0
            assert after.asked.get(revision, 0) >= kept, ("I3", revision, kept, before, after)

    def _stays_in_bounds(self, before: Facts, after: Facts) -> None:
        """I7: a pass asks for no more than demand and surge, and for nothing that is not free (but for plain scaling).

        Nor for anything beyond the budget, whatever the strategy and the capacity.
        """
        if after.used > before.used and self.cluster.budget is not None:
            assert after.used <= self.cluster.budget, ("I7: beyond the budget", self.cluster.budget, before, after)
        rollout, held = self.cluster.parsed.rollout, sum(before.asked.values())
        more = sum(after.asked.values()) - held
        if more <= 0:
            return
        rolling = len([n for n in before.asked.values() if n]) > 1 or (
            after.stable and not after.asked.get(after.stable)
        )
        alone = rollout.capacity == "InPlace" and self.desired <= 1  # replaced without stages
        if not rolling or alone or rollout.strategy not in STAGED:
            return
        surge = 0 if rollout.capacity == "InPlace" else rollout.max_surge
        most = self.desired * 2 if rollout.strategy == "BlueGreen" else self.desired + surge
        target = (after.rollout.get("override") or {}).get("revision") or self.cluster.revision
        idle = sum(n for r, n in before.asked.items() if not before.weights.get(r) and r != target)
        assert held + more <= most + idle, ("I7", most, before, after)
        grown = sum(max(0, after.asked[r] - before.asked.get(r, 0)) for r in after.asked if r != after.stable)
        if rollout.capacity != "Surge":
            assert grown <= before.free, ("I7: asks for what is not free", before, after)

    def _replaces(self, before: Facts, after: Facts) -> None:
        """I2, I7 where traffic follows the ready replicas; Recreate instead: none of the new beside any of the old."""
        rollout = self.cluster.parsed.rollout
        shared = {w for one in (before, after) for w in one.weights.values()} - {None}
        if rollout.strategy in STAGED or shared or not before.weights:
            return
        grown = {r: n - before.asked.get(r, 0) for r, n in after.asked.items() if n > before.asked.get(r, 0)}
        others = {p.revision for p in self.cluster.pods.values() if not p.failed}
        if rollout.strategy == "Recreate":
            assert all(others <= {revision} for revision in grown), ("Recreate: old ones are there", before, after)
            return
        floor = min(sum(before.ready.values()), self.desired - self.loss)
        assert sum(after.ready.values()) >= floor, ("I2", floor, before, after)
        if len([n for n in before.asked.values() if n]) > 1 or (grown and others - grown.keys()):
            surge = 0 if rollout.capacity == "InPlace" else rollout.max_surge
            most = max(self.desired + surge, sum(before.asked.values()))
            assert sum(after.asked.values()) <= most, ("I7", most, before, after)

    def _weights(self, before: Facts, after: Facts) -> None:
        """I1: a share needs warm replicas, and every Envoy's word for the one of before."""
        given = {r: w for r, w in after.weights.items() if w}
        if any(w is None for w in after.weights.values()) or self.cluster.spec.get("suspend"):
            return
        assert sum(given.values()) == ALL or not given, ("weights", after)
        if after.rollout.get("mirror", 0) > before.rollout.get("mirror", 0):
            assert before.ready.get(after.rollout["revision"]), ("copies for nobody", before, after)
        for revision, weight in given.items():
            if revision == after.stable:
                continue
            warm, all_warm = before.ready.get(revision, 0), sum(before.ready.values())
            fixed = isinstance(getattr(self.cluster.parsed.rollout.canary, "replicas", ""), int)
            carried = ceil(ALL * warm / max(1, min(self.desired, all_warm)))
            assert warm, ("I1: traffic without a warm replica", before, after)
            assert fixed or weight <= carried or (weight == ALL and warm >= self.desired - self.loss), (
                "I1: more than it carries", before, after
            )  # fmt: skip
            if weight > (before.weights.get(revision) or 0):
                heard = None in before.weights.values() or all(
                    after.routed.get(r, 0) == (w or 0) for r, w in before.weights.items()
                )
                assert heard, ("I1: raised unheard", before, after)

    def _earned(self, before: Facts, after: Facts) -> None:
        """I6, I8: no stage is left without its word, and a promotion touches no replica."""
        cluster, said = self.cluster, before.rollout
        revision = said.get("revision", "")
        if not before.stable or (after.stable == before.stable and after.rollout.get("revision") != revision):
            return
        plan = stages(cluster.parsed.rollout, desired=max(1, self.desired))
        if after.stable != before.stable:
            self._promotion(before, after, plan_length=len(plan))
            return
        step = min(said.get("step", 0), len(plan) - 1)
        moved = after.rollout.get("step", 0) > step and said.get("stage") == after_word(plan[step])
        told = said.get("go") or said.get("full") or after.rollout.get("lastAction") != said.get("lastAction")
        if not moved or told:
            return
        asked = cluster.parsed.rollout.analysis.evaluation
        if plan[step].kind == "Evaluation" and asked:
            assert after.rollout["evaluation"]["score"] >= asked.min_score, ("no score", before, after)
        if plan[step].kind not in {"Weight", "Trial"}:
            return
        word = cluster.says.verdict
        continued = cluster.parsed.rollout.on_inconclusive == "Continue" and word and word.enough_samples
        passed = word is not None and word.outcome == "Pass"
        assert passed or (continued and not plan[step].last), ("I6", before, after)

    def _switches_back(self, before: Facts, after: Facts) -> None:
        """I6: what has switched goes back by itself only for a Fail, and only to what is still warm."""
        was, now = (one.rollout.get("override") for one in (before, after))
        if not now or now == was or now["reason"] != "RolledBack" or now["revision"] == after.stable:
            return  # what was given up there had not switched
        word = self.cluster.says.verdict
        assert getattr(word, "outcome", "") == "Fail", ("I6: switched back", before, after)
        assert before.rollout.get("watching"), ("no switch to take back", before, after)
        assert before.ready.get(now["revision"]), ("nothing warm", before, after)

    def _promotion(self, before: Facts, after: Facts, *, plan_length: int) -> None:
        said, new = before.rollout, after.stable
        if not before.asked.get(before.stable) or before.weights.get(new) is None:
            return  # nothing served by weights before: there was nothing to judge it against
        returning = new in {said.get("previous"), (said.get("override") or {}).get("revision")}
        last = said.get("stage") == "Promote" or said.get("step", 0) >= plan_length - 1
        assert returning or last, ("I6: promoted too early", before, after)
        assert before.weights.get(new) == ALL, ("promoted without traffic", before, after)
        mine = {p.name for p in self.cluster.pods.values() if p.revision == new}
        assert before.serving & mine <= after.serving, ("I8", before, after)
        assert after.asked[new] >= min(before.asked[new], self.desired), ("I8", before, after)


def after_word(stage: Any) -> str:
    return f"{stage.kind} {stage.weight} %" if stage.weight and stage.weight < ALL else str(stage.kind)
