"""A gateway of the test tree: one control replica that really answers over HTTP, and the pods that stand for it.

Speaks the report of `modelfleet gateway`. No Envoy runs: what each has acknowledged, and when, is what the test says.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from e2e.cluster.process import own_address
from modelfleet.adapters.gateway import PORT
from tests.api.fleet import Fleet

ENVOY = "gateway-envoy"
numbers = itertools.count(77)


class ScriptedGateway:
    """Says of every LLMDeployment that its one Envoy has acknowledged these endpoints.

    Attributes:
        endpoints: Addresses that the Envoy may still use.
        confirmed: Whether it has acknowledged the newest route.
        rejections: Its refusals by type.
        late: Seconds that it takes for new weights.
        withheld: Names of LLMDeployments whose new weights it does not take in at all.
        taken: The weights that it has taken in, by name and oldest first.
    """

    def __init__(self, *, fleet: Fleet) -> None:
        self.endpoints: list[str] = []
        self.confirmed, self.rejections = True, dict[str, str]()
        self.late, self.withheld = 0.0, set[str]()
        self.taken: list[tuple[str, dict[str, int]]] = []
        self._applied: dict[str, dict[str, int]] = {}
        self._wanted: dict[str, tuple[dict[str, int], float, int]] = {}
        self._lock = threading.Lock()
        self.asked = 0
        self._fleet = fleet
        self.address = own_address(next(numbers))
        self._server = ThreadingHTTPServer((self.address, PORT), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add_pods(self) -> None:
        """Makes a Ready Envoy pod and a control pod with this server's address; no node ever takes them."""
        for name, component, address in (
            (ENVOY, "gateway", "127.0.0.78"),
            ("control", "gateway-control", self.address),
        ):
            metadata = {
                "name": name,
                "namespace": self._fleet.namespace,
                "labels": {"app.kubernetes.io/component": component},
            }
            spec = {"containers": [{"name": "main", "image": "none"}], "schedulingGates": [{"name": "test/never"}]}
            self._fleet.plane.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            status = {"status": {"podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]}}
            answer = self._fleet.plane.http.patch(
                f"{self._fleet.path('pods', name)}/status",
                headers={"Content-Type": "application/strategic-merge-patch+json"},
                content=json.dumps(status),
            )
            assert answer.is_success, answer.text

    def applied(self, body: dict[str, Any]) -> dict[str, int]:
        """Give the weights by which the Envoy routes now, as it has seen so much of an LLMDeployment."""
        uid, name, now = body["metadata"]["uid"], body["metadata"]["name"], time.monotonic()
        version = int(body["metadata"]["resourceVersion"])
        with self._lock:
            before, since, seen = self._wanted.get(uid, ({}, now, 0))
            wanted = _weights(body) if version >= seen else before  # another thread has read a newer one
            self._wanted[uid] = wanted, since if wanted == before else now, max(version, seen)
            waits = name in self.withheld or now - self._wanted[uid][1] < self.late
            first = not any(self._applied.get(uid, {}).values())
            if self._applied.get(uid) != wanted and (first or not waits):
                self._applied[uid] = wanted
                self.taken.append((name, wanted))
            return self._applied[uid]

    def report(self) -> dict[str, Any]:
        """Say what it wants of its Envoy, and what that has taken in."""
        bodies = {body["metadata"]["uid"]: body for body in self._fleet.list("llmdeployments")}
        models = {
            uid: {"digest": str(_weights(body)), "requested": _weights(body), "endpoints": {"r": self.endpoints}}
            for uid, body in bodies.items()
        }
        confirmed = {uid: str(self.applied(body)) if self.confirmed else "old" for uid, body in bodies.items()}
        return {"models": models, "envoys": {ENVOY: {"confirmed": confirmed, "rejections": self.rejections}}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(gateway.report()).encode()
                gateway.asked += 1
                with contextlib.suppress(ConnectionError):  # who asked did not wait for the answer
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        return Handler


def _weights(body: dict[str, Any]) -> dict[str, int]:
    return {r["hash"]: r.get("weight", 0) for r in (body.get("status") or {}).get("revisions") or ()}
