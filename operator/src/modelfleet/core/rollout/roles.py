"""Which revision is the stable one: derived from what runs, or where that does not show it, what status points at."""

from modelfleet.core.world import Snapshot


def stable(snapshot: Snapshot, *, revision: str) -> str:
    """Name the revision that serves until `revision`, the wanted one, has taken over wholly."""
    others = [w for w in snapshot.workloads if w.revision != revision and w.replicas]
    if not others:
        return revision
    return max(others, key=lambda w: (w.replicas, w.name)).revision


def pointed(snapshot: Snapshot) -> str:
    """Name the revision that status points at as the stable one; empty when it does not, or it is gone.

    With traffic in stages nothing else shows it: both revisions may have as many replicas.
    """
    known = {w.revision for w in snapshot.workloads}
    listed = snapshot.status.get("revisions") or ()
    return next((r["hash"] for r in listed if r.get("role") == "stable" and r.get("hash") in known), "")
