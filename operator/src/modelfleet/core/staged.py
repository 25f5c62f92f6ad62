"""Revisions that get their traffic in stages: strategies Canary and BlueGreen.

From a Snapshot to a `Look` for the rules of `rollout/machine.py`, and from their answer to writes and weights. What is
written to replicas rests on the weights that were in force before this pass, so that a crash between two writes leaves
nobody without replicas. Must not hold any rule itself.
"""

from dataclasses import replace

from modelfleet.core import evaluation, progress, rolling, settled
from modelfleet.core.allowance import allowance, free, lack, per_replica
from modelfleet.core.assess import assess, shown
from modelfleet.core.demand import Demand
from modelfleet.core.failures import diagnose, podless
from modelfleet.core.judgement.question import countable
from modelfleet.core.observe import epoch
from modelfleet.core.plan import Action
from modelfleet.core.rolling import Rollout, announce, as_is, claim_expired, count
from modelfleet.core.rollout import opening
from modelfleet.core.rollout.course import Course
from modelfleet.core.rollout.machine import proceed
from modelfleet.core.rollout.memory import Memory
from modelfleet.core.rollout.move import Look, Move
from modelfleet.core.rollout.outlook import outlook
from modelfleet.core.rollout.position import present
from modelfleet.core.rollout.replicas import living, resize, shortest_start
from modelfleet.core.rollout.split import Share, next_share
from modelfleet.core.rollout.stages import ALL, Stage, share, stages
from modelfleet.core.rollout.targets import Inputs, Targets
from modelfleet.core.rollout.way import way
from modelfleet.core.routing.confirmation import confirmed, in_force, unheard
from modelfleet.core.world import Snapshot

MOST_RESTARTS = 1
"""A new revision whose container was restarted more often, and is down, is not waited for."""


def applies(snapshot: Snapshot, *, wanted: Demand) -> bool:
    """Whether this LLMDeployment's revisions get their traffic in stages now.

    Not where nothing is served, nor where the one replica must go before the next one comes.
    """
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - decide() answers an unreadable spec first
    if spec.rollout.strategy not in {"Canary", "BlueGreen"}:
        return False
    if spec.suspend:
        return in_force(snapshot) is not None  # what is wanted then is what runs, which may be anything
    alone = spec.rollout.capacity == "InPlace" and wanted.replicas <= 1
    return bool(wanted.replicas) and not alone


def roll(snapshot: Snapshot, *, course: Course, wanted: Demand) -> Rollout:
    """Take one step towards the course's target."""
    spec, memory = snapshot.spec, course.memory
    assert spec is not None  # noqa: S101 - see applies()
    leaves = memory.revision not in {"", course.target}
    if spec.suspend:
        return _frozen(snapshot, course=course)
    serving = {r.revision for r in snapshot.replicas if r.ready and r.in_rotation and not r.terminating}
    if in_force(snapshot) is None and len(serving) > 1:
        # They share the traffic by their replicas until Envoys know weights: nobody leaves before.
        return replace(_frozen(snapshot, course=course), again_in=0.0)
    current = any(w.revision == course.target for w in snapshot.workloads)
    refused = not current and rolling.refusal(snapshot, revision=course.target)
    if refused and not course.rolling:
        return replace(rolling.hold_old(snapshot, revision=course.target, wanted=wanted), memory=memory)
    if not course.rolling or leaves or refused:
        return replace(settled.settle(snapshot, course=course, wanted=wanted), revision=course.target)
    if memory.revision != course.target:
        course = replace(course, memory=_fresh(memory, revision=course.target))
    return _proceed(snapshot, course=course, wanted=wanted, current=current)


def _proceed(snapshot: Snapshot, *, course: Course, wanted: Demand, current: bool) -> Rollout:
    look = _look(snapshot, course=course, wanted=wanted)
    step = proceed(look)
    # Outside the change window nothing new starts, and stable follows the demand; what has begun keeps its replicas.
    begins = look.open or current
    kept = rolling.hold_old(snapshot, revision=course.target, wanted=wanted, first=course.stable)
    said = announce(snapshot, revision=course.target) if begins else ()
    return Rollout(
        revision=course.target,
        stable=course.target if step.promoted else course.stable,
        targets=look.targets if begins else kept.targets,
        memory=_with_verdict(step, look=look),
        weights={course.target: ALL} if step.promoted else course.weights(step.memory),
        phase=step.phase,
        message=step.message,
        plan=_plan(snapshot, look=look),
        steps=0 if step.promoted else len(look.stages),
        actions=(*_writes(snapshot, course=course, look=look), *step.actions) if begins else kept.actions,
        reasons=(*course.reasons, *said, *step.reasons),
        again_in=step.again_in,
    )


def _plan(snapshot: Snapshot, *, look: Look) -> str:
    """Say what comes, and the way that replicas take by the devices that there are."""
    rollout = look.rollout
    seen = Inputs(
        desired=look.desired,
        new=look.new,
        old=count(snapshot, revision=look.stable),
        max_surge=rollout.max_surge,
        max_unavailable=rollout.max_unavailable,
        capacity=rollout.capacity,
        free=free(snapshot, revision=look.revision),
        limit=allowance(snapshot, revision=look.revision).replicas,
        claim_expired=claim_expired(snapshot, revision=look.revision),
    )
    return outlook(
        look.stages,
        step=min(look.memory.step, look.last_step),
        running=look.new.replicas,
        start_seconds=shortest_start(snapshot.replicas),
        judged_seconds=countable(
            seconds=rollout.analysis.min_seconds, interval_seconds=rollout.analysis.interval_seconds
        ),
        way=way(seen, hold=look.targets.hold, whole=look.stage.whole).words,
        fixed=rollout.canary.replicas if rollout.canary else "Proportional",
    )


def _with_verdict(step: Move, *, look: Look) -> Memory:
    """Show what was judged, also after the rollback that it led to; a new window starts without."""
    found = look.verdict or look.compared
    if found is None or step.promoted:
        return step.memory
    return replace(step.memory, analysis=shown(found))


def _frozen(snapshot: Snapshot, *, course: Course) -> Rollout:
    """Suspended: everything stays, but for the traffic that an abort takes away."""
    memory = course.memory
    return Rollout(
        revision=course.target if course.rolling else course.stable,
        stable=course.stable,
        targets=as_is(snapshot, revision=course.target),
        memory=memory,
        weights=course.weights(memory),
        phase="Suspended" if memory.revision else "",
        reasons=course.reasons,
    )


def _fresh(memory: Memory, *, revision: str) -> Memory:
    """Forget the rollout of before; who served before, what a person said and what is served instead stay."""
    return Memory(
        revision=revision,
        previous=memory.previous,
        promoted_at=memory.promoted_at,
        override=memory.override,
        answer=memory.answer,
    )


def _look(snapshot: Snapshot, *, course: Course, wanted: Demand) -> Look:
    spec, memory = snapshot.spec, course.memory
    assert spec is not None  # noqa: S101 - see applies()
    plan = stages(spec.rollout, desired=wanted.replicas)
    if course.returning:
        plan = (replace(plan[-1], whole=False),)
    memory, plan = present(memory, plan=plan, desired=wanted.replicas, rollout=spec.rollout)
    stage = plan[memory.step]
    course = replace(course, memory=memory)
    heard = confirmed(snapshot)
    measured = assess(snapshot, memory=memory, stable=course.stable, stage=stage)
    in_place = spec.rollout.capacity == "InPlace"
    return Look(
        now=snapshot.now,
        rollout=spec.rollout,
        memory=memory,
        stages=plan,
        revision=course.target,
        stable=course.stable,
        spec_revision=course.spec_revision,
        desired=wanted.replicas,
        new=count(snapshot, revision=course.target),
        old_ready=count(snapshot, revision=course.stable).ready,
        targets=_targets(snapshot, course=course, stage=stage, wanted=wanted.replicas, heard=heard),
        may_miss=max(int(in_place), spec.rollout.max_unavailable),
        confirmed=heard,
        unheard=unheard(snapshot, since=memory.weighed_at or _began(snapshot)),
        verdict=measured.verdict,
        no_data=measured.no_data,
        compared=measured.compared,
        evaluated=evaluation.look(snapshot, memory=memory),
        lack=_lack(snapshot, course=course, stage=stage),
        failure=_failure(snapshot, revision=course.target),
        open=course.returning or opening.is_open(spec.rollout.window, now=snapshot.now),
        opens_in=opening.opens_in(spec.rollout.window, now=snapshot.now),
    )


def _lack(snapshot: Snapshot, *, course: Course, stage: Stage) -> str:
    begun = any(w.revision == course.target and w.replicas for w in snapshot.workloads)
    if blocked := progress.without_surge(snapshot, revision=course.target):
        return blocked
    wanted = stage.new if stage.whole and not begun else 1
    return lack(snapshot, replicas=wanted, revision=course.target) or "no device is free"


def _began(snapshot: Snapshot) -> float:
    return epoch((snapshot.status.get("rollout") or {}).get("startedAt")) or snapshot.now


def _failure(snapshot: Snapshot, *, revision: str) -> str:
    """Say why a revision will never serve: it ended again and again, or had time enough."""
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - see applies()
    down = [r for r in living(snapshot.replicas, revision=revision) if not r.ready and r.restarts > MOST_RESTARTS]
    if found := diagnose(down):
        return f"{found.reason} after {max(r.restarts for r in down)} restarts: {found.message}"
    left = progress.seconds_left(snapshot, revision=revision, said=snapshot.status.get("rollout") or {})
    if left is not None and left < 0:
        mine = [w for w in snapshot.workloads if w.revision == revision]
        found = diagnose(living(snapshot.replicas, revision=revision))
        found = found or podless(mine, snapshot.replicas, first=revision)
        limit = spec.rollout.progress_deadline_seconds
        return f"no new replica became ready within {limit} s" + (f": {found.message}" if found else "")
    return ""


def _targets(snapshot: Snapshot, *, course: Course, stage: Stage, wanted: int, heard: bool) -> Targets:
    """Ask for replicas by the weights in force: stable gives one only when every Envoy sends it less."""
    spec, memory = snapshot.spec, course.memory
    assert spec is not None  # noqa: S101 - see applies()
    old = count(snapshot, revision=course.stable)
    weight = min(memory.weight, (in_force(snapshot) or {}).get(course.target, 0))
    # With everything gone to the new one, the promotion decides how long stable stays warm.
    goal = share(desired=wanted, weight=weight) if weight < ALL else old.replicas
    unlike = len({per_replica(snapshot, revision=one) for one in (course.target, course.stable)}) > 1
    return next_share(
        Share(
            desired=wanted,
            new=count(snapshot, revision=course.target),
            old=old,
            goal_new=stage.new,
            goal_old=goal,
            least=1 if heard else max(1, old.replicas),
            extra=sum(r.revision not in {course.target, course.stable} and not r.failed for r in snapshot.replicas),
            whole=stage.whole,
            max_surge=spec.rollout.max_surge,
            max_unavailable=spec.rollout.max_unavailable,
            capacity=spec.rollout.capacity,
            free=free(snapshot, revision=course.target),
            limit=allowance(snapshot, revision=course.target).replicas,
            limit_old=allowance(snapshot, revision=course.stable).replicas if unlike else None,
            free_old=free(snapshot, revision=course.stable),
            claim_expired=claim_expired(snapshot, revision=course.target),
        )
    )


def _writes(snapshot: Snapshot, *, course: Course, look: Look) -> tuple[Action, ...]:
    workloads = {w.revision: w for w in snapshot.workloads}
    actions: list[Action] = []
    if course.target in workloads:
        actions += resize(snapshot, workload=workloads[course.target], target=look.targets.new)
    else:
        # A creation has no resourceVersion to be fenced by: it starts empty.
        actions += rolling.start(snapshot, revision=course.target, replicas=0)
    if course.stable in workloads:
        actions += resize(snapshot, workload=workloads[course.stable], target=look.targets.old)
    elif any(s.revision == course.stable for s in snapshot.stored):
        actions += rolling.start(snapshot, revision=course.stable, replicas=0)  # somebody deleted it
    # An Envoy may still send requests to who is neither; one that says nothing is not waited for long.
    heard = look.confirmed or bool(look.unheard)
    for revision, workload in workloads.items():
        if heard and revision not in {course.target, course.stable}:
            actions += resize(snapshot, workload=workload, target=0)
    return tuple(actions)
