"""One test's corner of a control plane: its namespace, its LLMDeployments, and waiting that says what it saw last."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from e2e.cluster import audit
from e2e.cluster.control_plane import ControlPlane, faked_node, takes_pods
from e2e.operator_process import OperatorProcess

GROUP = "/apis/modelfleet.dev/v1alpha1"
KINDS = {
    "deployments": "/apis/apps/v1",
    "controllerrevisions": "/apis/apps/v1",
    "services": "/api/v1",
    "pods": "/api/v1",
    "events": "/api/v1",
    "jobs": "/apis/batch/v1",
    "cronjobs": "/apis/batch/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "httproutes": "/apis/gateway.networking.k8s.io/v1",
    "llmdeployments": GROUP,
}
PATIENCE = 120.0
"""For what takes seconds: two cores may have other work."""


class Fleet:
    """The LLMDeployments of one namespace."""

    def __init__(self, *, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace = plane, namespace
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        self.until(lambda: plane.http.get(account).is_success, what="the default service account")

    def until(self, condition: Any, *, what: str, seconds: float = PATIENCE) -> Any:
        """Waits for a true value and returns it; otherwise fails with the state of the namespace."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, f"{what} did not happen in {seconds:.0f} s; seen last:\n{self.picture()}"
            time.sleep(0.1)
        return value

    def picture(self) -> str:
        said = [{"name": one["metadata"]["name"], "status": one.get("status")} for one in self.list("llmdeployments")]
        return yaml.safe_dump(said) + self.plane.kubectl("get", "deploy,pods,events", "-n", self.namespace)

    def path(self, kind: str, name: str = "") -> str:
        return f"{KINDS[kind]}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def list(self, kind: str) -> list[dict[str, Any]]:
        answer = self.plane.http.get(self.path(kind))
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    def get(self, kind: str, name: str) -> dict[str, Any]:
        answer = self.plane.http.get(self.path(kind, name))
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def patch(self, kind: str, name: str, body: Any, *, manager: str = "test") -> dict[str, Any]:
        answer = self.plane.http.patch(
            self.path(kind, name),
            params={"fieldManager": manager},
            headers={"Content-Type": "application/merge-patch+json"},
            content=json.dumps(body),
        )
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def delete(self, kind: str, name: str) -> None:
        self.plane.http.delete(self.path(kind, name)).raise_for_status()

    def clear(self) -> None:
        """Deletes every LLMDeployment that is left."""
        for one in self.list("llmdeployments"):
            answer = self.plane.http.delete(self.path("llmdeployments", one["metadata"]["name"]))
            assert answer.is_success or answer.status_code == 404, answer.text

    def apply(self, name: str = "chat", **spec: Any) -> dict[str, Any]:
        """Applies an LLMDeployment; two replicas unless told otherwise, or to follow metrics."""
        model = {"uri": "hf://org/model", "servedName": f"{self.namespace}-{name}"}
        words = {"model": model, **({} if "scaling" in spec else {"replicas": 2}), **spec}
        metadata = {"name": name, "namespace": self.namespace}
        return self.plane.apply(
            {"apiVersion": "modelfleet.dev/v1alpha1", "kind": "LLMDeployment", "metadata": metadata, "spec": words}
        )

    def change(self, name: str = "chat", *, length: int = 512) -> None:
        """Asks for another revision."""
        self.patch("llmdeployments", name, {"spec": {"engine": {"args": [f"--max-model-len={length}"]}}})

    def status(self, name: str = "chat") -> dict[str, Any]:
        found: dict[str, Any] = self.get("llmdeployments", name).get("status") or {}
        return found

    def condition(self, kind: str, name: str = "chat") -> tuple[str, str]:
        """(status, reason) of a condition; both empty while it is not there."""
        one = self.whole_condition(kind, name)
        return one.get("status", ""), one.get("reason", "")

    def whole_condition(self, kind: str, name: str = "chat") -> dict[str, Any]:
        conditions = self.status(name).get("conditions") or ()
        return next((one for one in conditions if one["type"] == kind), {})

    def owned(self, kind: str, name: str = "chat") -> list[dict[str, Any]]:
        """The objects of one LLMDeployment."""
        label = "modelfleet.dev/llmdeployment"
        return [one for one in self.list(kind) if (one["metadata"].get("labels") or {}).get(label) == name]

    def pods(self, name: str = "chat") -> list[dict[str, Any]]:
        """Pods that are not on their way out."""
        return [p for p in self.owned("pods", name) if "deletionTimestamp" not in p["metadata"]]

    def settled(self, name: str = "chat", *, replicas: int = 2) -> bool:
        """Whether the newest generation is rolled out: one revision, all of it ready, nothing else."""
        body = self.get("llmdeployments", name)
        status = body.get("status") or {}
        conditions = {c["type"]: (c["status"], c["reason"]) for c in status.get("conditions") or ()}
        return (
            status.get("observedGeneration") == body["metadata"]["generation"]
            and conditions.get("Progressing") == ("False", "UpToDate")
            and status.get("readyReplicas", 0) == status.get("updatedReplicas", 0) == replicas
            and len(self.pods(name)) == replicas
        )

    def await_settled(self, name: str = "chat", *, replicas: int = 2, seconds: float = PATIENCE) -> None:
        self.until(
            lambda: self.settled(name, replicas=replicas), what=f"{name} with {replicas} replicas", seconds=seconds
        )

    def add_gpus(self, count: int) -> dict[str, Any]:
        """Adds a node whose GPUs only this namespace asks for; returns what a spec says to get one of them."""
        product = f"GPU-{self.namespace}"
        self.plane.add_node(faked_node(name=self.namespace, gpus=count, product=product))
        path = f"/api/v1/nodes/{self.namespace}"
        self.until(lambda: takes_pods(self.plane.http.get(path).json()), what="the node's readiness")
        return {"count": 1, "product": product}

    def mark(self) -> tuple[str, dict[str, dict[str, Any]]]:
        """Where the history of the pods is now."""
        answer = self.plane.http.get(self.path("pods")).json()
        return answer["metadata"]["resourceVersion"], {p["metadata"]["name"]: p for p in answer["items"]}

    def history(self, mark: tuple[str, dict[str, dict[str, Any]]]) -> list[list[dict[str, Any]]]:
        """Every state that the pods went through from the mark to now, as a watch from there replays it."""
        version, now = mark
        states, wanted = [list(now.values())], _versions(self.mark()[1])
        told, end = False, time.monotonic() + PATIENCE
        while not told:  # a busy API server may need more than one watch of a second
            assert time.monotonic() < end, f"a watch from {mark[0]} on told of {_versions(now)}, not of {wanted}"
            told = _versions(now) == wanted
            params = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "1"}
            with self.plane.http.stream("GET", self.path("pods"), params=params) as answer:
                for line in answer.iter_lines():
                    event = json.loads(line)
                    assert event["type"] in {"ADDED", "MODIFIED", "DELETED"}, event
                    version, name = (event["object"]["metadata"][word] for word in ("resourceVersion", "name"))
                    now = {k: v for k, v in now.items() if k != name}
                    if event["type"] != "DELETED":
                        now[name] = event["object"]
                    states.append(list(now.values()))
                    told |= _versions(now) == wanted
        return states


def _versions(pods: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: pod["metadata"]["resourceVersion"] for name, pod in pods.items()}


def ready(pod: dict[str, Any]) -> bool:
    """Whether it is in its Services' endpoints."""
    conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions") or ()}
    inside = pod["metadata"]["labels"].get("modelfleet.dev/rotation") == "in"
    return conditions.get("Ready") == "True" and inside and "deletionTimestamp" not in pod["metadata"]


def pending(pod: dict[str, Any]) -> bool:
    """Whether the scheduler found no node for it."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(c.get("reason") == "Unschedulable" for c in conditions)


class Operator(OperatorProcess):
    """An operator with a user of its own, so that its writes can be counted; a `with` block ends it.

    A pass that fails is tried again, and most tests would never see it: so at the end of the block nothing may have been
    logged as an error but the events that are named in `errors`.
    """

    def __init__(
        self,
        *,
        plane: ControlPlane,
        folder: Path,
        user: str,
        kubeconfig: Path | None = None,
        errors: Collection[str] = (),
        **settings: str,
    ) -> None:
        kubeconfig = kubeconfig or plane.user_kubeconfig(user, cluster_role="cluster-admin")
        words = {f"MODELFLEET_{name.upper()}": value for name, value in settings.items()}
        super().__init__(kubeconfig=kubeconfig, folder=folder, settings=words)
        self._audit, self.user, self._errors = plane.audit_log, user, frozenset(errors)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                told = [event for event in self.events() if event["level"] in {"error", "critical"}]
                unexpected = [event for event in told if event["event"] not in self._errors]
                assert not unexpected, unexpected
        finally:
            super().__exit__(kind, error, trace)

    def writes(self, *, since: int = 0, leases: bool = False) -> int:
        return audit.writes(audit.calls(self._audit, since=since), user=self.user, leases=leases)

    def value(self, metric: str) -> float:
        """One of its metrics without labels."""
        found = re.search(rf"^{metric} (\S+)$", self.metrics(), flags=re.MULTILINE)
        return float(found[1]) if found else 0.0

    @property
    def passes(self) -> int:
        return int(self.value("modelfleet_reconcile_seconds_count"))

    @property
    def leads(self) -> bool:
        return self.value("modelfleet_leader") == 1.0
