"""Rollouts in stages on a control plane with faked nodes: what is asked for, and waiting as long as they get on.

The gateway and Prometheus are scripted; everything else is real. Must not assert what a test is about.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2e.cluster.control_plane import ControlPlane, faked_node, takes_pods
from e2e.rollouts import weights
from modelfleet.cli.rollout_view import serving
from tests.api.fleet import Fleet, Operator, ready
from tests.api.scripted_gateway import ScriptedGateway
from tests.api.scripted_traffic import ScriptedTraffic

STANDSTILL_SECONDS = 150.0
"""A step takes two blocks of 5 s, a comparison that fails more than a minute, and both longer on a busy machine."""
GATEWAY = "http://gateway.example"
METRICS = ("ttft", "interToken", "errors", "badOutputs")
ROLLOUT: dict[str, Any] = {
    "strategy": "Canary",
    "canary": {"steps": [{"weight": 20}, {"weight": 50}]},
    "analysis": {
        "intervalSeconds": 5,
        "minSamples": 10,
        "minSeconds": 5,
        "warmupSeconds": 0,
        "metrics": [{"name": name, "maxDropFromStable": 0.05} for name in METRICS],
    },
    "scaleDownDelaySeconds": 2,
    "abortScaleDownDelaySeconds": 1,
}
"""Windows of seconds, without a warm-up: scripted counters have no noise and no cold cache, so more would say no more."""
NO_DEVICE = {"resource": "none"}


class Rollouts(Fleet):
    """A namespace whose LLMDeployments have a gateway and traffic.

    Attributes:
        gateway: Its one Envoy.
        traffic: What it sends, and the Prometheus that tells of it.
    """

    def __init__(self, *, plane: ControlPlane, namespace: str, rate: float = 300.0) -> None:
        super().__init__(plane=plane, namespace=namespace)
        self.gateway = ScriptedGateway(fleet=self)
        self.gateway.add_pods()
        self.traffic = ScriptedTraffic(fleet=self, applied=self.gateway.applied, rate=rate)

    def close(self) -> None:
        """Stops the gateway and the traffic."""
        self.traffic.stop()
        self.gateway.stop()

    def settings(self, **changes: str) -> dict[str, str]:
        """What an operator needs to look after this namespace."""
        return {
            "namespace": self.namespace,
            "watch_namespaces": self.namespace,
            "gateway_url": GATEWAY,
            "gateway_ack_timeout_seconds": "4",
            "prometheus_url": self.traffic.url,
            "tick_seconds": "1",
            "debounce_seconds": "0.05",
            **changes,
        }

    def operator(self, *, folder: Path, user: str = "operator", **changes: str) -> Operator:
        """An operator for this namespace, not started yet."""
        return Operator(
            plane=self.plane, folder=folder, user=f"{user}-{self.namespace}", **self.settings(**changes)
        )  # fmt: skip

    def serve(self, name: str, *, replicas: int = 2, accelerator: Any = None, **rollout: Any) -> str:
        """Lets a first revision serve; gives its hash."""
        words = {word: value for word, value in {**ROLLOUT, **rollout}.items() if value is not None}
        self.apply(name, replicas=replicas, accelerator=accelerator or NO_DEVICE, rollout=words)
        self.await_settled(name, replicas=replicas, seconds=STANDSTILL_SECONDS)
        return self.serving(name)

    def begin(self, name: str, **more: Any) -> tuple[str, str]:
        """Lets a first revision serve, then another get its first traffic; gives both hashes."""
        old = self.serve(name, **more)
        self.change(name)
        self.reach(name, lambda: self.weights(name).keys() - {old}, what="traffic for the new revision")
        return old, next(iter(self.weights(name).keys() - {old}))

    def reach(self, name: str, condition: Callable[[], Any], *, what: str) -> Any:
        """Waits for a true value as long as the rollout gets on; otherwise fails with the state of the namespace."""
        return self.reach_together([name], condition, what=f"{what} of {name}")

    def reach_together(self, names: Sequence[str], condition: Callable[[], Any], *, what: str) -> Any:
        """Waits for a true value as long as any of these rollouts gets on."""
        seen: Any = None
        end = 0.0
        while not (value := condition()):
            if (places := [self.place(name) for name in names]) != seen:
                seen, end = places, time.monotonic() + STANDSTILL_SECONDS
            assert time.monotonic() < end, f"{what} did not come, nothing moves:\n{self.picture()}"
            time.sleep(0.1)
        return value

    def reach_promotion(self, name: str, revision: str) -> None:
        """Waits until a revision is the stable one, and nothing else is left."""
        self.reach(name, lambda: self.serving(name) == revision, what=f"the promotion of {revision}")
        self.reach(name, lambda: self.revisions_of_pods(name) == {revision}, what=f"pods of {revision} only")

    def place(self, name: str) -> Any:
        """Where a rollout stands; the same while nothing but samples comes in."""
        status = self.status(name)
        rollout = status.get("rollout") or {}
        told = (status.get("decisions") or [{}])[-1].get("time")
        return told, *(rollout.get(word) for word in ("revision", "step", "weight", "phase", "hold", "stepStartedAt"))

    def rollout(self, name: str) -> dict[str, Any]:
        """What status says of it."""
        found: dict[str, Any] = self.status(name).get("rollout") or {}
        return found

    def hold(self, name: str) -> str:
        """What holds it up."""
        return str(self.rollout(name).get("hold", ""))

    def weights(self, name: str) -> dict[str, int]:
        """Percent by revision, of those that get any."""
        return weights(self.status(name))

    def serving(self, name: str) -> str:
        """The stable revision."""
        return serving(self.status(name))

    def reasons(self, name: str) -> list[str]:
        """The latest decisions."""
        return [decision["reason"] for decision in self.status(name).get("decisions") or ()]

    def pods_of(self, name: str, revision: str) -> set[str]:
        """UIDs of a revision's pods that stay."""
        return {p["metadata"]["uid"] for p in self.pods(name) if revision_of(p) == revision}

    def revisions_of_pods(self, name: str) -> set[str]:
        """Revisions that have any pod."""
        return {revision_of(p) for p in self.owned("pods", name)}

    def act(self, name: str, text: str) -> tuple[str, str]:
        """Asks for an action; gives its result and message."""
        self.patch("llmdeployments", name, {"metadata": {"annotations": {"modelfleet.dev/action": text}}})
        known = text.rsplit(maxsplit=1)[-1]

        def answer() -> Any:
            said = self.rollout(name).get("lastAction") or {}
            return said if said.get("id") == known else None

        said = self.until(answer, what=f"the answer to {text}", seconds=STANDSTILL_SECONDS)
        return said["result"], said["message"]

    def add_node(self, name: str, *, gpus: int, product: str) -> dict[str, Any]:
        """Adds a node with GPUs of a kind of their own; gives what a spec says to get one of them."""
        node = f"{self.namespace}-{name}"
        self.plane.add_node(faked_node(name=node, gpus=gpus, product=product))
        path = f"/api/v1/nodes/{node}"
        self.until(lambda: takes_pods(self.plane.http.get(path).json()), what="the node's readiness")
        return {"count": 1, "product": product}

    def lose_node(self, name: str) -> None:
        """Removes a node and what ran on it, as the cluster does after a while."""
        node = f"{self.namespace}-{name}"
        self.plane.http.delete(f"/api/v1/nodes/{node}").raise_for_status()
        for pod in self.list("pods"):
            if pod["spec"].get("nodeName") == node:
                answer = self.plane.http.delete(
                    self.path("pods", pod["metadata"]["name"]), params={"gracePeriodSeconds": "0"}
                )
                assert answer.is_success or answer.status_code == 404, answer.text


@contextmanager
def rollouts(*, plane: ControlPlane, namespace: str, rate: float = 300.0) -> Iterator[Rollouts]:
    """A namespace with a gateway and traffic, for a while."""
    found = Rollouts(plane=plane, namespace=namespace, rate=rate)
    try:
        yield found
    finally:
        found.close()


def revision_of(pod: dict[str, Any]) -> str:
    """Hash of the revision that a pod belongs to."""
    return str((pod["metadata"].get("labels") or {}).get("modelfleet.dev/revision", ""))


def warm(pods: list[dict[str, Any]], revision: str) -> int:
    """How many pods of a revision get requests."""
    return sum(ready(pod) for pod in pods if revision_of(pod) == revision)
