"""Whole manifests of what one LLMDeployment owns, but for the pod template and an evaluation's Job.

Must not decide anything: what exists and how many replicas it has is told by the caller.
"""

from collections.abc import Mapping
from typing import Any

from modelfleet.core import names
from modelfleet.core.render.pod import ENGINE_PORT
from modelfleet.core.routing.model import MODELS_PATH, OPERATIONS
from modelfleet.core.world import Snapshot

SERVICE_PORT = 80
GATEWAY_GROUP = "gateway.networking.k8s.io"
HTTP_ROUTE_API, HTTP_ROUTE = f"{GATEWAY_GROUP}/v1", "HTTPRoute"
MOST_BACKENDS = 16
"""The Gateway API's own bound for one rule."""


def owner_reference(snapshot: Snapshot) -> dict[str, Any]:
    """Tie an owned object to its LLMDeployment: the garbage collector removes it, without finalizers."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": snapshot.name,
        "uid": snapshot.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _metadata(
    snapshot: Snapshot, *, name: str, revision: str | None, annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": snapshot.namespace,
        "labels": names.owned_labels(name=snapshot.name, revision=revision),
        "ownerReferences": [owner_reference(snapshot)],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return metadata


def controller_revision(
    snapshot: Snapshot, *, revision: str, number: int, template: Mapping[str, Any]
) -> dict[str, Any]:
    """Store a rendered template for good."""
    version = snapshot.settings.rendering_version
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": _metadata(
            snapshot,
            name=names.revision_name(name=snapshot.name, revision=revision),
            revision=revision,
            annotations={names.RENDERING: version},
        ),
        "revision": number,
        "data": {"template": dict(template)},
    }


def known_deployment(snapshot: Snapshot, *, revision: str) -> dict[str, Any]:
    """Say of a revision's Deployment only by what it is known: name, labels and owner."""
    name = names.revision_name(name=snapshot.name, revision=revision)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(snapshot, name=name, revision=revision),
    }


def deployment(snapshot: Snapshot, *, revision: str, template: Mapping[str, Any], replicas: int) -> dict[str, Any]:
    """Render a revision's Deployment. Replicas are always explicit: left out, one GPU would be claimed by default."""
    deadline = snapshot.spec.rollout.progress_deadline_seconds if snapshot.spec else 1800
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(
            snapshot,
            name=names.revision_name(name=snapshot.name, revision=revision),
            revision=revision,
        ),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": deadline,
            "selector": {"matchLabels": {names.OWNER: snapshot.name, names.REVISION: revision}},
            # A hand edit is put back within moments; until then it must not take a serving pod away.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": dict(template),
        },
    }


def stable_service(snapshot: Snapshot, *, revision: str = "") -> dict[str, Any]:
    """Render the Service of the LLMDeployment's name.

    All revisions of a rolling update serve, so it selects them all; of a rollout in stages it selects the stable one.
    """
    selector = {names.OWNER: snapshot.name, names.ROTATION: "in"} | ({names.REVISION: revision} if revision else {})
    return _service(metadata=_metadata(snapshot, name=snapshot.name, revision=None), selector=selector)


def revision_service(snapshot: Snapshot, *, revision: str) -> dict[str, Any]:
    """Render one revision's own Service."""
    name = names.revision_name(name=snapshot.name, revision=revision)
    selector = {names.OWNER: snapshot.name, names.ROTATION: "in", names.REVISION: revision}
    return _service(metadata=_metadata(snapshot, name=name, revision=revision), selector=selector)


def _service(*, metadata: dict[str, Any], selector: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": ENGINE_PORT, "protocol": "TCP"}],
        },
    }


def network_policy(snapshot: Snapshot) -> dict[str, Any]:
    """Render who reaches the pods of all revisions: the gateway, and whom else the installation admits.

    No port is named: a metrics port of the user's own container is for the same peers.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        # Not the plain name: people call their own policies so.
        "metadata": _metadata(snapshot, name=f"{snapshot.name}-engines", revision=None),
        "spec": {
            "podSelector": {"matchLabels": {names.OWNER: snapshot.name}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [dict(peer) for peer in snapshot.settings.engine_peers]}],
        },
    }


def http_route(snapshot: Snapshot, *, weights: Mapping[str, int]) -> dict[str, Any]:
    """Render the HTTPRoute of provider GatewayAPI: what clients may call, to each revision's Service by weight.

    What the API server would add is written out, so that a change by hand shows as a difference.
    """
    assert snapshot.spec is not None  # noqa: S101 - decide() answers an unreadable spec first
    wanted = snapshot.spec.routing.gateway_api
    parents = [parent.manifest() for parent in wanted.parent_refs] if wanted else []
    heaviest = sorted(weights, key=lambda revision: (-weights[revision], revision))[:MOST_BACKENDS]
    service = {"group": "", "kind": "Service", "port": SERVICE_PORT}
    backends = [
        {**service, "name": names.revision_name(name=snapshot.name, revision=each), "weight": weights[each]}
        for each in sorted(heaviest)
    ]
    paths = [{"path": {"type": "Exact", "value": path}} for path in (*OPERATIONS, MODELS_PATH)]
    return {
        "apiVersion": HTTP_ROUTE_API,
        "kind": HTTP_ROUTE,
        "metadata": _metadata(snapshot, name=snapshot.name, revision=None),
        "spec": {
            "parentRefs": [{"group": GATEWAY_GROUP, "kind": "Gateway", **parent} for parent in parents],
            "hostnames": list(wanted.hostnames) if wanted else [],
            # A stream has no end that a gateway could know beforehand.
            "rules": [{"matches": paths, "backendRefs": backends, "timeouts": {"request": "0s"}}],
        },
    }


def disruption_budget(snapshot: Snapshot) -> dict[str, Any]:
    """Render the budget over all revisions; a node drain always finishes, also with one replica."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(snapshot, name=snapshot.name, revision=None),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {names.OWNER: snapshot.name}},
        },
    }
