"""Which devices a revision change keeps: those that it has had, while it gives some up for what comes next.

Remembered in status, where the ledger of devices reads it. Must not decide who gets what is free.
"""

from collections import Counter

from modelfleet.core.allowance import per_replica
from modelfleet.core.world import Snapshot


def had(snapshot: Snapshot, *, revision: str, wanted: int) -> int:
    """Count the most devices that replicas of the change towards `revision` have had at once.

    Only those of replicas on a node: what was asked for and never given is nobody's. And no more than the wanted
    replicas may use, those of the largest revision: what was there besides, for a moment, is for others too.
    """
    placed = Counter(r.revision for r in snapshot.replicas if r.scheduled and not r.failed)
    live = {revision, *placed, *(w.revision for w in snapshot.workloads if w.replicas)}
    each = {one: per_replica(snapshot, revision=one) for one in live}
    now = sum(each[one] * replicas for one, replicas in placed.items())
    before = (snapshot.status.get("rollout") or {}).get("gpus", 0)
    return int(min(max(before, now), wanted * max(each.values())))
