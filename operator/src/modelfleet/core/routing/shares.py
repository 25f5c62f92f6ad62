"""Which weight each revision gets in the HTTPRoute of provider GatewayAPI.

A Gateway of others does not clamp, so the operator does: as `weights.effective`, in each of its passes. Must not render.
"""

from collections.abc import Collection, Mapping

from modelfleet.core.routing.model import Endpoint, Revision
from modelfleet.core.routing.weights import effective
from modelfleet.core.world import Replica, Snapshot


def serving(snapshot: Snapshot, *, revision: str, leaving: Collection[str] = ()) -> list[Replica]:
    """Select a revision's replicas that take requests, without those that are about to leave."""
    return [
        r
        for r in snapshot.replicas
        if r.revision == revision and r.ready and r.in_rotation and not r.terminating and r.name not in leaving
    ]


def shares(snapshot: Snapshot, *, revisions: Collection[str], leaving: Collection[str] = ()) -> Mapping[str, int]:
    """Give the weights by revision: those of status where it names any, else the replicas that serve.

    A revision of which none serves gets 0. When no revision at all does, none is at 0: a Gateway answers 503 for
    Services without endpoints, but 500 where every weight is 0.

    Args:
        snapshot: the LLMDeployment.
        revisions: those that have a Service; idle ones are left out while another has replicas.
        leaving: names of pods that are to leave in this pass.
    """
    given = {r.get("hash"): r.get("weight") for r in snapshot.status.get("revisions") or ()}
    sized = {w.revision for w in snapshot.workloads if w.replicas} | {r.revision for r in snapshot.replicas}
    known = [
        Revision(
            name=revision,
            weight=given.get(revision),
            endpoints=tuple(Endpoint(address=r.address) for r in serving(snapshot, revision=revision, leaving=leaving)),
        )
        for revision in sorted(sized.intersection(revisions) or revisions)
    ]
    found = effective(known)
    return found if any(found.values()) else dict.fromkeys(found, 1)
