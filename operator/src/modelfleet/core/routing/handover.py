"""A revision leaves an HTTPRoute before its last replica leaves rotation.

The label takes one replica of several out of its Service's EndpointSlice, and that suffices. But without its last one a
revision that still has a weight answers 503: so the weight goes first, every Gateway says that it knows (or keeps silent
for too long), and then the replica goes. All of it is derived from the route on every pass. Must not render the route.
"""

from collections.abc import Collection, Iterable

from modelfleet.core import conditions as c
from modelfleet.core import names
from modelfleet.core.observe import epoch
from modelfleet.core.plan import Action, Rotate
from modelfleet.core.routing import parents
from modelfleet.core.routing.shares import seconds_to_endpoints, serving
from modelfleet.core.world import Snapshot

OBSTACLE_SECONDS = 10.0
"""Between two looks at an obstacle that no watch shows: another's route, a refusal."""


def leaving(actions: Iterable[Action]) -> frozenset[str]:
    """Name the pods that these writes take out of rotation."""
    return frozenset(a.pod for a in actions if isinstance(a, Rotate) and not a.in_rotation)


def without(actions: Iterable[Action], *, pods: Collection[str]) -> tuple[Action, ...]:
    """Drop the writes that take these pods out of rotation; the next pass plans them again."""
    return tuple(a for a in actions if not (isinstance(a, Rotate) and a.pod in pods))


def held(snapshot: Snapshot, *, pods: Collection[str]) -> frozenset[str]:
    """Name those of the pods, about to leave, that must wait until the Gateways know their revision's weight of 0."""
    others = any(r.ready and r.in_rotation and not r.terminating and r.name not in pods for r in snapshot.replicas)
    if parents.route(snapshot) is None or not others or patience(snapshot) <= 0:
        return frozenset()
    touched = {r.revision for r in snapshot.replicas if r.name in pods}
    emptied = {revision for revision in touched if not serving(snapshot, revision=revision, leaving=pods)}
    if parents.acknowledged(snapshot):
        emptied = {revision for revision in emptied if _routed(snapshot, revision=revision)}
    return frozenset(r.name for revision in emptied for r in serving(snapshot, revision=revision) if r.name in pods)


def look_again_in(snapshot: Snapshot) -> float | None:
    """Answer when time alone changes something: a replica counts, a Gateway was silent too long, an obstacle is gone."""
    if snapshot.route_obstacle is not None and snapshot.route_obstacle.reason != "GatewayAPIMissing":
        return OBSTACLE_SECONDS
    if parents.route(snapshot) is None:
        return None
    times = [seconds_to_endpoints(snapshot, replica=r) for r in snapshot.replicas]
    times += [0.0 if parents.acknowledged(snapshot) else patience(snapshot)]
    return min((time for time in times if time > 0), default=None)


def patience(snapshot: Snapshot) -> float:
    """Count the seconds for which a Gateway that says nothing may still hold a replica."""
    said = c.find(snapshot.status, c.ROUTE)
    silent = snapshot.now - epoch(said.get("lastTransitionTime")) if said.get("status") in {"False", "Unknown"} else 0.0
    return snapshot.settings.ack_timeout_seconds - silent


def _routed(snapshot: Snapshot, *, revision: str) -> bool:
    """Whether the live route still gives the revision a share."""
    found = parents.route(snapshot)
    rules = ((found.body.get("spec") or {}).get("rules") or ()) if found else ()
    name = names.revision_name(name=snapshot.name, revision=revision)
    return any(b.get("name") == name and b.get("weight", 1) for rule in rules for b in rule.get("backendRefs") or ())
