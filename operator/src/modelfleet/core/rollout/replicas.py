"""From targets to writes: which pods leave, in which order, and when replicas may fall.

A replica leaves in steps: out of rotation first; then whoever routes must have dropped it (its Services at once, every
Envoy by its own word); only then out of the Deployment. All of it is derived on every pass; a pod that is no longer a
victim is put back. Must not choose targets.
"""

from collections.abc import Sequence

from modelfleet.core.plan import Action, Rotate, Scale
from modelfleet.core.world import Replica, Snapshot, Workload


def living(replicas: Sequence[Replica], *, revision: str) -> list[Replica]:
    """Select a revision's replicas that count: neither leaving nor ended."""
    return [r for r in replicas if r.revision == revision and not r.terminating and not r.failed]


def shortest_start(replicas: Sequence[Replica]) -> float | None:
    """Answer what a start took, the shortest that was seen: one that flapped later shows a longer one."""
    return min((r.ready_since - r.created_at for r in replicas if r.ready_since is not None), default=None)


def victims(replicas: Sequence[Replica], *, count: int) -> list[Replica]:
    """Choose who leaves: not ready first, then least in flight, then the youngest, then by name.

    >>> def one(name, **more):
    ...     return Replica(**{"name": name, "uid": "", "resource_version": "", "revision": "", "ready": True} | more)
    >>> busy, calm = one("busy", in_rotation=True, in_flight=9.0), one("calm", in_rotation=True, in_flight=1.0)
    >>> loading = one("loading", in_rotation=True, ready=False, in_flight=20.0)
    >>> [replica.name for replica in victims([busy, calm, loading], count=2)]
    ['loading', 'calm']
    """
    order = sorted(replicas, key=lambda r: (r.ready, r.in_rotation, r.in_flight or 0.0, -r.created_at, r.name))
    return order[: max(0, count)]


def unconfirmed(snapshot: Snapshot) -> list[Replica]:
    """Name the replicas that are out of rotation while an Envoy may still send them requests."""
    router = snapshot.router
    if router is None:
        return []
    out = [r for r in snapshot.replicas if r.ready and not r.in_rotation and not r.terminating]
    return [r for r in out if router.observed_at < r.out_since or not router.has_left(r.address)]


def resize(snapshot: Snapshot, *, workload: Workload, target: int) -> tuple[Action, ...]:
    """Move one Deployment towards `target` replicas, losing no request on the way."""
    alive = living(snapshot.replicas, revision=workload.revision)
    leaving = victims(alive, count=len(alive) - target)
    names = {r.name for r in leaving}
    back = [
        Rotate(pod=r.name, resource_version=r.resource_version, in_rotation=True)
        for r in alive
        if not r.in_rotation and r.name not in names
    ]
    out = [
        Rotate(pod=r.name, resource_version=r.resource_version, in_rotation=False, at=snapshot.now)
        for r in leaving
        if r.ready and r.in_rotation
    ]
    # An Envoy that says nothing must not hold a drain for ever: the pod's own grace covers what it still sends.
    patience = snapshot.settings.ack_timeout_seconds
    awaited = {r.name for r in unconfirmed(snapshot) if snapshot.now - r.out_since <= patience} & names
    actions: list[Action] = [*back, *out]
    if workload.replicas != target and not out and not awaited:
        scale = Scale(name=workload.name, resource_version=workload.resource_version, replicas=target)
        actions.append(scale)
    return tuple(actions)
