"""A gateway of the test tree: one control replica that really answers over HTTP, and the pods that stand for it.

Speaks the report of `modelfleet gateway`. No Envoy runs: what each has acknowledged is what the test says.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
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
    """

    def __init__(self, *, fleet: Fleet) -> None:
        self.endpoints: list[str] = []
        self.confirmed, self.rejections = True, dict[str, str]()
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

    def report(self) -> dict[str, Any]:
        models = {
            body["metadata"]["uid"]: {
                "digest": "new",
                "requested": {r["hash"]: r.get("weight", 0) for r in (body.get("status") or {}).get("revisions") or ()},
                "endpoints": {"r": self.endpoints},
            }
            for body in self._fleet.list("llmdeployments")
        }
        confirmed = dict.fromkeys(models, "new" if self.confirmed else "old")
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
