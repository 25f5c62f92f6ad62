"""Revisions with weights when one of them is to have everything: after a promotion, an abort, or when the user goes back.

From a Snapshot to the numbers of `rollout/settling.py`, and from their answer to writes. Beside `staged.py`, which brings
a new revision forward. Must not hold any rule itself.
"""

from dataclasses import replace

from modelfleet.core import rolling
from modelfleet.core.allowance import allowance, free
from modelfleet.core.demand import Demand
from modelfleet.core.plan import Action
from modelfleet.core.rolling import Rollout, claim_expired, count
from modelfleet.core.rollout import settling
from modelfleet.core.rollout.course import Course
from modelfleet.core.rollout.replicas import resize
from modelfleet.core.rollout.settling import Settled, Settling
from modelfleet.core.routing.confirmation import confirmed, in_force
from modelfleet.core.world import Snapshot


def lingers(snapshot: Snapshot, *, course: Course, wanted: Demand) -> bool:
    """Whether a revision that lost its traffic still runs: without weights, as elsewhere, it would get some again."""
    others = any(w.replicas and w.revision != course.stable for w in snapshot.workloads)
    return bool(wanted.replicas) and in_force(snapshot) is not None and others and not course.rolling


def settle(snapshot: Snapshot, *, course: Course, wanted: Demand) -> Rollout:
    """Give everything to the stable revision."""
    found = settling.settle(_settling(snapshot, course=course, wanted=wanted))
    return Rollout(
        revision=course.stable,
        stable=course.stable,
        targets=replace(found.targets, short=course.stable),
        memory=found.memory,
        weights=course.weights(found.memory),
        phase=found.phase,
        message=found.message,
        actions=_settling_writes(snapshot, course=course, found=found),
        reasons=course.reasons,
        again_in=found.again_in,
    )


def _settling(snapshot: Snapshot, *, course: Course, wanted: Demand) -> Settling:
    spec, memory = snapshot.spec, course.memory
    assert spec is not None  # noqa: S101 - decide() answers an unreadable spec first
    live = {w.revision for w in snapshot.workloads if w.replicas} | {r.revision for r in snapshot.replicas}
    # An Envoy that says nothing must not hold devices for ever: the pod's own grace covers what it still sends.
    patience = snapshot.now - memory.weighed_at > snapshot.settings.ack_timeout_seconds
    return Settling(
        now=snapshot.now,
        rollout=spec.rollout,
        memory=memory,
        desired=wanted.replicas,
        stable=count(snapshot, revision=course.stable),
        others={revision: count(snapshot, revision=revision) for revision in sorted(live - {course.stable, ""})},
        weights=in_force(snapshot) or {},
        confirmed=confirmed(snapshot) or patience,
        free=free(snapshot, revision=course.stable),
        limit=allowance(snapshot, revision=course.stable).replicas,
        claim_expired=claim_expired(snapshot, revision=course.stable),
    )


def _settling_writes(snapshot: Snapshot, *, course: Course, found: Settled) -> tuple[Action, ...]:
    serving = [w for w in snapshot.workloads if w.revision not in {course.stable, *found.kept}]
    if not any(w.revision == course.stable for w in snapshot.workloads):
        return rolling.start(snapshot, revision=course.stable, replicas=0 if serving else found.targets.new)
    actions: list[Action] = []
    for workload in snapshot.workloads:
        if workload.revision == course.stable:
            actions += resize(snapshot, workload=workload, target=found.targets.new)
        elif workload.revision in found.kept:
            actions += resize(snapshot, workload=workload, target=found.kept[workload.revision])
    for workload, target in rolling.split(snapshot, olds=serving, total=found.targets.old):
        actions += resize(snapshot, workload=workload, target=target)
    return tuple(actions)
