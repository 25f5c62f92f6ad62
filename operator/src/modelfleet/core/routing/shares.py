"""Which weight each revision gets in the HTTPRoute of provider GatewayAPI.

A Gateway of others does not clamp, so the operator does: as `weights.effective`, in each of its passes. Must not render.
"""

from collections.abc import Collection, Mapping

from modelfleet.core.routing.model import Endpoint, Revision
from modelfleet.core.routing.weights import effective
from modelfleet.core.world import Replica, Snapshot

ENDPOINTS_SECONDS = 2.0
"""How long a replica is ready before a weight counts on it: its Service's endpoints follow a moment later."""


def shares(snapshot: Snapshot, *, revisions: Collection[str], leaving: Collection[str] = ()) -> Mapping[str, int]:
    """Give the weights by revision: those of status where it names any, else the replicas that serve.

    A revision of which none serves gets 0. When no revision at all does, none is at 0: a Gateway answers 503 for
    Services without endpoints, but 500 where every weight is 0.

    Args:
        snapshot: the LLMDeployment.
        revisions: those that have a Service; idle ones are left out while another has replicas.
        leaving: names of pods that are to leave in this pass; they count on while nobody else serves.
    """
    sized = {w.revision for w in snapshot.workloads if w.replicas} | {r.revision for r in snapshot.replicas}
    named = sorted(sized.intersection(revisions) or revisions)
    known = _known(snapshot, revisions=named, leaving=leaving)
    if not any(revision.endpoints for revision in known):
        known = _known(snapshot, revisions=named)
    found = effective(known)
    return found if any(found.values()) else dict.fromkeys(found, 1)


def serving(snapshot: Snapshot, *, revision: str, leaving: Collection[str] = ()) -> list[Replica]:
    """Select a revision's replicas that take requests, without those that are about to leave."""
    return [
        r
        for r in snapshot.replicas
        if r.revision == revision
        and r.ready
        and r.in_rotation
        and not r.terminating
        and r.name not in leaving
        and not seconds_to_endpoints(snapshot, replica=r)
    ]


def seconds_to_endpoints(snapshot: Snapshot, *, replica: Replica) -> float:
    """Count the seconds until a replica that has just become ready is surely in its Service's endpoints.

    A moment ahead of ours is that of a node whose clock is wrong: nobody waits for it.
    """
    age = snapshot.now - replica.ready_since if replica.ready and replica.ready_since else ENDPOINTS_SECONDS
    return ENDPOINTS_SECONDS - age if 0 <= age < ENDPOINTS_SECONDS else 0.0


def _known(snapshot: Snapshot, *, revisions: Collection[str], leaving: Collection[str] = ()) -> list[Revision]:
    given = {r.get("hash"): r.get("weight") for r in snapshot.status.get("revisions") or ()}
    return [
        Revision(
            name=revision,
            weight=given.get(revision),
            endpoints=tuple(Endpoint(address=r.address) for r in serving(snapshot, revision=revision, leaving=leaving)),
        )
        for revision in revisions
    ]
