"""How far a rollout is: what status remembers of it, the condition Progressing, and when time alone changes that.

Beside `report`, which puts it into the status. Must not decide what the rollout does next.
"""

from collections.abc import Mapping
from typing import Any

from modelfleet.core import conditions as c
from modelfleet.core import names, placement
from modelfleet.core.allowance import lack
from modelfleet.core.observe import epoch
from modelfleet.core.rollout.replicas import living
from modelfleet.core.rollout.targets import Targets
from modelfleet.core.world import Snapshot

Json = Mapping[str, Any]
TIMED = {"", "Provisioning", "Warming"}
"""Phases in which the progress deadline runs: replicas are awaited, and come by themselves or never."""


def rollout(snapshot: Snapshot, *, revision: str, wanted: int, targets: Targets, timed: bool = True) -> dict[str, Any]:
    """Tell what cannot be observed later: when it began, when a replica last became ready, since when it waits.

    A replica that comes a stage further on its way (a node, its image) is progress too. It goes on until the new revision has all its replicas: in place the old one is gone long before that. The progress
    deadline stops while it waits for an accelerator, and starts anew when one was found; nor does it run while something
    else than replicas is awaited (`timed` is False).
    """
    before = snapshot.status.get("rollout") or {}
    ready = sum(r.ready for r in living(snapshot.replicas, revision=revision))
    going_on = _others(snapshot, revision=revision) or ("startedAt" in before and ready < wanted)
    if not snapshot.spec or not going_on:
        return {}
    seen = next((r.get("ready", 0) for r in snapshot.status.get("revisions") or () if r.get("hash") == revision), 0)
    now = c.timestamp(snapshot.now)
    resumed = "capacityWaitStartedAt" in before and not targets.hold
    moved = resumed or (ready > seen and not targets.hold)
    progressed = max(epoch(before.get("progressedAt", now)), got_on(snapshot, revision=revision))
    said = {
        "strategy": snapshot.spec.rollout.strategy,
        "startedAt": before.get("startedAt", now),
        "progressedAt": now if moved else c.timestamp(progressed),
        # What the gap is can no longer be told once the old replicas are gone.
        "message": _gap(snapshot, revision=revision, wanted=wanted) or ("" if resumed else before.get("message", "")),
    }
    if not timed:
        del said["progressedAt"]
    if targets.hold:
        said["message"] = f"{ready} ready of revision {revision}; waiting for capacity"
        said["capacityWaitStartedAt"] = before.get("capacityWaitStartedAt", now)
    return {k: v for k, v in said.items() if v}


def got_on(snapshot: Snapshot, *, revision: str) -> float:
    """Say when a replica of a revision last came further; not later than now, whatever a node's clock says."""
    times = (r.got_on_at for r in living(snapshot.replicas, revision=revision))
    return min(snapshot.now, max(times, default=0.0))


def progressing(snapshot: Snapshot, *, revision: str, wanted: int, targets: Targets, said: Json) -> dict[str, Any]:
    """Word the condition; `said` is what `rollout` answers in this pass."""
    ready = sum(r.ready for r in living(snapshot.replicas, revision=revision))
    if not _others(snapshot, revision=revision) and ready >= wanted:
        return c.condition(c.PROGRESSING, False, "UpToDate")  # noqa: FBT003 - see condition()
    if targets.hold:
        reason = "WaitingForCapacity" if said else "ReplicasStarting"
        return c.condition(c.PROGRESSING, True, reason, missing(snapshot))  # noqa: FBT003 - see condition()
    left = seconds_left(snapshot, said=said)
    if left is not None and left < 0:
        limit = snapshot.spec.rollout.progress_deadline_seconds if snapshot.spec else 0
        message = f"no new replica became ready within {limit} s; see condition Degraded and the engine's log"
        return c.condition(c.PROGRESSING, False, "ProgressDeadlineExceeded", message)  # noqa: FBT003 - see condition()
    return c.condition(c.PROGRESSING, True, "RevisionRollingOut" if said else "ReplicasStarting")  # noqa: FBT003 - see condition()


def seconds_left(snapshot: Snapshot, *, said: Json) -> float | None:
    """Count the seconds until the progress deadline; negative when it has passed, None when none runs."""
    started = epoch(said.get("progressedAt"))
    if not started or snapshot.spec is None:
        return None
    return started + snapshot.spec.rollout.progress_deadline_seconds - snapshot.now


def look_again_in(snapshot: Snapshot, *, said: Json) -> float | None:
    """Answer when a pass will find the deadline just passed, should nothing else happen till then."""
    left = seconds_left(snapshot, said=said)
    return None if left is None or left < 0 else left + 1.0


def missing(snapshot: Snapshot) -> str:
    """Say what one more replica needs, and the ways on."""
    found = placement.obstacle(snapshot)
    if found and not found.device:
        return found.message
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - decide() answers an unreadable spec before anything is reported
    need = f"{spec.devices_per_replica} {spec.accelerator.resource}"
    where = f" ({spec.accelerator.product})" if spec.accelerator.product else ""
    alone, staged = spec.replicas == 1, spec.rollout.strategy in {"Canary", "BlueGreen"}
    limited = lack(snapshot, replicas=_at_once(snapshot))
    if limited and not _replaces(snapshot):
        return f"a new replica needs {need}{where} and {limited}; raise it, or lower the replicas"
    if spec.rollout.strategy == "BlueGreen" and not alone:
        return (
            f"a preview needs {need}{where} for each of its replicas and {limited or 'so many are not free'};"
            f" {'raise it' if limited else 'free them'}, lower rollout.blueGreen.previewReplicas, or choose strategy Canary"
        )
    # A stable revision that still has traffic is never left without a replica.
    missing_one = "" if alone and staged else ", or rollout.maxUnavailable: 1"
    return (
        f"a new replica needs {need}{where} and {limited or 'none is free'}; {'raise it' if limited else 'free one'},"
        f" or set rollout.capacity: InPlace{missing_one}"
    )


def _at_once(snapshot: Snapshot) -> int:
    """Count the replicas that wait for each other: a preview starts as a whole."""
    if snapshot.spec is None or snapshot.spec.rollout.strategy != "BlueGreen" or not _replaces(snapshot):
        return 1
    wanted = int((snapshot.status.get("scaling") or {}).get("desired") or 1)
    options = snapshot.spec.rollout.blue_green
    return min(wanted, (options.preview_replicas if options else None) or wanted)


def _replaces(snapshot: Snapshot) -> bool:
    """Whether replicas of another revision than the spec's run."""
    return _others(snapshot, revision=names.revision_hash(spec=snapshot.raw_spec, annotations=snapshot.annotations))


def _gap(snapshot: Snapshot, *, revision: str, wanted: int) -> str:
    """Say how much is missing for how long when old replicas go first; empty once none is left to tell it by."""
    if snapshot.spec is None or snapshot.spec.rollout.capacity != "InPlace":
        return ""
    old = [r for r in snapshot.replicas if r.revision != revision and r.ready_since is not None and not r.terminating]
    if not old:
        return ""
    seconds = max((r.ready_since or 0.0) - r.created_at for r in old)
    missing_at_once = min(wanted, max(1, snapshot.spec.rollout.max_unavailable))
    return (
        f"in place: old replicas go before new ones are ready; up to {missing_at_once} of {wanted} missing at a time,"
        f" each for about {seconds:.0f} s, as long as the last start took"
    )


def _others(snapshot: Snapshot, *, revision: str) -> bool:
    return any(w.revision != revision and w.replicas for w in snapshot.workloads)
