"""How many replicas an LLMDeployment should have in all, and why: its own word, or what scaling makes of the signals.

Must not split them over revisions: `rollout/` does.
"""

from dataclasses import dataclass, replace

from modelfleet.core import names
from modelfleet.core.allowance import per_replica
from modelfleet.core.plan import Reason
from modelfleet.core.scaling.target import (
    MetricTarget,
    PodState,
    Recommendation,
    ScalingInputs,
    ScalingResult,
    scale,
)
from modelfleet.core.world import Snapshot

HELD = "Nodes"
"""What `status.scaling.binding` says while replicas without a node hold a scale-out."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Replicas wanted in all, what scaling said (None with fixed replicas), and the reasons for a change."""

    replicas: int
    scaling: ScalingResult | None = None
    held: bool = False
    """Whether more are wanted, and not asked for while some have no node."""
    reasons: tuple[Reason, ...] = ()
    history: tuple[Recommendation, ...] = ()


def in_force(snapshot: Snapshot) -> int:
    """Count the replicas wanted until now: the last decision, or what runs when there was none."""
    said = (snapshot.status.get("scaling") or {}).get("desired")
    return said if said is not None else sum(w.replicas for w in snapshot.workloads)


def demand(snapshot: Snapshot) -> Demand:
    """Decide the count; a suspended LLMDeployment keeps what it has."""
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - decide() answers an unreadable spec before it asks for the demand
    current = in_force(snapshot)
    if spec.suspend:
        return Demand(replicas=current, history=snapshot.history)
    if spec.scaling is None:
        wanted = spec.replicas or 0
        # The number in status is written together with the decision: each change is told once, whenever an operator
        # ends and however many passes carry it out.
        before = (snapshot.status.get("scaling") or {}).get("desired")
        reason = Reason(
            kind="Scale",
            reason="ReplicasSet",
            message=f"spec.replicas is {wanted}",
            before=str(before),
            after=str(wanted),
        )
        return Demand(replicas=wanted, reasons=(reason,) if before not in (None, wanted) else ())
    result = scale(_inputs(snapshot, current=max(current, 1)))
    return _explain(snapshot, result=result, current=current)


def _inputs(snapshot: Snapshot, *, current: int) -> ScalingInputs:
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - see demand()
    assert spec.scaling is not None  # noqa: S101 - see demand()
    most, affordable = spec.scaling.max_replicas, _within_budget(snapshot)
    cut = affordable is not None and affordable < most
    return ScalingInputs(
        now=snapshot.now,
        current=current,
        pods=tuple(
            PodState(name=r.name, ready=r.ready, started_at=r.created_at, ready_since=r.ready_since)
            for r in snapshot.replicas
            if r.in_rotation and not r.terminating and not r.failed
        ),
        min_replicas=spec.scaling.min_replicas,
        max_replicas=min(most, affordable or most),
        bounded_by=f"maxGPUs {spec.scaling.max_gpus} is enough for {affordable}" if cut else "",
        metrics=tuple(MetricTarget(type=m.type, target=m.target) for m in spec.scaling.metrics),
        stabilization_seconds=spec.scaling.behavior.scale_down.stabilization_seconds,
        history=snapshot.history,
        observed_since=snapshot.observed_since,
        signals=snapshot.signals,
        mode=spec.scaling.mode,
    )


def _within_budget(snapshot: Snapshot) -> int | None:
    """Count the replicas that maxGPUs pays for, 1 at least as admission sees to it; None without such a budget.

    While others than the spec's revision run, it is their devices that count: who serves is not taken away for a
    revision that needs more of them and does not serve yet. How many of those may start, `allowance.py` says.
    """
    spec = snapshot.spec
    if spec is None or spec.scaling is None or spec.scaling.max_gpus is None:
        return None
    revision = names.revision_hash(spec=snapshot.raw_spec, annotations=snapshot.annotations)
    others = {w.revision for w in snapshot.workloads if w.replicas and w.revision != revision}
    each = min(per_replica(snapshot, revision=one) for one in others or {revision})
    return max(1, spec.scaling.max_gpus // each) if each else None


def _explain(snapshot: Snapshot, *, result: ScalingResult, current: int) -> Demand:
    unplaced = [r.name for r in snapshot.replicas if r.waiting_reason == "Unschedulable" and not r.terminating]
    if result.desired > current and unplaced:
        message = f"{result.message}; {len(unplaced)} replica(s) wait for a node, so asking for more would not help"
        told = Reason(kind="Scale", reason="NodeAwaited", message=message, before=str(current), after=str(current))
        before = (snapshot.status.get("scaling") or {}).get("binding")
        return Demand(
            replicas=current,
            scaling=replace(result, desired=current),
            held=True,
            reasons=() if before == HELD else (told,),
            history=result.history,
        )
    reasons: tuple[Reason, ...] = ()
    advised_before = (snapshot.status.get("scaling") or {}).get("advised")
    advising = (
        snapshot.spec is not None and snapshot.spec.scaling is not None and snapshot.spec.scaling.mode == "Advise"
    )
    changed = result.advised not in (advised_before, current) if advising else result.desired != current
    if changed and current:
        reasons = (
            Reason(
                kind="Advice" if advising else "Scale",
                reason=result.reason,
                message=result.message,
                before=str(current),
                after=str(result.advised),
            ),
        )
    return Demand(replicas=result.desired, scaling=result, reasons=reasons, history=result.history)
