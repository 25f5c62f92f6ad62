"""Objects as the gateway's watches show them: models with their chains of owners, pods that become ready and leave.

Fed to the control process' own reading, so that a measured change begins where a real one does. Must not measure.
"""

from __future__ import annotations

import base64
from typing import Any

from bench.gateway_load import KEY
from modelfleet.core import names
from modelfleet.gateway.objects import Objects

NAMESPACE = "team-a"
REVISION = "r1"


class Watched:
    """What the watches have shown so far."""

    def __init__(self, *, models: int, idle: str) -> None:
        self.objects = Objects(access="Namespaced")
        secret = {"name": "key", "uid": "uid-key", "annotations": {names.TENANT: NAMESPACE}}
        self.objects.keys({"metadata": secret, "data": {"key": base64.b64encode(KEY.encode()).decode()}})
        self.model("chat")
        for number in range(models - 1):
            self.model(f"other-{number}")
            self.pod(f"other-{number}", number=0, address=idle, ready=True)

    def model(self, name: str) -> None:
        """Show an LLMDeployment of one revision, its Deployment and its ReplicaSet."""
        meta = {**_meta(name), "creationTimestamp": "2026-01-01T00:00:00Z"}
        status = {"revisions": [{"hash": REVISION, "name": f"{name}-{REVISION}", "weight": 100}]}
        self.objects.llmdeployment({"metadata": meta, "spec": {"model": {"uri": "hf://org/model"}}, "status": status})
        self.objects.owner({"metadata": _meta(f"{name}-deployment", model=name, owner=name)})
        self.objects.owner({"metadata": _meta(f"{name}-replicas", model=name, owner=f"{name}-deployment")})

    def pod(self, model: str, *, number: int, address: str, ready: bool) -> None:
        """Show a pod that takes requests, or one that was taken out of rotation."""
        meta = _meta(f"{model}-pod-{number}", model=model, owner=f"{model}-replicas")
        labels = {**meta["labels"], names.REVISION: REVISION, names.ROTATION: "in" if ready else "out"}
        status = {"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]}
        self.objects.pod({"metadata": {**meta, "labels": labels}, "status": status})


def _meta(name: str, *, model: str = "", owner: str = "") -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}"}
    if model:
        meta["labels"] = {names.OWNER: model}
    if owner:
        meta["ownerReferences"] = [{"uid": f"uid-{owner}", "controller": True}]
    return meta
