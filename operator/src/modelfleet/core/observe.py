"""From Kubernetes' JSON to the frozen records of a Snapshot.

Tolerant of what is absent, for watches show objects in every stage. Must not fetch or decide.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from modelfleet.core import names
from modelfleet.core.drift import count
from modelfleet.core.fit import Claim, Node
from modelfleet.core.scheduling import ANYWHERE, node_choice
from modelfleet.core.world import Job, LastWords, OwnedObject, Replica, StoredRevision, Workload

Json = Mapping[str, Any]
_REFUSALS = {("ReplicaFailure", "True", "FailedCreate"), ("Progressing", "False", "ReplicaSetCreateError")}
"""Type, status and reason of the conditions by which a Deployment says that its pods, or what makes them, are refused."""
_KEPT_OF_A_NAME = 58
"""Characters of a name before what Kubernetes makes up for each pod."""


def epoch(stamp: str | None) -> float:
    """Read Kubernetes' time as seconds since the epoch; 0.0 when absent.

    >>> epoch("1970-01-01T00:01:00Z")
    60.0
    """
    return datetime.fromisoformat(stamp).timestamp() if stamp else 0.0


def replica(pod: Json) -> Replica:
    """Read an engine pod."""
    meta, status = pod["metadata"], pod.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    ready = conditions.get("Ready", {}).get("status") == "True"
    scheduled = conditions.get("PodScheduled", {})
    unready_since = 0.0 if ready else epoch(conditions.get("Ready", {}).get("lastTransitionTime"))
    waiting, message, container = _trouble(status, unready_since=unready_since)
    if scheduled.get("reason") == "Unschedulable":
        waiting, message = "Unschedulable", scheduled.get("message", "")
    return Replica(
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        revision=(meta.get("labels") or {}).get(names.REVISION, ""),
        ready=ready,
        in_rotation=(meta.get("labels") or {}).get(names.ROTATION) == "in",
        terminating="deletionTimestamp" in meta,
        failed=status.get("phase") in {"Failed", "Succeeded"},
        scheduled=bool(pod.get("spec", {}).get("nodeName")),
        waiting_reason=waiting,
        message=message,
        stage=_stage(status, conditions=conditions),
        got_on_at=_got_on(status, conditions=conditions),
        restarts=int(container.get("restartCount", 0)),
        last_run=_last_run(container),
        created_at=epoch(meta.get("creationTimestamp")),
        ready_since=epoch(conditions["Ready"].get("lastTransitionTime")) if ready else None,
        address=str(status.get("podIP") or ""),
        out_since=_moment((meta.get("annotations") or {}).get(names.OUT_SINCE)),
    )


def _moment(written: str | None) -> float:
    """Read a time that anyone may have written by hand; what is none counts as long ago."""
    try:
        return epoch(written)
    except ValueError:
        return 0.0


def _trouble(status: Json, *, unready_since: float) -> tuple[str, str, Json]:
    """Read why a pod is down, and by which container; one that runs and was ready since its start only misses a probe."""
    if status.get("phase") == "Failed":
        return str(status.get("reason") or "Error"), str(status.get("message") or ""), {}
    for container in status.get("containerStatuses") or ():
        last = (container.get("lastState") or {}).get("terminated") or {}
        state = container.get("state") or {}
        if ended := state.get("terminated"):
            return str(ended.get("reason", "Error")), str(ended.get("message", "")), container
        if waiting := state.get("waiting"):
            reason = str(waiting.get("reason", ""))
            told = last.get("message") or waiting.get("message") or ""
            return ("OOMKilled" if last.get("reason") == "OOMKilled" else reason), str(told), container
        loading = unready_since <= epoch((state.get("running") or {}).get("startedAt"))
        if container.get("restartCount") and not container.get("ready") and loading:
            return str(last.get("reason", "Error")), str(last.get("message", "")), container
    return "", "", {}


def _last_run(container: Json) -> tuple[float, float]:
    """Read from when to when a container ran before its last start; one that could not be started has no length."""
    last = (container.get("lastState") or {}).get("terminated") or {}
    ended = epoch(last.get("finishedAt"))
    return epoch(last.get("startedAt")) or ended, ended


def _stage(status: Json, *, conditions: Json) -> Literal["", "Preparing", "Pulling", "Loading"]:
    """Read how far a pod is on its node. Older kubelets tell of the sandbox only when the image is there.

    Of a container that was started again its failure is told, and not in turn that it loads: each turn would be a write.
    """
    containers = status.get("containerStatuses") or ()
    if any(c.get("restartCount") for c in containers):
        return ""
    states = [c.get("state") or {} for c in containers]
    reasons = {(state.get("waiting") or {}).get("reason") for state in states}
    if reasons & {"ContainerCreating", "PodInitializing"}:
        sandbox = conditions.get("PodReadyToStartContainers", {}).get("status") == "True"
        return "Pulling" if sandbox and "PodInitializing" not in reasons else "Preparing"
    started = all(c.get("started") for c in containers)
    return "Loading" if states and not started and all("running" in state for state in states) else ""


def _got_on(status: Json, *, conditions: Json) -> float:
    """Read when a pod last came further. A container that was started again has not: it would never run out of time."""
    passed = [conditions.get(kind, {}) for kind in ("PodScheduled", "Initialized")]
    firsts = [c.get("state") or {} for c in status.get("containerStatuses") or () if not c.get("restartCount")]
    times = [one.get("lastTransitionTime") for one in passed if one.get("status") == "True"]
    times += [(state.get("running") or {}).get("startedAt") for state in firsts]
    return max(map(epoch, times), default=0.0)


def workload(deployment: Json) -> Workload:
    """Read a revision's Deployment."""
    meta, spec = deployment["metadata"], deployment["spec"]
    chosen = (spec.get("selector") or {}).get("matchLabels") or {}
    revision = _revision(meta, fixed=chosen)
    foreign = {
        entry.get("manager", "")
        for entry in meta.get("managedFields") or ()
        if entry.get("manager") != names.FIELD_MANAGER
        and entry.get("subresource") is None
        and "f:template" in (entry.get("fieldsV1") or {}).get("f:spec", {})
    }
    return Workload(
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        revision=revision,
        replicas=int(spec.get("replicas", 1)),
        template=spec["template"],
        foreign_managers=tuple(sorted(foreign)),
        settled=(deployment.get("status") or {}).get("observedGeneration") == meta.get("generation"),
        refused=_refusal(deployment),
        mislabelled=_mislabelled(meta, revision=revision),
    )


def _revision(meta: Json, *, fixed: Json) -> str:
    """Read a revision from labels that the API server lets nobody change; from an object's own only without them."""
    return str(fixed.get(names.REVISION) or (meta.get("labels") or {}).get(names.REVISION, ""))


def _mislabelled(meta: Json, *, revision: str) -> bool:
    """Whether a Deployment has not all labels that it was made with; it is found by that of its owner."""
    has = meta.get("labels") or {}
    should = names.owned_labels(name=has.get(names.OWNER, ""), revision=revision)
    return any(has.get(key) != value for key, value in should.items())


def _refusal(deployment: Json) -> str:
    """Read why no pods are made. Each try has a name of its own: only the Deployment's part of it is kept."""
    name = deployment["metadata"]["name"]
    for one in (deployment.get("status") or {}).get("conditions") or ():
        if (one.get("type"), one.get("status"), one.get("reason")) in _REFUSALS:
            made_up = re.escape(name[:_KEPT_OF_A_NAME]) + "[a-z0-9-]*"
            return re.sub(made_up, name, str(one.get("message") or "")) or str(one["reason"])
    return ""


def stored_revision(body: Json) -> StoredRevision:
    """Read a ControllerRevision."""
    meta, template = body["metadata"], (body.get("data") or {}).get("template") or {}
    revision = _revision(meta, fixed=(template.get("metadata") or {}).get("labels") or {})
    return StoredRevision(
        name=meta["name"],
        uid=meta["uid"],
        revision=revision,
        number=int(body.get("revision", 0)),
        template=template,
        rendering_version=(meta.get("annotations") or {}).get(names.RENDERING, ""),
    )


def job(body: Json) -> Job:
    """Read an evaluation's Job."""
    meta, status = body["metadata"], body.get("status") or {}
    conditions = [c for c in status.get("conditions") or () if c.get("status") == "True"]
    end: Json = next((c for c in conditions if c.get("type") in {"Complete", "Failed"}), {})
    return Job(
        name=meta["name"],
        uid=meta["uid"],
        revision=(meta.get("labels") or {}).get(names.REVISION, ""),
        created_at=epoch(meta.get("creationTimestamp")),
        ended=end.get("type", ""),
        message=": ".join(word for word in (end.get("reason"), end.get("message")) if word),
    )


def last_words(pod: Json) -> LastWords:
    """Read what a pod's containers left when they ended, a line or more for each."""
    status = pod.get("status") or {}
    containers = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    ended: list[Json] = [(c.get("state") or {}).get("terminated") or {} for c in containers]
    return LastWords(
        succeeded=status.get("phase") == "Succeeded",
        ended_at=max((epoch(one.get("finishedAt")) for one in ended), default=0.0),
        text="\n".join(one["message"] for one in ended if one.get("message")),
    )


def owned_object(body: Json) -> OwnedObject:
    """Read a Service, PodDisruptionBudget, NetworkPolicy or HTTPRoute."""
    meta = body["metadata"]
    return OwnedObject(
        kind=body["kind"], name=meta["name"], resource_version=meta["resourceVersion"], uid=meta["uid"], body=body
    )


def node(body: Json) -> Node:
    """Read a node's devices: every extended resource (a name with a slash) of its allocatable."""
    spec = body.get("spec") or {}
    allocatable = (body.get("status") or {}).get("allocatable") or {}
    return Node(
        name=body["metadata"]["name"],
        labels=body["metadata"].get("labels") or {},
        allocatable={name: count(amount) for name, amount in allocatable.items() if "/" in name},
        schedulable=not spec.get("unschedulable", False),
        taints=tuple((t["key"], t.get("value", ""), t["effect"]) for t in spec.get("taints") or ()),
    )


def claims(pod: Json) -> tuple[Claim, ...]:
    """Read the devices that any pod holds or waits for; none when it has ended."""
    if (pod.get("status") or {}).get("phase") in {"Failed", "Succeeded"}:
        return ()
    spec = pod["spec"]
    asked: dict[str, int] = {}
    for container in spec.get("containers") or ():
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            if "/" in name:
                asked[name] = asked.get(name, 0) + count(amount)
    where = spec.get("nodeName", "")
    choice = ANYWHERE if where or not asked else node_choice(spec)
    return tuple(Claim(resource=name, count=n, node=where, choice=choice) for name, n in asked.items() if n)


def template_claims(template: Json) -> tuple[Claim, ...]:
    """Read the devices that a replica of this pod template will ask for. One that no API server admits asks for none."""
    try:
        return claims({"spec": template.get("spec") or {}})
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()
