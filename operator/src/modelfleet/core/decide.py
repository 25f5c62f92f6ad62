"""The product in one function: a Snapshot of an LLMDeployment goes in, a Plan comes out.

The order is the promise: what cannot be read changes nothing; what exists is kept and repaired; then the wanted
revision is started, replicas move between revisions one safe step at a time, and what is long gone is forgotten.
Everything is derived from what exists, so a pass may be repeated, skipped or cut off anywhere.
Must not do I/O or read a clock: `now` is in the Snapshot.
"""

from dataclasses import dataclass

from modelfleet.core import names, progress, report, upkeep
from modelfleet.core.demand import Demand, demand
from modelfleet.core.observe import epoch
from modelfleet.core.plan import Action, Create, DryRun, Plan, Reason
from modelfleet.core.render import objects
from modelfleet.core.render.pod import engine_image, render_template
from modelfleet.core.rollout.replicas import living, resize, unconfirmed
from modelfleet.core.rollout.targets import UNLIMITED, Count, Inputs, Targets, next_targets
from modelfleet.core.world import Snapshot, Workload

RETRY_CAPACITY_SECONDS = 30.0
STARTED = "RevisionStarted"
ASK_ENVOYS_SECONDS = 0.5
"""Between two questions while a replica waits to be out of every Envoy's routes; it usually takes milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What this pass does about revisions: the targets of this step, the writes, and why."""

    targets: Targets
    actions: tuple[Action, ...] = ()
    reasons: tuple[Reason, ...] = ()


def decide(snapshot: Snapshot) -> Plan:
    """Answer what to write now, which status to show, and when to look again."""
    if snapshot.spec is None:
        return Plan(status=report.invalid(snapshot), history=snapshot.history)
    revision = names.revision_hash(spec=snapshot.raw_spec, annotations=snapshot.annotations)
    wanted = demand(snapshot)
    repairs, repair_reasons = upkeep.restore_templates(snapshot)
    if repairs:
        # Everything else is looked at again once the templates are what they were.
        rollout = Rollout(targets=_as_is(snapshot, revision=revision))
        actions: tuple[Action, ...] = repairs
    else:
        rollout = _roll(snapshot, revision=revision, wanted=wanted)
        actions = (*upkeep.keep_stored(snapshot), *rollout.actions, *_keep(snapshot, revision=revision))
    unplaced = any(not r.scheduled and not r.terminating and not r.failed for r in snapshot.replicas)
    reasons = (*wanted.reasons, *repair_reasons, *rollout.reasons)
    status, told = report.report(
        snapshot, revision=revision, wanted=wanted, targets=rollout.targets, drifted=bool(repairs), reasons=reasons
    )
    times = [progress.look_again_in(snapshot, said=status.get("rollout") or {})]
    times += [RETRY_CAPACITY_SECONDS if rollout.targets.hold or unplaced else None]
    times += [ASK_ENVOYS_SECONDS if unconfirmed(snapshot) else None]
    return Plan(
        actions=actions,
        status=status,
        reasons=(*reasons, *told),
        history=wanted.history,
        requeue_after=min((time for time in times if time is not None), default=None),
    )


def _keep(snapshot: Snapshot, *, revision: str) -> tuple[Action, ...]:
    living_revisions = {w.revision for w in snapshot.workloads}
    if not snapshot.spec or (not snapshot.spec.suspend and not _refusal(snapshot, revision=revision)):
        living_revisions.add(revision)
    forgotten = () if snapshot.spec and snapshot.spec.suspend else upkeep.forget(snapshot, revision=revision)
    gone = {getattr(action, "name", "") for action in forgotten}
    keep = tuple(
        sorted(r for r in living_revisions if r and names.revision_name(name=snapshot.name, revision=r) not in gone)
    )
    return (*upkeep.keep_objects(snapshot, revisions=keep), *forgotten)


def _refusal(snapshot: Snapshot, *, revision: str) -> str:
    if revision in snapshot.rejected:
        return snapshot.rejected[revision]
    if snapshot.spec and not engine_image(snapshot.spec, settings=snapshot.settings):
        return "no image for this engine: set spec.engine.image or the chart's engine images"
    return ""


def _as_is(snapshot: Snapshot, *, revision: str) -> Targets:
    new = sum(w.replicas for w in snapshot.workloads if w.revision == revision)
    return Targets(new=new, old=sum(w.replicas for w in snapshot.workloads) - new)


def _roll(snapshot: Snapshot, *, revision: str, wanted: Demand) -> Rollout:
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - decide() answers an unreadable spec first
    if spec.suspend:
        return Rollout(targets=_as_is(snapshot, revision=revision))
    olds = [w for w in snapshot.workloads if w.revision != revision]
    current = next((w for w in snapshot.workloads if w.revision == revision), None)
    if _refusal(snapshot, revision=revision) and current is None:
        # The old revision goes on serving, and follows the demand, while the new one cannot even be rendered.
        return _hold_old(snapshot, olds=olds, wanted=wanted)
    inputs = _inputs(snapshot, current=current, olds=olds, wanted=wanted)
    targets = next_targets(inputs)
    if current is None:
        # A creation has no resourceVersion to be fenced by: beside others it starts empty, and only a Scale, which
        # an old leader cannot land, asks for devices.
        replicas = 0 if inputs.old.replicas else targets.new
        return Rollout(
            targets=targets,
            actions=_start(snapshot, revision=revision, replicas=replicas),
            reasons=_announce(snapshot, revision=revision),
        )
    actions = [*resize(snapshot, workload=current, target=targets.new)]
    for workload, target in _share(snapshot, olds=olds, total=targets.old):
        actions += resize(snapshot, workload=workload, target=target)
    return Rollout(targets=targets, actions=tuple(actions), reasons=_announce(snapshot, revision=revision))


def _hold_old(snapshot: Snapshot, *, olds: list[Workload], wanted: Demand) -> Rollout:
    serving = max(olds, key=lambda w: (w.replicas, w.name), default=None)
    if serving is None:
        return Rollout(targets=Targets(new=0, old=0))
    actions = resize(snapshot, workload=serving, target=wanted.replicas)
    return Rollout(targets=Targets(new=0, old=wanted.replicas), actions=actions)


def _inputs(snapshot: Snapshot, *, current: Workload | None, olds: list[Workload], wanted: Demand) -> Inputs:
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - see _roll()
    new = living(snapshot.replicas, revision=current.revision) if current else []
    pending = [r for r in new if not r.scheduled]
    timeout = spec.rollout.capacity_timeout_seconds
    expired = any(snapshot.now - r.created_at > timeout for r in pending)
    waiting = epoch((snapshot.status.get("rollout") or {}).get("capacityWaitStartedAt"))
    # A claim rests for one timeout and is then made again: a node autoscaler acts on a waiting pod only.
    resting = bool(waiting) and snapshot.now - waiting < timeout
    given_back = resting and not pending and not snapshot.free_gpus
    asked = sum(w.replicas for w in olds)
    mine = current.revision if current else ""
    old_pods = [r for r in snapshot.replicas if r.revision != mine and not r.failed]
    return Inputs(
        desired=wanted.replicas,
        new=Count(
            replicas=current.replicas if current else 0,
            ready=sum(r.ready and r.in_rotation for r in new),
            unscheduled=len(pending),
        ),
        old=Count(
            replicas=asked,
            ready=sum(r.ready and r.in_rotation for w in olds for r in living(snapshot.replicas, revision=w.revision)),
            leaving=max(0, len(old_pods) - asked),
        ),
        max_surge=spec.rollout.max_surge,
        max_unavailable=spec.rollout.max_unavailable,
        capacity=spec.rollout.capacity,
        free=snapshot.free_gpus if spec.devices_per_replica else UNLIMITED,
        claim_expired=expired or given_back,
    )


def _start(snapshot: Snapshot, *, revision: str, replicas: int) -> tuple[Action, ...]:
    """Store the template, then create its Deployment; a crash in between finds the stored one."""
    assert snapshot.spec is not None  # noqa: S101 - see _roll()
    stored = next((s for s in snapshot.stored if s.revision == revision), None)
    if stored is not None:
        return (
            Create(
                manifest=objects.deployment(snapshot, revision=revision, template=stored.template, replicas=replicas)
            ),
        )
    template = render_template(name=snapshot.name, revision=revision, spec=snapshot.spec, settings=snapshot.settings)
    manifest = objects.deployment(snapshot, revision=revision, template=template, replicas=replicas)
    number = max((s.number for s in snapshot.stored), default=0) + 1
    return (
        DryRun(manifest=manifest, revision=revision),
        Create(manifest=objects.controller_revision(snapshot, revision=revision, number=number, template=template)),
        Create(manifest=manifest),
    )


def _announce(snapshot: Snapshot, *, revision: str) -> tuple[Reason, ...]:
    """Tell of a revision that status does not show as wanted yet: also of one that an operator began and died over."""
    roles = {r.get("hash", ""): r.get("role") for r in snapshot.status.get("revisions") or ()}
    started = [d.get("to") for d in snapshot.status.get("decisions") or () if d.get("reason") == STARTED]
    if roles.get(revision) in {"stable", "new"} or started[-1:] == [revision]:
        return ()
    before = next((hash_ for hash_, role in roles.items() if role == "stable"), "")
    return (
        Reason(
            kind="Rollout",
            reason=STARTED,
            message=f"the spec asks for revision {revision}",
            before=before,
            after=revision,
        ),
    )


def _share(snapshot: Snapshot, *, olds: list[Workload], total: int) -> list[tuple[Workload, int]]:
    """Split what old revisions keep: those with most ready replicas keep theirs, the others give first."""

    def ready(workload: Workload) -> int:
        return sum(r.ready for r in living(snapshot.replicas, revision=workload.revision))

    shares = []
    left = total
    for workload in sorted(olds, key=lambda w: (-ready(w), w.name)):
        share = min(left, workload.replicas)
        shares.append((workload, share))
        left -= share
    return shares
