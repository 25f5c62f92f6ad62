"""The status of one pass: counts, revisions, conditions, the last decisions. Written only when it says something new.

Must not decide what happens, only tell it; nothing in it may tick, or an idle fleet would cost writes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from modelfleet.core import conditions as c
from modelfleet.core import names
from modelfleet.core.demand import Demand
from modelfleet.core.failures import ADVICE, Failure, diagnose
from modelfleet.core.observe import epoch
from modelfleet.core.plan import Reason
from modelfleet.core.render.pod import engine_image
from modelfleet.core.rollout.replicas import living
from modelfleet.core.rollout.targets import Targets
from modelfleet.core.world import Replica, Snapshot

DECISIONS = 10
REVISIONS = 64
TOLD = (c.VALID, c.CAPACITY, c.METRICS, c.DEGRADED, c.ROUTE)
"""Conditions whose turn for the worse also becomes an Event."""


def invalid(snapshot: Snapshot) -> dict[str, Any]:
    """Report a spec that this operator cannot read; everything else stays as it was."""
    status = {k: v for k, v in snapshot.status.items() if k != "conditions"}
    wanted = [
        *(x for x in snapshot.status.get("conditions") or () if x.get("type") != c.VALID),
        c.condition(c.VALID, False, "SpecInvalid", snapshot.spec_error),  # noqa: FBT003 - see condition()
    ]
    settled = c.settle(
        wanted=wanted,
        before=snapshot.status.get("conditions") or (),
        now=snapshot.now,
        generation=snapshot.generation,
    )
    return {**status, "observedGeneration": snapshot.generation, "phase": "Invalid", "conditions": settled}


def report(
    snapshot: Snapshot, *, revision: str, wanted: Demand, targets: Targets, drifted: bool, reasons: Sequence[Reason]
) -> tuple[dict[str, Any], tuple[Reason, ...]]:
    """Build the status, and the Events for conditions that just turned for the worse."""
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - decide() answers an unreadable spec with invalid()
    alive = [r for r in snapshot.replicas if not r.terminating and not r.failed]
    ready = [r for r in alive if r.ready]
    failure = diagnose(snapshot.replicas)
    found = _conditions(
        snapshot, revision=revision, wanted=wanted, targets=targets, drifted=drifted, alive=alive, failure=failure
    )
    before = snapshot.status.get("conditions") or ()
    settled = c.settle(wanted=found, before=before, now=snapshot.now, generation=snapshot.generation)
    status: dict[str, Any] = {
        "observedGeneration": snapshot.generation,
        "phase": _phase(settled, suspended=spec.suspend),
        "url": f"http://{snapshot.name}.{snapshot.namespace}.svc",
        "replicas": len(alive),
        "readyReplicas": len(ready),
        "updatedReplicas": sum(r.revision == revision for r in alive),
        "selector": f"{names.OWNER}={snapshot.name}",
        "gpus": len(alive) * spec.devices_per_replica,
        "revisions": _revisions(snapshot, revision=revision, alive=alive),
        "rollout": _rollout(snapshot, revision=revision, targets=targets),
        "conditions": settled,
        "decisions": _decisions(snapshot, reasons),
    }
    if spec.scaling is not None:
        status["scaling"] = _scaling(snapshot, wanted=wanted)
    return {k: v for k, v in status.items() if v not in (None, {}, [])}, _events(settled, before)


def _stable(snapshot: Snapshot, *, revision: str) -> str:
    """Name the revision with ready replicas that serves: the wanted one once no other has any."""
    others = [w for w in snapshot.workloads if w.revision != revision and w.replicas]
    if not others:
        return revision
    return max(others, key=lambda w: (w.replicas, w.name)).revision


def _revisions(snapshot: Snapshot, *, revision: str, alive: Sequence[Replica]) -> list[dict[str, Any]]:
    stable = _stable(snapshot, revision=revision)
    rendered = {s.revision: s.rendering_version for s in snapshot.stored}
    listed = []
    for workload in sorted(snapshot.workloads, key=lambda w: w.name)[:REVISIONS]:
        role = "stable" if workload.revision == stable else "new" if workload.revision == revision else "old"
        mine = [r for r in alive if r.revision == workload.revision]
        entry = {
            "name": workload.name,
            "hash": workload.revision,
            "role": role,
            "replicas": len(mine),
            "ready": sum(r.ready for r in mine),
            "renderingVersion": rendered.get(workload.revision, ""),
        }
        listed.append({k: v for k, v in entry.items() if v != ""})
    return listed


def _conditions(
    snapshot: Snapshot,
    *,
    revision: str,
    wanted: Demand,
    targets: Targets,
    drifted: bool,
    alive: Sequence[Replica],
    failure: Failure | None,
) -> list[dict[str, Any]]:
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - see report()
    ready = sum(r.ready for r in alive)
    return [
        _valid(snapshot, revision=revision),
        _ready(wanted=wanted.replicas, ready=ready, failure=failure),
        _progressing(snapshot, revision=revision, wanted=wanted, targets=targets),
        _capacity(snapshot, alive=alive, targets=targets),
        _metrics(wanted),
        c.condition(
            c.DEGRADED,
            failure is not None,
            failure.reason if failure else "AsExpected",
            failure.message if failure else "",
        ),
        c.condition(c.MODEL_LOADED, True if ready else None, "Loaded" if ready else "NotYet"),
        _route(snapshot),
        c.condition(c.DRIFTED, drifted, "TemplateEdited" if drifted else "AsRendered"),
        c.condition(c.SUSPENDED, spec.suspend, "Suspended" if spec.suspend else "NotSuspended"),
    ]


def _valid(snapshot: Snapshot, *, revision: str) -> dict[str, Any]:
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - see report()
    if refused := snapshot.rejected.get(revision):
        return c.condition(c.VALID, False, "TemplateInvalid", refused)  # noqa: FBT003 - see condition()
    if not engine_image(spec, settings=snapshot.settings):
        message = "no image for this engine: set spec.engine.image or the chart's engine images"
        return c.condition(c.VALID, False, "ImageUnknown", message)  # noqa: FBT003 - see condition()
    return c.condition(c.VALID, True, "Valid")  # noqa: FBT003 - see condition()


def _ready(*, wanted: int, ready: int, failure: Failure | None) -> dict[str, Any]:
    if wanted == 0:
        return c.condition(c.READY, True, "NoReplicasWanted")  # noqa: FBT003 - see condition()
    if ready >= wanted:
        return c.condition(c.READY, True, "AllReplicasReady", f"{wanted} wanted")  # noqa: FBT003 - see condition()
    if failure is not None and ready == 0:
        return c.condition(c.READY, False, failure.reason, failure.message)  # noqa: FBT003 - see condition()
    return c.condition(c.READY, None, "ReplicasLoading", f"{ready} of {wanted} replicas ready")


def _progressing(snapshot: Snapshot, *, revision: str, wanted: Demand, targets: Targets) -> dict[str, Any]:
    new = [r for r in living(snapshot.replicas, revision=revision) if r.ready]
    others = any(w.revision != revision and w.replicas for w in snapshot.workloads)
    if not others and len(new) >= wanted.replicas:
        return c.condition(c.PROGRESSING, False, "UpToDate")  # noqa: FBT003 - see condition()
    if targets.hold:
        return c.condition(c.PROGRESSING, True, "WaitingForCapacity", _missing(snapshot))  # noqa: FBT003 - see condition()
    started = epoch((snapshot.status.get("rollout") or {}).get("progressedAt"))
    limit = snapshot.spec.rollout.progress_deadline_seconds if snapshot.spec else 0
    if started and snapshot.now - started > limit:
        message = f"no new replica became ready within {limit} s; see condition Degraded and the engine's log"
        return c.condition(c.PROGRESSING, False, "ProgressDeadlineExceeded", message)  # noqa: FBT003 - see condition()
    return c.condition(c.PROGRESSING, True, "RevisionRollingOut" if others else "ReplicasStarting")  # noqa: FBT003 - see condition()


def _missing(snapshot: Snapshot) -> str:
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - see report()
    need = f"{spec.devices_per_replica} {spec.accelerator.resource}"
    where = f" ({spec.accelerator.product})" if spec.accelerator.product else ""
    return (
        f"a new replica needs {need}{where} and none is free; free one, or set rollout.capacity: InPlace,"
        " or rollout.maxUnavailable: 1"
    )


def _capacity(snapshot: Snapshot, *, alive: Sequence[Replica], targets: Targets) -> dict[str, Any]:
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - see report()
    unplaced = next((r for r in sorted(alive, key=lambda r: r.name) if r.waiting_reason == "Unschedulable"), None)
    if (
        spec.devices_per_replica
        and snapshot.largest_node is not None
        and snapshot.largest_node < spec.devices_per_replica
    ):
        message = (
            f"no node has {spec.devices_per_replica} {spec.accelerator.resource} (the most is {snapshot.largest_node});"
            " lower accelerator.count, or add such a node"
        )
        return c.condition(c.CAPACITY, False, "NoSuchNode", message)  # noqa: FBT003 - see condition()
    if unplaced is not None:
        return c.condition(c.CAPACITY, False, "InsufficientGPU", f"{unplaced.message}: {ADVICE['InsufficientGPU']}")  # noqa: FBT003 - see condition()
    if targets.hold:
        return c.condition(c.CAPACITY, False, "InsufficientGPU", _missing(snapshot))  # noqa: FBT003 - see condition()
    if spec.devices_per_replica and not snapshot.nodes_readable:
        return c.condition(c.CAPACITY, None, "NodesNotReadable", "the operator may not read nodes")
    return c.condition(c.CAPACITY, True, "Fits")  # noqa: FBT003 - see condition()


def _metrics(wanted: Demand) -> dict[str, Any]:
    if wanted.scaling is None:
        return c.condition(c.METRICS, True, "NotNeeded")  # noqa: FBT003 - see condition()
    result = wanted.scaling
    if result.metrics_reason == "AwaitingData":
        return c.condition(c.METRICS, None, result.metrics_reason, result.metrics_message)
    return c.condition(c.METRICS, result.metrics_available, result.metrics_reason, result.metrics_message)


def _route(snapshot: Snapshot) -> dict[str, Any]:
    if not snapshot.name_conflict:
        return c.condition(c.ROUTE, True, "Accepted")  # noqa: FBT003 - see condition()
    message = (
        f"{snapshot.name_conflict} is older and serves this model name; choose another spec.model.servedName,"
        f" or ask for {snapshot.namespace}/{snapshot.name}"
    )
    return c.condition(c.ROUTE, False, "ServedNameConflict", message)  # noqa: FBT003 - see condition()


def _phase(settled: Sequence[Mapping[str, Any]], *, suspended: bool) -> str:
    by_type = {one["type"]: one for one in settled}
    if by_type[c.VALID]["status"] == "False":
        return "Invalid"
    if suspended:
        return "Suspended"
    if by_type[c.DEGRADED]["status"] == "True":
        return "Degraded"
    if by_type[c.PROGRESSING]["reason"] in {"RevisionRollingOut", "WaitingForCapacity"}:
        return "RollingOut"
    return "Ready" if by_type[c.READY]["status"] == "True" else "Loading"


def _rollout(snapshot: Snapshot, *, revision: str, targets: Targets) -> dict[str, Any]:
    if not snapshot.spec or not any(w.revision != revision and w.replicas for w in snapshot.workloads):
        return {}
    before = snapshot.status.get("rollout") or {}
    ready = sum(r.ready for r in living(snapshot.replicas, revision=revision))
    seen = next((r.get("ready", 0) for r in snapshot.status.get("revisions") or () if r.get("hash") == revision), 0)
    now = c.timestamp(snapshot.now)
    moved = ready > seen or "progressedAt" not in before or targets.hold
    said = {
        "strategy": snapshot.spec.rollout.strategy,
        "startedAt": before.get("startedAt", now),
        "progressedAt": before["progressedAt"] if not moved or (targets.hold and "progressedAt" in before) else now,
        "message": f"{ready} ready of revision {revision}; waiting for an accelerator" if targets.hold else "",
    }
    if targets.hold:
        said["capacityWaitStartedAt"] = before.get("capacityWaitStartedAt", now)
    return {k: v for k, v in said.items() if v}


def _scaling(snapshot: Snapshot, *, wanted: Demand) -> dict[str, Any]:
    before = snapshot.status.get("scaling") or {}
    said: dict[str, Any] = {"desired": wanted.replicas}
    if wanted.scaling is not None and snapshot.spec and snapshot.spec.scaling:
        if snapshot.spec.scaling.mode == "Advise":
            said["advised"] = wanted.scaling.advised
        # Shown with a change only: with every sample it would be a write per tick.
        said["binding"] = (wanted.scaling.binding if wanted.reasons else before.get("binding")) or ""
    if before.get("desired") not in (None, wanted.replicas):
        said["lastScaleTime"] = c.timestamp(snapshot.now)
    elif "lastScaleTime" in before:
        said["lastScaleTime"] = before["lastScaleTime"]
    return {k: v for k, v in said.items() if v != ""}


def _decisions(snapshot: Snapshot, reasons: Sequence[Reason]) -> list[dict[str, Any]]:
    new = [
        {
            "time": c.timestamp(snapshot.now),
            "kind": reason.kind,
            "from": reason.before,
            "to": reason.after,
            "reason": reason.reason,
            "message": reason.message[: c.MESSAGE_LIMIT],
        }
        for reason in reasons
    ]
    cleaned = [{k: v for k, v in one.items() if v != ""} for one in new]
    return [*(snapshot.status.get("decisions") or ()), *cleaned][-DECISIONS:]


def _events(settled: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> tuple[Reason, ...]:
    old = {one.get("type"): one for one in before}
    bad = {c.DEGRADED: "True"}
    told = []
    for one in settled:
        kind = one["type"]
        if kind not in TOLD or one["status"] != bad.get(kind, "False"):
            continue
        was = old.get(kind, {})
        if (was.get("status"), was.get("reason")) != (one["status"], one["reason"]):
            told.append(Reason(kind="Condition", reason=one["reason"], message=one["message"], warning=True))
    return tuple(told)
