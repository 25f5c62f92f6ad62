"""What Kubernetes itself takes for a fleet, without an operator: what the time to converge is held against.

Twice, on a control plane of its own, a fleet is created at once by a client: plain Deployments, and then everything
that the operator had made for the same fleet. The difference of the second to the operator's own time is the
operator's. Nothing here is ours, so it must not import the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from bench.processes import Spent
from e2e.cluster import audit
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.process import wait_until

OWNED: Final = (
    "/apis/apps/v1/namespaces/default/controllerrevisions",
    "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
    "/api/v1/namespaces/default/services",
    "/apis/apps/v1/namespaces/default/deployments",
)
DEPLOYMENTS: Final = OWNED[-1]
CLIENTS: Final = 8
"""Requests at a time; more would only wait."""
PATIENCE: Final = 300.0

Fleet = Sequence[tuple[str, dict[str, Any]]]
"""Objects to create, each with the path of its collection."""


def faked_plane(*, pods: int) -> ControlPlane:
    """A control plane with faked nodes that has room for so many pods, and an audit log; not started."""
    return ControlPlane(audit=True, nodes=1 + pods // 400, gpus_per_node=400)


def owned(plane: ControlPlane) -> Fleet:
    """Reads what an operator has made: as someone would write it who creates the same by hand."""
    found = []
    for path in OWNED:
        for item in plane.http.get(path).raise_for_status().json()["items"]:
            meta = item["metadata"]
            if meta["name"] == "kubernetes":
                continue
            item.pop("status", None)
            for given in ("clusterIP", "clusterIPs"):
                item.get("spec", {}).pop(given, None)
            item["metadata"] = {key: meta[key] for key in ("name", "namespace", "labels", "annotations") if key in meta}
            found.append((path, item))
    return found


def deployments(fleet: Fleet) -> Fleet:
    """Its Deployments alone."""
    return [(path, item) for path, item in fleet if path == DEPLOYMENTS]


def seconds_to_create(fleet: Fleet) -> tuple[float, Spent]:
    """Creates a fleet on a control plane of its own.

    Returns:
        Seconds from the first creation until every Deployment's status says that its pods are ready, by the server's
        clock; and what every process spent meanwhile.
    """
    pods = sum(item["spec"]["replicas"] for _, item in deployments(fleet))
    with faked_plane(pods=pods) as plane:
        spent, since = Spent({child.name: child.pid for child in plane.children}), audit.end(plane.audit_log)
        _create(plane, fleet)

        def ready() -> bool:
            items = plane.http.get(DEPLOYMENTS, params={"resourceVersion": "0"}).json()["items"]
            return bool(pods == sum((item.get("status") or {}).get("readyReplicas", 0) for item in items))

        wait_until(ready, what=f"{pods} ready pods", seconds=PATIENCE, pause=1.0)
        spent.stop()
        return _took(plane, since=since), spent


def _create(plane: ControlPlane, fleet: Fleet) -> None:
    """Posts everything, model after model as a client would, several at a time."""

    def post(one: tuple[str, dict[str, Any]]) -> None:
        path, item = one
        plane.http.post(path, json=item).raise_for_status()

    with ThreadPoolExecutor(CLIENTS) as pool:
        for _ in pool.map(post, sorted(fleet, key=lambda one: one[1]["metadata"]["name"])):
            pass


def _took(plane: ControlPlane, *, since: int) -> float:
    first, last = float("inf"), 0.0
    for event in audit.succeeded(plane.audit_log, since=since):
        target = event["objectRef"]
        if event["verb"] == "create" and event["user"]["username"] == "admin":
            first = min(first, audit.moment(event))
        elif target.get("resource") == "deployments" and target.get("subresource") == "status":
            last = max(last, audit.moment(event))
    return last - first
