"""Which revision is the stable one: derived from what runs, or where that does not show it, what status points at."""

from modelfleet.core.rollout.replicas import living
from modelfleet.core.world import Snapshot


def stable(snapshot: Snapshot, *, revision: str) -> str:
    """Name the revision that serves until `revision`, the wanted one, has taken over wholly.

    In place nothing runs for a while: what served before is the stable one until the new one serves, or nobody could
    abort then.
    """
    others = [w for w in snapshot.workloads if w.revision != revision and w.replicas]
    before = pointed(snapshot)
    if others:
        return max(others, key=lambda w: (w.revision == before, w.replicas, w.name)).revision
    wanted = snapshot.spec is not None and snapshot.spec.replicas != 0
    served = any(r.ready for r in living(snapshot.replicas, revision=revision))
    return before or revision if wanted and not served else revision


def pointed(snapshot: Snapshot) -> str:
    """Name the revision that status points at as the stable one; empty when it does not, or it is gone.

    With traffic in stages nothing else shows it: both revisions may have as many replicas.
    """
    known = {w.revision for w in snapshot.workloads} | {s.revision for s in snapshot.stored}
    listed = snapshot.status.get("revisions") or ()
    return next((r["hash"] for r in listed if r.get("role") == "stable" and r.get("hash") in known), "")


def strongest(snapshot: Snapshot, *, revision: str) -> str:
    """Name the revision with most warm replicas, `revision` last of equals: what serves, should status be lost."""
    found = [w.revision for w in snapshot.workloads if w.replicas]
    ready = {one: sum(r.ready for r in living(snapshot.replicas, revision=one)) for one in found}
    return max(found, key=lambda one: (ready[one], one != revision, one), default=revision)
