"""Whether everyone who routes has taken in the weights that status asks for.

Reads what the gateway's control replicas report of their Envoys, or what another gateway's controller wrote on the
HTTPRoute. Silence is no consent.
"""

from collections.abc import Mapping
from typing import Any

from modelfleet.core.names import revision_name
from modelfleet.core.routing import parents
from modelfleet.core.routing.provider import provider
from modelfleet.core.world import Snapshot


def in_force(snapshot: Snapshot) -> Mapping[str, int] | None:
    """Give the weights that status asks for, by revision; None where traffic follows the ready replicas."""
    return weights_of(snapshot.status)


def weights_of(status: Mapping[str, Any]) -> Mapping[str, int] | None:
    """Read the weights off a status.

    >>> weights_of({"revisions": [{"hash": "a", "weight": 80}, {"hash": "b", "weight": 20}, {"hash": "c"}]})
    {'a': 80, 'b': 20, 'c': 0}
    >>> weights_of({"revisions": [{"hash": "a"}]}) is None
    True
    """
    listed = {r["hash"]: r.get("weight") for r in status.get("revisions") or () if r.get("hash")}
    if all(weight is None for weight in listed.values()):
        return None
    return {revision: weight or 0 for revision, weight in listed.items()}


def confirmed(snapshot: Snapshot) -> bool:
    """Whether every Ready Envoy, and at least one, routes by these weights; true where there are none yet."""
    wanted = in_force(snapshot)
    if wanted is None or snapshot.spec is None:
        return True
    if provider(snapshot.spec, gateway_url=snapshot.settings.gateway_url) == "GatewayAPI":
        return parents.acknowledged(snapshot) and _written(snapshot, wanted=wanted)
    known = snapshot.router.weights if snapshot.router else None
    return known is not None and all(known.get(revision, 0) == weight for revision, weight in wanted.items())


def _written(snapshot: Snapshot, *, wanted: Mapping[str, int]) -> bool:
    """Whether the live HTTPRoute has these weights, but for revisions without a ready replica: their share is 0 there.

    One that is ready and not surely an endpoint yet is waited for: the route gives it its share in a moment.
    """
    found = parents.route(snapshot)
    rules = ((found.body.get("spec") or {}).get("rules") or ()) if found else ()
    live = {ref.get("name"): ref.get("weight", 1) for rule in rules for ref in rule.get("backendRefs") or ()}
    return all(
        live.get(revision_name(name=snapshot.name, revision=revision), 0) == weight
        for revision, weight in wanted.items()
        if any(r.revision == revision and r.ready and r.in_rotation and not r.terminating for r in snapshot.replicas)
    )


def unheard(snapshot: Snapshot, *, since: float) -> str:
    """Say who has not taken in the weights that were set `since`, once that has lasted too long; empty before."""
    limit = snapshot.settings.ack_timeout_seconds
    if confirmed(snapshot) or snapshot.now - since <= limit:
        return ""
    if snapshot.spec and provider(snapshot.spec, gateway_url=snapshot.settings.gateway_url) == "GatewayAPI":
        said = parents.route_accepted(snapshot).get("message") or "the HTTPRoute does not have them yet"
        return f"nobody has confirmed the weights for {limit:g} s: {said}"
    if snapshot.router is None:
        return f"the gateway did not answer for {limit:g} s; see its log and its NetworkPolicies"
    who = ", ".join(snapshot.router.lagging) or "no Envoy is ready, or its control plane sees older weights"
    return f"not every Envoy has the weights after {limit:g} s: {who}"
