"""Objects in a real API server as the operator and the controllers would make them, and the gateway's process."""

import base64
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from e2e.cluster.api_only import ApiServer
from e2e.cluster.process import Child, free_ports, wait_until
from e2e.operator_process import ask
from modelfleet.core import names

GROUP = f"/apis/{names.API_VERSION}"


class Fleet:
    """LLMDeployments and their pods in one namespace, written by the test itself: no controller runs."""

    def __init__(self, *, api: ApiServer, namespace: str) -> None:
        self.api, self.namespace = api, namespace
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    def make(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.api.http.post(path.format(ns=self.namespace), json=body)
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def delete(self, path: str, **params: Any) -> None:
        self.api.http.delete(path.format(ns=self.namespace), params=params).raise_for_status()

    def llmdeployment(self, name: str, **spec: Any) -> dict[str, Any]:
        words = {"model": {"uri": "hf://org/model"}, "replicas": 1, **spec}
        body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}, "spec": words}
        return self.make(GROUP + "/namespaces/{ns}/llmdeployments", body)

    def merge(self, path: str, body: Mapping[str, Any]) -> None:
        merge = {"Content-Type": "application/merge-patch+json"}
        self.api.http.patch(path, content=json.dumps(body), headers=merge).raise_for_status()

    def revision(self, owner: Mapping[str, Any], revision: str) -> dict[str, Any]:
        """A revision's Deployment and its ReplicaSet; returns the ReplicaSet."""
        name = owner["metadata"]["name"]
        labels = {**names.owned_labels(name=name, revision=revision), names.ROTATION: "in"}
        pods = {"containers": [{"name": "engine", "image": "registry.local/engine"}]}
        shared = {
            "selector": {"matchLabels": {names.OWNER: name, names.REVISION: revision}},
            "template": {"metadata": {"labels": labels}, "spec": pods},
        }
        meta = {"name": f"{name}-{revision}", "labels": names.owned_labels(name=name, revision=revision)}
        deployment = self.make(
            "/apis/apps/v1/namespaces/{ns}/deployments",
            {"metadata": {**meta, "ownerReferences": [controller(owner)]}, "spec": shared},
        )
        return self.make(
            "/apis/apps/v1/namespaces/{ns}/replicasets",
            {"metadata": {**meta, "labels": labels, "ownerReferences": [controller(deployment)]}, "spec": shared},
        )

    def pod(self, owner: Mapping[str, Any] | None, name: str, address: str, **labels: str) -> dict[str, Any]:
        """A ready pod at an address of loopback; without an owner, one that merely has labels."""
        meta: dict[str, Any] = {"name": name, "labels": {**(owner["metadata"]["labels"] if owner else {}), **labels}}
        if owner is not None:
            meta["ownerReferences"] = [controller(owner)]
        spec = {"containers": [{"name": "engine", "image": "registry.local/engine"}]}
        made = self.make("/api/v1/namespaces/{ns}/pods", {"metadata": meta, "spec": spec})
        self.ready(name, address)
        return made

    def ready(self, name: str, address: str, *, ready: bool = True) -> None:
        conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:00Z"}]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}
        self.patch(f"/api/v1/namespaces/{self.namespace}/pods/{name}/status", {"status": status})

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        merge = {"Content-Type": "application/strategic-merge-patch+json"}
        self.api.http.patch(path, content=json.dumps(body), headers=merge).raise_for_status()

    def key(self, name: str, *, tenant: str, value: str, **more: Any) -> None:
        meta = {"name": name, "labels": {names.API_KEY: ""}, "annotations": {names.TENANT: tenant}, **more}
        data = {"key": base64.b64encode(value.encode()).decode()}
        self.make("/api/v1/namespaces/{ns}/secrets", {"metadata": meta, "data": data})


def controller(owner: Mapping[str, Any]) -> dict[str, Any]:
    meta = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }


class GatewayProcess:
    """`modelfleet gateway` with a kubeconfig, on loopback."""

    def __init__(self, *, kubeconfig: Path, folder: Path, namespace: str, settings: Mapping[str, str]) -> None:
        self.ads_port, self.port = free_ports(2)
        environment = {
            "KUBECONFIG": str(kubeconfig),
            "MODELFLEET_NAMESPACE": namespace,
            "MODELFLEET_WATCH_NAMESPACES": namespace,
            "MODELFLEET_ADS_PORT": str(self.ads_port),
            "MODELFLEET_ADS_ADDRESS": "127.0.0.1",
            "MODELFLEET_METRICS_PORT": str(self.port),
            "MODELFLEET_REQUEST_PORT": str(free_ports(1)[0]),
            **settings,
        }
        folder.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-m", "modelfleet", "gateway"]
        self.child = Child(name="gateway", argv=argv, log=folder / "gateway.log", env={**os.environ, **environment})

    def start(self) -> None:
        self.child.start()
        wait_until(self.ready, seconds=90, what="the gateway's readiness", watched=[self.child])

    def ready(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> httpx.Response:
        return ask(self.port, path)

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/v1/acknowledgements").json()
        return found
