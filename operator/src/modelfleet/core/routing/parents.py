"""What the Gateways have answered to our HTTPRoute: its `status.parents`, read back into one condition.

It is the acknowledgement of provider GatewayAPI: no Envoy of ours is there to ask. Must not write or decide.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelfleet.core import conditions as c
from modelfleet.core.render.objects import HTTP_ROUTE
from modelfleet.core.world import OwnedObject, Snapshot

Json = Mapping[str, Any]
ASKED = ("Accepted", "ResolvedRefs")
REASON_LIMIT = 128


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one Gateway says: True, False, or None while it has not said anything about the newest route."""

    verdict: bool | None
    reason: str = ""
    message: str = ""


def route_accepted(snapshot: Snapshot) -> dict[str, Any]:
    """Word RouteAccepted for provider GatewayAPI."""
    if snapshot.route_obstacle is not None:
        return _obstacle(snapshot)
    answers = list(_answers(route(snapshot)))
    refused = next((a for a in answers if a.verdict is False), None)
    if refused is not None:
        return c.condition(c.ROUTE, False, refused.reason, refused.message)  # noqa: FBT003 - see condition()
    silent = next((a for a in answers if a.verdict is None), None)
    if silent is not None or not answers:
        message = silent.message if silent else "the HTTPRoute is not written yet; it needs a revision that can start"
        return c.condition(c.ROUTE, None, "AwaitingGateway", message)
    return c.condition(c.ROUTE, True, "Accepted")  # noqa: FBT003 - see condition()


def acknowledged(snapshot: Snapshot) -> bool:
    """Whether every Gateway has taken in the route as it is now."""
    answers = list(_answers(route(snapshot)))
    return bool(answers) and all(a.verdict for a in answers)


def route(snapshot: Snapshot) -> OwnedObject | None:
    """Find our HTTPRoute."""
    return next((o for o in snapshot.objects if o.kind == HTTP_ROUTE), None)


def _obstacle(snapshot: Snapshot) -> dict[str, Any]:
    obstacle = snapshot.route_obstacle
    assert obstacle is not None  # noqa: S101 - route_accepted() looked
    if obstacle.reason == "GatewayAPIMissing":
        message = (
            f"HTTPRoutes cannot be read ({obstacle.message}); install the Gateway API (v1.2 or newer) and a Gateway, or"
            " set routing.provider. It is looked for every few minutes"
        )
        return c.condition(c.ROUTE, False, "GatewayAPIMissing", message)  # noqa: FBT003 - see condition()
    if obstacle.reason == "RouteNotOurs":
        message = (
            f"the HTTPRoute {snapshot.name} belongs to {obstacle.message} and is left alone; rename or delete it, or"
            " rename this LLMDeployment"
        )
        return c.condition(c.ROUTE, False, "RouteNotOurs", message)  # noqa: FBT003 - see condition()
    message = f"the API server refused the HTTPRoute: {obstacle.message}; correct routing.gatewayAPI"
    return c.condition(c.ROUTE, False, "RouteRefused", message)  # noqa: FBT003 - see condition()


def _answers(found: OwnedObject | None) -> Iterator[Answer]:
    """Answer per parentRef of the route, in its order; of several controllers that speak for one, the worst."""
    if found is None:
        return
    meta = found.body["metadata"]
    said = (found.body.get("status") or {}).get("parents") or ()
    for parent in (found.body.get("spec") or {}).get("parentRefs") or ():
        who = _identity(parent, namespace=meta["namespace"])
        words = [
            _answer(one, who=who, generation=meta.get("generation", 0))
            for one in said
            if _identity(one.get("parentRef") or {}, namespace=meta["namespace"]) == who
        ]
        nobody = Answer(verdict=None, message=f"no controller has answered for {_name(who)}; does that Gateway exist?")
        order = (False, None, True)
        yield min(words, key=lambda a: order.index(a.verdict), default=nobody)


def _answer(said: Json, *, who: tuple[str, ...], generation: int) -> Answer:
    found = {one.get("type"): one for one in said.get("conditions") or ()}
    for kind in ASKED:
        one = found.get(kind, {})
        if one.get("observedGeneration") != generation or one.get("status") not in {"True", "False"}:
            return Answer(verdict=None, message=f"{_name(who)} has not taken in the newest route yet")
        if one["status"] == "False":
            reason = str(one.get("reason") or kind)[:REASON_LIMIT]
            return Answer(verdict=False, reason=reason, message=f"{_name(who)}: {one.get('message') or kind}")
    return Answer(verdict=True)


def _identity(parent: Json, *, namespace: str) -> tuple[str, ...]:
    """Name a parent, with the defaults that the API server or a controller may have left out."""
    return (
        str(parent.get("namespace") or namespace),
        str(parent.get("name")),
        str(parent.get("sectionName") or ""),
        str(parent.get("port") or ""),
    )


def _name(who: tuple[str, ...]) -> str:
    namespace, name, section, port = who
    return f"Gateway {namespace}/{name}" + (f" ({section or f'port {port}'})" if section or port else "")
