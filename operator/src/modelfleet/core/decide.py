"""The product in one function: a Snapshot of an LLMDeployment goes in, a Plan comes out.

The order is the promise: what cannot be read changes nothing; what exists is kept and repaired; then the wanted
revision is started, replicas move between revisions one safe step at a time, and what is long gone is forgotten.
Everything is derived from what exists, so a pass may be repeated, skipped or cut off anywhere.
Must not do I/O or read a clock: `now` is in the Snapshot.
"""

from dataclasses import replace

from modelfleet.core import evaluation, names, progress, report, rolling, settled, staged, upkeep
from modelfleet.core.assess import afterwards, shown
from modelfleet.core.demand import Demand, demand
from modelfleet.core.plan import Action, Plan, Reason
from modelfleet.core.rolling import Rollout
from modelfleet.core.rollout import actions as wishes
from modelfleet.core.rollout import memory as remembered
from modelfleet.core.rollout import roles
from modelfleet.core.rollout.course import Course, Standing, plot
from modelfleet.core.rollout.memory import Memory
from modelfleet.core.rollout.replicas import unconfirmed
from modelfleet.core.routing import handover
from modelfleet.core.routing.confirmation import in_force
from modelfleet.core.world import Snapshot

RETRY_CAPACITY_SECONDS = 30.0
ASK_ENVOYS_SECONDS = 0.5
"""Between two questions while a replica waits to be out of every Envoy's routes; it usually takes milliseconds."""


def decide(snapshot: Snapshot) -> Plan:
    """Answer what to write now, which status to show, and when to look again."""
    if snapshot.spec is None:
        return Plan(status=report.invalid(snapshot), history=snapshot.history)
    wanted = demand(snapshot)
    course = _course(snapshot, wanted=wanted)
    revision = course.target
    repairs, repair_reasons = upkeep.restore_templates(snapshot)
    if repairs:
        # Everything else is looked at again once the templates are what they were.
        rollout = Rollout.unmoved(snapshot, revision=revision, stable=course.stable)
        actions: tuple[Action, ...] = (*upkeep.keep_labels(snapshot), *repairs)
    else:
        rollout = _roll(snapshot, course=course, wanted=wanted)
        leaving = handover.leaving(rollout.actions)
        moves = handover.without(rollout.actions, pods=handover.held(snapshot, pods=leaving))
        kept = (*upkeep.keep_labels(snapshot), *upkeep.keep_stored(snapshot))
        actions = (*kept, *moves, *_keep(snapshot, rollout=rollout, leaving=leaving))
    unplaced = any(not r.scheduled and not r.terminating and not r.failed for r in snapshot.replicas)
    reasons = (*wanted.reasons, *repair_reasons, *rollout.reasons)
    status, told = report.report(
        snapshot, wanted=wanted, rollout=rollout, drifted=bool(upkeep.edited_templates(snapshot)), reasons=reasons
    )
    times = [progress.look_again_in(snapshot, revision=rollout.revision, said=status.get("rollout") or {})]
    times += [RETRY_CAPACITY_SECONDS if rollout.targets.hold or unplaced else None]
    times += [ASK_ENVOYS_SECONDS if unconfirmed(snapshot) else None, handover.look_again_in(snapshot)]
    times += [rollout.again_in]
    return Plan(
        actions=actions,
        status=status,
        reasons=(*reasons, *told),
        history=wanted.history,
        requeue_after=min((time for time in times if time is not None), default=None),
    )


def _course(snapshot: Snapshot, *, wanted: Demand) -> Course:
    """Answer which revision is to be served, and which one serves."""
    revision = names.revision_hash(spec=snapshot.raw_spec, annotations=snapshot.annotations)
    in_stages = staged.applies(snapshot, wanted=wanted)
    serving = roles.stable(snapshot, revision=revision)
    if in_stages or in_force(snapshot) is not None:
        serving = roles.pointed(snapshot) or roles.strongest(snapshot, revision=revision)
    memory = remembered.read(snapshot.status)
    verdict = afterwards(snapshot, memory=memory, stable=serving)
    failed = f"{verdict.reason}: {verdict.message}" if verdict and verdict.outcome == "Fail" else ""
    assert snapshot.spec is not None  # noqa: S101 - decide() answers an unreadable spec first
    by_itself = snapshot.spec.rollout.on_failure == "Rollback" and not snapshot.spec.suspend
    course = plot(
        Standing(
            spec_revision=revision,
            stable=serving,
            memory=replace(memory, analysis=shown(verdict)) if verdict else memory,
            action=wishes.parse(snapshot.annotations.get(wishes.ANNOTATION)),
            known=frozenset(s.revision for s in snapshot.stored) | {w.revision for w in snapshot.workloads},
            ready=frozenset(r.revision for r in snapshot.replicas if r.ready and not r.terminating),
            staged=in_stages,
            suspended=snapshot.spec.suspend,
            regretted=failed if by_itself else "",
            now=snapshot.now,
        )
    )
    if not failed or by_itself or memory.analysis.get("verdict") == "Fail":
        return course
    message = f"Failed: {failed}; rollback-to {memory.previous} goes back, at once while it is warm"
    told = Reason(kind="Rollout", reason="RolloutPaused", message=message, after=serving, warning=True)
    return replace(course, reasons=(*course.reasons, told))


def _roll(snapshot: Snapshot, *, course: Course, wanted: Demand) -> Rollout:
    if staged.applies(snapshot, wanted=wanted) or settled.lingers(snapshot, course=course, wanted=wanted):
        return staged.roll(snapshot, course=course, wanted=wanted)
    if rolling.waits_for_window(snapshot, course=course, wanted=wanted):
        return rolling.outside_window(snapshot, course=course, wanted=wanted)
    found = rolling.roll(snapshot, revision=course.target, wanted=wanted)
    served = roles.pointed(snapshot)
    previous = served if served not in {"", found.stable} else course.memory.previous
    memory = Memory(previous=previous, override=course.memory.override, answer=course.memory.answer)
    return replace(found, memory=memory, reasons=(*course.reasons, *found.reasons))


def _keep(snapshot: Snapshot, *, rollout: Rollout, leaving: frozenset[str]) -> tuple[Action, ...]:
    revision, stable = rollout.revision, rollout.stable if rollout.weights is not None else ""
    living_revisions = {w.revision for w in snapshot.workloads}
    if not snapshot.spec or (not snapshot.spec.suspend and not rolling.refusal(snapshot, revision=revision)):
        living_revisions.add(revision)
    forgotten: tuple[Action, ...] = ()
    if snapshot.spec and not snapshot.spec.suspend:
        jobs = evaluation.outdated(snapshot, memory=rollout.memory)
        forgotten = (*upkeep.forget(snapshot, revision=revision), *jobs)
    gone = {getattr(action, "name", "") for action in forgotten}
    keep = tuple(
        sorted(r for r in living_revisions if r and names.revision_name(name=snapshot.name, revision=r) not in gone)
    )
    return (*upkeep.keep_objects(snapshot, revisions=keep, stable=stable, leaving=leaving), *forgotten)
