"""Which revision is the stable one: derived from what runs, never stored."""

from modelfleet.core.world import Snapshot


def stable(snapshot: Snapshot, *, revision: str) -> str:
    """Name the revision that serves until `revision`, the wanted one, has taken over wholly."""
    others = [w for w in snapshot.workloads if w.revision != revision and w.replicas]
    if not others:
        return revision
    return max(others, key=lambda w: (w.replicas, w.name)).revision
