"""Plays the controller of a Gateway: it answers to HTTPRoutes in their status when the test says so. No traffic flows."""

from __future__ import annotations

import json
from typing import Any

from tests.api.fleet import Fleet

GATEWAY = {"name": "edge", "namespace": "infra"}


def routing(**changes: Any) -> dict[str, Any]:
    """What an LLMDeployment says to be routed by it."""
    return {"provider": "GatewayAPI", "gatewayAPI": {"parentRefs": [GATEWAY], **changes}}


class PlayedGateway:
    """The one Gateway of a namespace's routes."""

    def __init__(self, *, fleet: Fleet) -> None:
        self._fleet = fleet

    def answer(
        self, name: str, *, seen: dict[str, Any] | None = None, accepted: str = "True", reason: str = "Accepted"
    ) -> None:
        """Take in a route as it was seen, by default as it is now, or say why not."""
        route = seen or self._fleet.get("httproutes", name)
        said = {
            "observedGeneration": route["metadata"]["generation"],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "message": "as the test says",
        }
        conditions = [
            {"type": "Accepted", "status": accepted, "reason": reason, **said},
            {"type": "ResolvedRefs", "status": "True", "reason": "ResolvedRefs", **said},
        ]
        parent = {"parentRef": GATEWAY, "controllerName": "test.example/gateway", "conditions": conditions}
        answer = self._fleet.plane.http.patch(
            f"{self._fleet.path('httproutes', name)}/status",
            headers={"Content-Type": "application/merge-patch+json"},
            content=json.dumps({"status": {"parents": [parent]}}),
        )
        assert answer.is_success, answer.text


def weights(route: dict[str, Any]) -> dict[str, int]:
    """Weight by Service."""
    (rule,) = route["spec"]["rules"]
    return {backend["name"]: backend["weight"] for backend in rule["backendRefs"]}
