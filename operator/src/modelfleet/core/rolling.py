"""Revisions replaced replica by replica: strategies RollingUpdate and Recreate, and how any revision starts.

From a Snapshot to the numbers of `rollout/targets.py`, and from their answer to writes. Beside `staged.py`, which gives
traffic in steps. Must not size the whole: `demand.py` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from modelfleet.core.allowance import allowance, free
from modelfleet.core.demand import Demand
from modelfleet.core.observe import epoch
from modelfleet.core.plan import Action, Create, DryRun, Reason
from modelfleet.core.problems import problem
from modelfleet.core.render import objects
from modelfleet.core.render.pod import render_template
from modelfleet.core.rollout import memory as remembered
from modelfleet.core.rollout import opening
from modelfleet.core.rollout.course import Course
from modelfleet.core.rollout.memory import Memory
from modelfleet.core.rollout.outlook import replaced
from modelfleet.core.rollout.replicas import living, resize, shortest_start
from modelfleet.core.rollout.roles import stable
from modelfleet.core.rollout.targets import Count, Inputs, Targets, next_targets
from modelfleet.core.rollout.way import way
from modelfleet.core.routing.confirmation import in_force
from modelfleet.core.world import Snapshot, Workload

STARTED = "RevisionStarted"


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What this pass does about revisions: the targets of this step, the writes, why, and what to remember.

    Attributes:
        revision: the one that is served, or is to be.
        stable: the one that serves until `revision` has taken over.
        weights: percent of the traffic by revision; None where traffic follows the ready replicas.
        phase: of a staged rollout; empty otherwise.
        message: why it stands where it stands.
        plan: what will happen next.
        steps: stages in all.
        again_in: seconds until time alone may change the answer.
    """

    revision: str
    stable: str
    targets: Targets
    memory: Memory = field(default_factory=Memory)
    weights: Mapping[str, int] | None = None
    phase: str = ""
    message: str = ""
    plan: str = ""
    steps: int = 0
    actions: tuple[Action, ...] = ()
    reasons: tuple[Reason, ...] = ()
    again_in: float | None = None

    @classmethod
    def unmoved(cls, snapshot: Snapshot, *, revision: str, stable: str) -> "Rollout":
        """Leave everything as it is and as it is remembered."""
        return cls(
            revision=revision,
            stable=stable,
            targets=as_is(snapshot, revision=revision),
            memory=remembered.read(snapshot.status),
            weights=in_force(snapshot),
        )


def refusal(snapshot: Snapshot, *, revision: str) -> str:
    """Say why a revision cannot even be rendered; empty when it can."""
    if revision in snapshot.rejected:
        return snapshot.rejected[revision]
    found = problem(snapshot)
    return found.message if found else ""


def as_is(snapshot: Snapshot, *, revision: str) -> Targets:
    """Ask for what there is."""
    new = sum(w.replicas for w in snapshot.workloads if w.revision == revision)
    return Targets(new=new, old=sum(w.replicas for w in snapshot.workloads) - new)


def roll(snapshot: Snapshot, *, revision: str, wanted: Demand) -> Rollout:
    """Move towards `revision`, one safe step."""
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - decide() answers an unreadable spec first
    serving = stable(snapshot, revision=revision)
    if spec.suspend:
        return Rollout(revision=revision, stable=serving, targets=as_is(snapshot, revision=revision))
    if in_force(snapshot) is not None:
        # Traffic follows the ready replicas from now on: nobody leaves while Envoys know a weight of 0 for the others.
        held = as_is(snapshot, revision=revision)
        return Rollout(revision=revision, stable=serving, targets=held, again_in=0.0)
    olds = [w for w in snapshot.workloads if w.revision != revision]
    current = next((w for w in snapshot.workloads if w.revision == revision), None)
    if refusal(snapshot, revision=revision) and current is None:
        # The old revision goes on serving, and follows the demand, while the new one cannot even be rendered.
        return hold_old(snapshot, revision=revision, wanted=wanted)
    inputs = _inputs(snapshot, revision=revision, olds=olds, wanted=wanted)
    targets = _recreate(inputs) if spec.rollout.strategy == "Recreate" else next_targets(inputs)
    # A creation has no resourceVersion to be fenced by: beside others it starts empty, and only a Scale, which
    # an old leader cannot land, asks for devices.
    first = 0 if inputs.old.replicas else targets.new
    return Rollout(
        revision=revision,
        stable=serving,
        targets=targets,
        plan=_plan(snapshot, inputs=inputs, targets=targets),
        actions=move(snapshot, revision=revision, targets=targets, first=first),
        reasons=announce(snapshot, revision=revision),
    )


def _plan(snapshot: Snapshot, *, inputs: Inputs, targets: Targets) -> str:
    """Say what comes, which way and about when; empty when nothing is replaced."""
    before = snapshot.status.get("rollout") or {}
    missing = max(0, inputs.desired - inputs.new.ready)
    if not inputs.old.replicas and not ("startedAt" in before and missing):
        return ""
    took = shortest_start(snapshot.replicas)
    if took is None and "plan" in before and not targets.hold:
        return str(before["plan"])  # with the old replicas gone nobody tells any more how long a start takes
    recreate = bool(snapshot.spec and snapshot.spec.rollout.strategy == "Recreate")
    return replaced(missing=missing, way=way(inputs, hold=targets.hold, recreate=recreate), start_seconds=took)


def move(snapshot: Snapshot, *, revision: str, targets: Targets, first: int = 0) -> tuple[Action, ...]:
    """Write what the targets ask for; a revision that does not exist yet starts with `first` replicas."""
    current = next((w for w in snapshot.workloads if w.revision == revision), None)
    if current is None:
        return start(snapshot, revision=revision, replicas=first)
    actions = [*resize(snapshot, workload=current, target=targets.new)]
    olds = [w for w in snapshot.workloads if w.revision != revision]
    for workload, target in split(snapshot, olds=olds, total=targets.old):
        actions += resize(snapshot, workload=workload, target=target)
    return tuple(actions)


def hold_old(snapshot: Snapshot, *, revision: str, wanted: Demand, first: str = "") -> Rollout:
    """Let what serves, `first` if it is there, follow the demand while `revision` cannot start."""
    olds = [w for w in snapshot.workloads if w.revision != revision]
    serving = max(olds, key=lambda w: (w.revision == first, w.replicas, w.name), default=None)
    if serving is None:
        return Rollout(revision=revision, stable=revision, targets=Targets(new=0, old=0))
    more = allowance(snapshot, revision=serving.revision).replicas
    target = min(wanted.replicas, serving.replicas + more)
    actions = resize(snapshot, workload=serving, target=target)
    hold = "InsufficientCapacity" if target == serving.replicas < wanted.replicas else ""
    targets = Targets(new=0, old=target, hold=hold, short=serving.revision)
    return Rollout(revision=revision, stable=serving.revision, targets=targets, actions=actions)


def waits_for_window(snapshot: Snapshot, *, course: Course, wanted: Demand) -> bool:
    """Whether a revision must not begin now; one that has begun goes on, or fewer replicas would serve till then."""
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - see roll()
    if not course.rolling or course.returning or opening.is_open(spec.rollout.window, now=snapshot.now):
        return False
    runs = {w.revision for w in snapshot.workloads if w.replicas}
    under_way = "startedAt" in (snapshot.status.get("rollout") or {}) and course.memory.hold != "Window"
    begun = course.target in runs or under_way
    return bool(runs and wanted.replicas) and not begun and not spec.suspend


def outside_window(snapshot: Snapshot, *, course: Course, wanted: Demand) -> Rollout:
    """Let what serves follow the demand until the change window opens."""
    spec, memory = snapshot.spec, course.memory
    assert spec is not None  # noqa: S101 - see roll()
    since = memory.hold_at if memory.hold == "Window" else snapshot.now
    kept = Memory(previous=memory.previous, override=memory.override, answer=memory.answer)
    return replace(
        hold_old(snapshot, revision=course.target, wanted=wanted),
        memory=replace(kept, revision=course.target, hold="Window", hold_at=since),
        phase="Hold",
        message="the change window is closed",
        reasons=course.reasons,
        again_in=opening.opens_in(spec.rollout.window, now=snapshot.now),
    )


def _recreate(inputs: Inputs) -> Targets:
    """Start nothing while anything of before holds its devices."""
    if inputs.old.replicas or inputs.old.leaving:
        return Targets(new=min(inputs.new.replicas, inputs.desired), old=0)
    return next_targets(inputs)


def claim_expired(snapshot: Snapshot, *, revision: str) -> bool:
    """Whether a replica has had no node for too long, or its claim was given back lately."""
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - see roll()
    pending = [r for r in living(snapshot.replicas, revision=revision) if not r.scheduled]
    timeout = spec.rollout.capacity_timeout_seconds
    expired = any(snapshot.now - r.created_at > timeout for r in pending)
    waiting = epoch((snapshot.status.get("rollout") or {}).get("capacityWaitStartedAt"))
    # A claim rests for one timeout and is then made again: a node autoscaler acts on a waiting pod only.
    resting = bool(waiting) and snapshot.now - waiting < timeout
    return expired or (resting and not pending and not snapshot.free_gpus)


def count(snapshot: Snapshot, *, revision: str) -> Count:
    """Count what runs of one revision."""
    workload = next((w for w in snapshot.workloads if w.revision == revision), None)
    alive = living(snapshot.replicas, revision=revision)
    asked = workload.replicas if workload else 0
    present = [r for r in snapshot.replicas if r.revision == revision and not r.failed]
    return Count(
        replicas=asked,
        ready=sum(r.ready and r.in_rotation for r in alive),
        unscheduled=sum(not r.scheduled for r in alive),
        unschedulable=sum(not r.scheduled and r.waiting_reason == "Unschedulable" for r in alive),
        leaving=max(0, len(present) - asked),
    )


def _inputs(snapshot: Snapshot, *, revision: str, olds: list[Workload], wanted: Demand) -> Inputs:
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - see roll()
    current = any(w.revision == revision for w in snapshot.workloads)
    mine = revision if current else ""
    new = count(snapshot, revision=mine) if current else Count(replicas=0, ready=0)
    asked = sum(w.replicas for w in olds)
    old_pods = [r for r in snapshot.replicas if r.revision != mine and not r.failed]
    return Inputs(
        desired=wanted.replicas,
        new=new,
        old=Count(
            replicas=asked,
            ready=sum(r.ready and r.in_rotation for w in olds for r in living(snapshot.replicas, revision=w.revision)),
            leaving=max(0, len(old_pods) - asked),
        ),
        max_surge=spec.rollout.max_surge,
        max_unavailable=spec.rollout.max_unavailable,
        capacity=spec.rollout.capacity,
        free=free(snapshot, revision=revision),
        limit=allowance(snapshot, revision=revision).replicas,
        claim_expired=claim_expired(snapshot, revision=mine),
    )


def start(snapshot: Snapshot, *, revision: str, replicas: int) -> tuple[Action, ...]:
    """Store the template, then create its Deployment; a crash in between finds the stored one."""
    assert snapshot.spec is not None  # noqa: S101 - see roll()
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


def announce(snapshot: Snapshot, *, revision: str) -> tuple[Reason, ...]:
    """Tell of a revision that status does not show as wanted yet: also of one that an operator began and died over."""
    roles = {r.get("hash", ""): r.get("role") for r in snapshot.status.get("revisions") or ()}
    started = [d.get("to") for d in snapshot.status.get("decisions") or () if d.get("reason") == STARTED]
    if roles.get(revision) in {"stable", "new", "canary", "preview"} or started[-1:] == [revision]:
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


def split(snapshot: Snapshot, *, olds: list[Workload], total: int) -> list[tuple[Workload, int]]:
    """Divide what old revisions keep: replicas that are not ready go first, then those of whoever has fewest ready."""
    ready = {
        w.revision: min(w.replicas, sum(r.ready for r in living(snapshot.replicas, revision=w.revision))) for w in olds
    }
    order = sorted(olds, key=lambda w: (-ready[w.revision], w.name))
    left = total
    keeps: dict[str, int] = {}
    for workload in order:
        keeps[workload.revision] = min(left, ready[workload.revision])
        left -= keeps[workload.revision]
    for workload in order:
        more = min(left, workload.replicas - keeps[workload.revision])
        keeps[workload.revision] += more
        left -= more
    return [(workload, keeps[workload.revision]) for workload in order]
