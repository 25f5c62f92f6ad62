"""How far a rollout is: what status remembers of it, the condition Progressing, and when time alone changes that.

Beside `report`, which puts it into the status. Must not decide what the rollout does next.
"""

from collections.abc import Mapping
from typing import Any

from modelfleet.core import conditions as c
from modelfleet.core import placement
from modelfleet.core.allowance import allowance, lack, per_replica
from modelfleet.core.keeping import had
from modelfleet.core.observe import epoch
from modelfleet.core.rollout.replicas import living
from modelfleet.core.rollout.targets import Targets
from modelfleet.core.world import Snapshot

Json = Mapping[str, Any]
TIMED = {"", "Provisioning", "Warming"}
"""Phases in which the progress deadline runs: replicas are awaited, and come by themselves or never."""
STAGES = 3
"""A replica's stages before it loads: a node, its init containers, its container. Each begins the deadline anew."""


def rollout(snapshot: Snapshot, *, revision: str, wanted: int, targets: Targets, timed: bool = True) -> dict[str, Any]:
    """Tell what cannot be observed later: when it began, when a replica last became ready, since when it waits.

    It goes on until the new revision has all its replicas: in place the old one is gone long before that. The progress
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
    said = {
        "strategy": snapshot.spec.rollout.strategy,
        "startedAt": before.get("startedAt", now),
        "gpus": had(snapshot, revision=revision, wanted=wanted),
        "progressedAt": now if moved else before.get("progressedAt", now),
        # What the gap is can no longer be told once the old replicas are gone.
        "message": _gap(snapshot, revision=revision, wanted=wanted) or ("" if resumed else before.get("message", "")),
    }
    if not timed:
        del said["progressedAt"]
    if targets.hold:
        said["message"] = f"{ready} ready of revision {revision}; waiting for capacity"
        said["capacityWaitStartedAt"] = before.get("capacityWaitStartedAt", now)
    return {k: v for k, v in said.items() if v}


def progressing(snapshot: Snapshot, *, revision: str, wanted: int, targets: Targets, said: Json) -> dict[str, Any]:
    """Word the condition; `said` is what `rollout` answers in this pass."""
    ready = sum(r.ready for r in living(snapshot.replicas, revision=revision))
    if not _others(snapshot, revision=revision) and ready >= wanted:
        return c.condition(c.PROGRESSING, False, "UpToDate")  # noqa: FBT003 - see condition()
    if targets.hold:
        reason = "WaitingForCapacity" if said else "ReplicasStarting"
        message = missing(snapshot, revision=revision, targets=targets)
        return c.condition(c.PROGRESSING, True, reason, message)  # noqa: FBT003 - see condition()
    left = seconds_left(snapshot, revision=revision, said=said)
    if left is not None and left < 0:
        limit = snapshot.spec.rollout.progress_deadline_seconds if snapshot.spec else 0
        message = f"no new replica became ready within {limit} s; see condition Degraded and the engine's log"
        return c.condition(c.PROGRESSING, False, "ProgressDeadlineExceeded", message)  # noqa: FBT003 - see condition()
    return c.condition(c.PROGRESSING, True, "RevisionRollingOut" if said else "ReplicasStarting")  # noqa: FBT003 - see condition()


def seconds_left(snapshot: Snapshot, *, revision: str, said: Json) -> float | None:
    """Count the seconds until the progress deadline; negative when it has passed, None when none runs.

    A replica that comes a stage further begins it anew, but not for ever: replicas that are evicted and replaced again
    and again (or a node's clock that is ahead) get no longer than one that takes its whole time for every stage.
    """
    started = epoch(said.get("progressedAt"))
    if not started or snapshot.spec is None:
        return None
    limit = snapshot.spec.rollout.progress_deadline_seconds
    got_on = max((r.got_on_at for r in living(snapshot.replicas, revision=revision)), default=0.0)
    return min(max(started, got_on), started + STAGES * limit) + limit - snapshot.now


def look_again_in(snapshot: Snapshot, *, revision: str, said: Json) -> float | None:
    """Answer when a pass will find the deadline just passed, should nothing else happen till then."""
    left = seconds_left(snapshot, revision=revision, said=said)
    return None if left is None or left < 0 else left + 1.0


def missing(snapshot: Snapshot, *, revision: str, targets: Targets) -> str:
    """Say what one more replica needs, and the ways on; of `revision`, or of the one that is short instead."""
    found = placement.obstacle(snapshot)
    if found and not found.device:
        return found.message
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - decide() answers an unreadable spec before anything is reported
    if not targets.short and (blocked := without_surge(snapshot, revision=revision)):
        return blocked
    short = targets.short or revision
    need = f"{per_replica(snapshot, revision=short)} {spec.accelerator.resource}"
    where = f" ({spec.accelerator.product})" if spec.accelerator.product else ""
    whole = spec.rollout.strategy == "BlueGreen" and _desired(snapshot) > 1 and not targets.short
    limited = lack(snapshot, replicas=_at_once(snapshot, revision=short) if whole else 1, revision=short)
    if limited and (targets.short or not _others(snapshot, revision=revision)):
        return f"a new replica needs {need}{where} and {limited}; raise it, or lower the replicas"
    if whole:
        return (
            f"a preview needs {need}{where} for each of its replicas and {limited or 'so many are not free'};"
            f" {'raise it' if limited else 'free them'}, lower rollout.blueGreen.previewReplicas, or choose strategy Canary"
        )
    ways = _ways(snapshot, revision=short, limited=bool(limited))
    return f"a new replica needs {need}{where} and {limited or 'none is free'}; {ways}"


def _ways(snapshot: Snapshot, *, revision: str, limited: bool) -> str:
    """Name what leads on: what lets an old replica go first, too, where it is not set already and frees enough."""
    spec = snapshot.spec
    assert spec is not None  # noqa: S101 - see missing()
    rollout = spec.rollout
    # A stable revision that still has traffic is never left without a replica.
    alone = _desired(snapshot) == 1 and rollout.strategy in {"Canary", "BlueGreen"}
    may_miss = bool(rollout.max_unavailable) and not alone
    loses_one = rollout.capacity == "InPlace" or (rollout.capacity == "Auto" and may_miss)
    gone = [per_replica(snapshot, revision=w.revision) for w in snapshot.workloads if w.revision != revision]
    freed = max(1, rollout.max_unavailable) * max(gone, default=0)
    enough = allowance(snapshot, revision=revision).left + freed >= per_replica(snapshot, revision=revision)
    if loses_one or (limited and not enough):
        return "raise it, or lower the replicas" if limited else "free one"
    if rollout.capacity == "Surge":  # it never gives a replica up first, whatever may be missing
        either = " or Auto" if may_miss else ""
    else:
        either = "" if alone else ", or rollout.maxUnavailable: 1"
    return f"{'raise it' if limited else 'free one'}, or set rollout.capacity: InPlace{either}"


def without_surge(snapshot: Snapshot, *, revision: str) -> str:
    """Say that nothing lets the canary of a single replica begin; empty where that is not so."""
    rollout = snapshot.spec.rollout if snapshot.spec else None
    if rollout is None or rollout.strategy != "Canary" or rollout.capacity == "InPlace" or rollout.max_surge:
        return ""
    begun = any(w.revision == revision and w.replicas for w in snapshot.workloads)
    if begun or _desired(snapshot) != 1 or not _others(snapshot, revision=revision):
        return ""
    return (
        "rollout.maxSurge is 0, and the only replica keeps its traffic until a canary is ready;"
        " set rollout.maxSurge: 1, or rollout.capacity: InPlace"
    )


def _desired(snapshot: Snapshot) -> int:
    """Count the replicas that are wanted, as far as status knows where scaling decides."""
    spec = snapshot.spec
    fixed = spec.replicas if spec else None
    return int((snapshot.status.get("scaling") or {}).get("desired") or 1) if fixed is None else fixed


def _at_once(snapshot: Snapshot, *, revision: str) -> int:
    """Count the replicas that wait for each other: a preview starts as a whole."""
    if snapshot.spec is None or not _others(snapshot, revision=revision):
        return 1
    wanted, options = _desired(snapshot), snapshot.spec.rollout.blue_green
    return min(wanted, (options.preview_replicas if options else None) or wanted)


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
