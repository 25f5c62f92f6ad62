"""What Kubernetes itself takes for a fleet, without an operator: what the operator's figures are held against.

Each time on a control plane of its own, a client creates a fleet at once: plain Deployments; everything that the operator
had made for the same fleet, so that the difference is the operator's; and that again with the objects last that follow
their pods. Nothing here is ours, so it must not import the product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from bench.processes import Spent
from e2e.cluster import audit
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.process import wait_until

DEPLOYMENTS: Final = "/apis/apps/v1/namespaces/default/deployments"
FOLLOWING: Final = frozenset(
    {"/apis/policy/v1/namespaces/default/poddisruptionbudgets", "/api/v1/namespaces/default/services"}
)
"""Of these Kubernetes keeps count of the pods that they select: it writes again when a pod comes or gets ready."""
OWNED: Final = ("/apis/apps/v1/namespaces/default/controllerrevisions", *sorted(FOLLOWING), DEPLOYMENTS)
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


def seconds_to_create(fleet: Fleet, *, following_last: bool = False) -> tuple[float, Spent]:
    """Creates a fleet on a control plane of its own.

    Args:
        fleet: what to create.
        following_last: create what follows pods when all pods are ready; it is written once then.

    Returns:
        Seconds from the first creation to the last write that came of it, by the server's clock, when every pod is ready;
        and what every process spent meanwhile.
    """
    pods = sum(item["spec"]["replicas"] for _, item in deployments(fleet))
    with faked_plane(pods=pods) as plane:
        spent, since = Spent({child.name: child.pid for child in plane.children}), audit.end(plane.audit_log)
        last = [one for one in fleet if following_last and one[0] in FOLLOWING]
        _create(plane, [one for one in fleet if one not in last] if last else fleet)
        _await_ready(plane, pods=pods)
        _create(plane, last)
        _await_quiet(plane)
        spent.stop()
        writes = list(_writes(plane, since=since))
        first = min(audit.moment(event) for event in writes if event["user"]["username"] == "admin")
        return max(map(audit.moment, writes)) - first, spent


def seconds_alone(fleet: Fleet) -> list[float]:
    """Creates Deployments one after another; gives the seconds from each to its last pod's creation, as the server counts."""
    with faked_plane(pods=2 * len(fleet)) as plane:
        since, pods = audit.end(plane.audit_log), 0
        for path, item in fleet:
            plane.http.post(path, json=item).raise_for_status()
            pods += item["spec"]["replicas"]
            _await_ready(plane, pods=pods, pause=0.2)
            _await_quiet(plane, pause=0.2)
        begun, took = 0.0, dict[float, float]()
        for event in _writes(plane, since=since):
            if event["verb"] != "create" or "subresource" in event["objectRef"]:
                continue
            if event["objectRef"]["resource"] == "deployments":
                begun = audit.moment(event)
            elif event["objectRef"]["resource"] == "pods":
                took[begun] = audit.moment(event) - begun
        return list(took.values())


def _await_ready(plane: ControlPlane, *, pods: int, pause: float = 1.0) -> None:
    def ready() -> bool:
        items = plane.http.get(DEPLOYMENTS, params={"resourceVersion": "0"}).json()["items"]
        return bool(pods == sum((item.get("status") or {}).get("readyReplicas", 0) for item in items))

    wait_until(ready, what=f"{pods} ready pods", seconds=PATIENCE, pause=pause)


def _await_quiet(plane: ControlPlane, *, pause: float = 1.0) -> None:
    seen = [-1]

    def quiet() -> bool:
        seen.append(sum(1 for _ in _writes(plane, since=0)))
        return seen[-1] == seen[-2]

    wait_until(quiet, what="the end of all writes", seconds=PATIENCE, pause=pause)


def _create(plane: ControlPlane, fleet: Fleet) -> None:
    """Posts everything, model after model as a client would, several at a time."""

    def post(one: tuple[str, dict[str, Any]]) -> None:
        path, item = one
        plane.http.post(path, json=item).raise_for_status()

    with ThreadPoolExecutor(CLIENTS) as pool:
        for _ in pool.map(post, sorted(fleet, key=lambda one: one[1]["metadata"]["name"])):
            pass


def _writes(plane: ControlPlane, *, since: int) -> Iterator[dict[str, Any]]:
    """Every write but Leases, which never end, and Events, which come when there is time."""
    for event in audit.succeeded(plane.audit_log, since=since):
        if event["verb"] in audit.WRITES and event["objectRef"].get("resource") not in {"leases", "events"}:
            yield event
