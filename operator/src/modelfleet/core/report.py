"""The status of one pass: counts, revisions, conditions, the last decisions. Written only when it says something new.

Must not decide what happens, only tell it; nothing in it may tick, or an idle fleet would cost writes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core import conditions as c
from modelfleet.core import names, placement, progress, refusals, staging
from modelfleet.core.demand import HELD, Demand
from modelfleet.core.failures import Failure, diagnose, podless
from modelfleet.core.plan import Reason
from modelfleet.core.problems import problem
from modelfleet.core.rolling import Rollout
from modelfleet.core.rollout.replicas import unconfirmed
from modelfleet.core.rollout.targets import Targets
from modelfleet.core.routing import parents
from modelfleet.core.routing.provider import provider
from modelfleet.core.world import Replica, Snapshot

DECISIONS = 10
REVISIONS = 64
TOLD = (c.VALID, c.CAPACITY, c.METRICS, c.DEGRADED, c.ROUTE)
"""Conditions whose turn for the worse also becomes an Event; of Ready it is the longer waits."""


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
    snapshot: Snapshot, *, wanted: Demand, rollout: Rollout, drifted: bool, reasons: Sequence[Reason]
) -> tuple[dict[str, Any], tuple[Reason, ...]]:
    """Build the status, and the Events for conditions that just turned for the worse, and for waits that began."""
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - decide() answers an unreadable spec with invalid()
    alive = [r for r in snapshot.replicas if not r.terminating and not r.failed]
    ready = [r for r in alive if r.ready]
    revision, targets = rollout.revision, rollout.targets
    failure = diagnose(snapshot.replicas) or podless(snapshot.workloads, snapshot.replicas, first=revision)
    timed = rollout.phase in progress.TIMED
    said = progress.rollout(snapshot, revision=revision, wanted=wanted.replicas, targets=targets, timed=timed)
    progressing = staging.progressing(rollout) or progress.progressing(
        snapshot, revision=revision, wanted=wanted.replicas, targets=targets, said=said
    )
    found = _conditions(
        snapshot,
        revision=revision,
        wanted=wanted,
        targets=targets,
        drifted=drifted,
        degraded=staging.degraded(rollout),
        alive=alive,
        failure=failure,
        progressing=progressing,
    )
    before = snapshot.status.get("conditions") or ()
    settled = c.settle(wanted=found, before=before, now=snapshot.now, generation=snapshot.generation)
    status: dict[str, Any] = {
        "observedGeneration": snapshot.generation,
        "phase": _phase(settled, suspended=spec.suspend),
        "url": _url(snapshot, spec=spec),
        "replicas": len(alive),
        "readyReplicas": len(ready),
        "updatedReplicas": sum(r.revision == revision for r in alive),
        "selector": f"{names.OWNER}={snapshot.name}",
        "gpus": len(alive) * spec.devices_per_replica,
        "revisions": _revisions(snapshot, rollout=rollout, alive=alive),
        "rollout": staging.said(snapshot, rollout=rollout, progress=said),
        "scaling": _scaling(snapshot, wanted=wanted),
        "conditions": settled,
        "decisions": _decisions(snapshot, reasons),
    }
    return {k: v for k, v in status.items() if v not in (None, {}, [])}, _events(settled, before)


def _url(snapshot: Snapshot, *, spec: LLMDeploymentSpec) -> str:
    if provider(spec, gateway_url=snapshot.settings.gateway_url) == "Gateway" and snapshot.settings.gateway_url:
        return snapshot.settings.gateway_url
    hosts = spec.routing.gateway_api.hostnames if spec.routing.gateway_api else ()
    host = next((host for host in hosts if not host.startswith("*")), None)
    return f"http://{host or f'{snapshot.name}.{snapshot.namespace}.svc'}"


def _revisions(snapshot: Snapshot, *, rollout: Rollout, alive: Sequence[Replica]) -> list[dict[str, Any]]:
    rendered = {s.revision: s.rendering_version for s in snapshot.stored}
    # A stable revision whose Deployment somebody deleted is still the one to come back.
    known = {w.revision for w in snapshot.workloads} | ({rollout.stable} & rendered.keys())
    listed = []
    for revision in sorted(known)[:REVISIONS]:
        mine = [r for r in alive if r.revision == revision]
        entry = {
            "name": names.revision_name(name=snapshot.name, revision=revision),
            "hash": revision,
            "role": staging.role(snapshot, revision=revision, rollout=rollout),
            "weight": "" if rollout.weights is None else rollout.weights.get(revision, 0),
            "replicas": len(mine),
            "ready": sum(r.ready for r in mine),
            "renderingVersion": rendered.get(revision, ""),
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
    degraded: Failure | None,
    alive: Sequence[Replica],
    failure: Failure | None,
    progressing: dict[str, Any],
) -> list[dict[str, Any]]:
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - see report()
    ready = sum(r.ready for r in alive)
    # A refused Service or budget takes nothing from the pods, so it is no reason to start none (Valid=False would be one).
    # Before what a rollout came to: that stands in status.rollout too, and may stay for weeks.
    worst = failure or refusals.failure(snapshot.refused) or degraded
    return [
        _valid(snapshot, revision=revision),
        _ready(wanted=wanted.replicas, alive=alive, failure=failure),
        progressing,
        _capacity(snapshot, revision=revision, targets=targets),
        _metrics(snapshot, wanted=wanted),
        c.condition(
            c.DEGRADED,
            worst is not None,
            worst.reason if worst else "AsExpected",
            worst.message if worst else "",
        ),
        c.condition(c.MODEL_LOADED, True if ready else None, "Loaded" if ready else "NotYet"),
        _route(snapshot),
        c.condition(c.DRIFTED, drifted, "TemplateEdited" if drifted else "AsRendered"),
        c.condition(c.SUSPENDED, spec.suspend, "Suspended" if spec.suspend else "NotSuspended"),
    ]


def _valid(snapshot: Snapshot, *, revision: str) -> dict[str, Any]:
    if refused := snapshot.rejected.get(revision):
        message = f"Kubernetes refuses these pods, correct spec.template; what serves goes on: {refused}"
        return c.condition(c.VALID, False, "TemplateInvalid", message)  # noqa: FBT003 - see condition()
    if found := problem(snapshot):
        return c.condition(c.VALID, False, found.reason, found.message)  # noqa: FBT003 - see condition()
    return c.condition(c.VALID, True, "Valid")  # noqa: FBT003 - see condition()


def _ready(*, wanted: int, alive: Sequence[Replica], failure: Failure | None) -> dict[str, Any]:
    ready = sum(r.ready for r in alive)
    if wanted == 0:
        return c.condition(c.READY, True, "NoReplicasWanted")  # noqa: FBT003 - see condition()
    if ready >= wanted:
        return c.condition(c.READY, True, "AllReplicasReady", f"{wanted} wanted")  # noqa: FBT003 - see condition()
    if failure is not None and ready == 0:
        return c.condition(c.READY, False, failure.reason, failure.message)  # noqa: FBT003 - see condition()
    waits = placement.stages([r for r in alive if not r.ready])
    message = f"{ready} of {wanted} replicas ready" + (f": {waits}" if waits else "")
    return c.condition(c.READY, None, "ReplicasLoading", message)


def _capacity(snapshot: Snapshot, *, revision: str, targets: Targets) -> dict[str, Any]:
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - see report()
    if (
        spec.devices_per_replica
        and snapshot.largest_node is not None
        and snapshot.largest_node < spec.devices_per_replica
    ):
        message = (
            f"no node that a replica may go to has {spec.devices_per_replica} {spec.accelerator.resource}"
            f" (the most is {snapshot.largest_node}); lower accelerator.count, check accelerator.product and what"
            " spec.template selects, or add such a node"
        )
        return c.condition(c.CAPACITY, False, "NoSuchNode", message)  # noqa: FBT003 - see condition()
    if found := placement.obstacle(snapshot):
        return c.condition(
            c.CAPACITY,
            False,  # noqa: FBT003 - see condition()
            "InsufficientGPU" if found.device else "Unschedulable",
            found.message,
        )
    if targets.hold:
        message = progress.missing(snapshot, revision=revision, targets=targets)
        return c.condition(c.CAPACITY, False, "InsufficientGPU", message)  # noqa: FBT003 - see condition()
    if spec.devices_per_replica and not snapshot.nodes_readable:
        return c.condition(c.CAPACITY, None, "NodesNotReadable", "the operator may not read nodes")
    return c.condition(c.CAPACITY, True, "Fits")  # noqa: FBT003 - see condition()


def _metrics(snapshot: Snapshot, *, wanted: Demand) -> dict[str, Any]:
    if wanted.scaling is None:
        return c.condition(c.METRICS, True, "NotNeeded")  # noqa: FBT003 - see condition()
    result = wanted.scaling
    before = c.find(snapshot.status, c.METRICS)
    if snapshot.signals is None and before.get("reason", "NotNeeded") != "NotNeeded":
        # A restarted operator has no news yet: the last word stands, or every restart would cost writes.
        status = {"True": True, "False": False}.get(before["status"])
        return c.condition(c.METRICS, status, before["reason"], before.get("message", ""))
    if result.metrics_reason == "AwaitingData":
        return c.condition(c.METRICS, None, result.metrics_reason, result.metrics_message)
    return c.condition(c.METRICS, result.metrics_available, result.metrics_reason, result.metrics_message)


def _route(snapshot: Snapshot) -> dict[str, Any]:
    if snapshot.spec is not None and snapshot.spec.routing.provider == "GatewayAPI":
        return parents.route_accepted(snapshot)
    if snapshot.router is not None and snapshot.router.refused:
        return c.condition(c.ROUTE, False, "RejectedByEnvoy", snapshot.router.refused)  # noqa: FBT003 - see condition()
    late = [r for r in unconfirmed(snapshot) if snapshot.now - r.out_since > snapshot.settings.ack_timeout_seconds]
    if late and snapshot.router is not None:
        who = ", ".join(snapshot.router.lagging) or "an Envoy"
        message = f"{who} did not say that {late[0].name} is out of its routes; it ends by its own grace. See its log."
        return c.condition(c.ROUTE, None, "RouterUnverified", message)
    if not snapshot.name_conflict:
        return c.condition(c.ROUTE, True, "Accepted")  # noqa: FBT003 - see condition()
    spec = snapshot.spec
    routed = spec is not None and provider(spec, gateway_url=snapshot.settings.gateway_url) == "Gateway"
    where = f"as {snapshot.namespace}/{snapshot.name}" if routed else "at its own Service"
    message = (
        f"{snapshot.name_conflict} is older and serves this model name; choose another spec.model.servedName"
        f" (meanwhile this one is reached {where})"
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


def _scaling(snapshot: Snapshot, *, wanted: Demand) -> dict[str, Any]:
    before = snapshot.status.get("scaling") or {}
    said: dict[str, Any] = {"desired": wanted.replicas}
    if snapshot.spec and snapshot.spec.scaling is None:
        return said
    if wanted.scaling is not None and snapshot.spec and snapshot.spec.scaling:
        if snapshot.spec.scaling.mode == "Advise":
            known = snapshot.signals is not None or "advised" not in before
            said["advised"] = wanted.scaling.advised if known else before["advised"]
        # Shown with a change only: with every sample it would be a write per tick.
        # Without a sample it stays as it is said, or every restart would tell it anew.
        changed = wanted.reasons or (before.get("binding") == HELD and snapshot.signals is not None)
        said["binding"] = HELD if wanted.held else (wanted.scaling.binding if changed else before.get("binding")) or ""
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
        was = old.get(kind, {})
        # From the status alone: one Event for a kind of wait, whatever the number of replicas, and none after a restart.
        waits = kind == c.READY and one["status"] == "Unknown"
        if waits and placement.begins(one["message"], before=was.get("message", "")):
            told.append(Reason(kind="Condition", reason=one["reason"], message=one["message"]))
        if kind not in TOLD or one["status"] != bad.get(kind, "False"):
            continue
        if (was.get("status"), was.get("reason")) != (one["status"], one["reason"]):
            told.append(Reason(kind="Condition", reason=one["reason"], message=one["message"], warning=True))
    return tuple(told)
