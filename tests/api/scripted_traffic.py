"""Traffic that is only counted: what Envoys and engines would count of it, and a Prometheus that says so.

Twice a second requests are dealt out to the pods that are ready, by the weights that the Envoy has taken in; a revision
may be slow, fail or answer nothing. Speaks Prometheus' HTTP API (`query_range`, for one LLMDeployment's judgement). Nothing is sent anywhere.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import threading
import time
import urllib.parse
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from modelfleet.core.routing import measures
from tests.api.fleet import Fleet

TICK_SECONDS = 0.5
TOKENS = 20
Labels = tuple[tuple[str, str], ...]


class ScriptedTraffic:
    """Counts and answers.

    Attributes:
        rate: Requests per second for each LLMDeployment.
        rates: The same for some of them, by name.
        requests: How many were dealt out, by revision.
        failed: How many of them ended in a 500, by revision.
        lost: How many a weight sent to a revision without a ready pod.
        slow: Share of requests beyond the bounds, by revision.
        failing: Share of requests that end in a 500, by revision.
        direct: Requests past the gateway, to a revision's own Service, as a part of the LLMDeployment's rate.
        by_envoys: Whether our Envoys carry them; of another's gateway only the engines tell.
        fault: How Prometheus is now: empty for well, or `error`, `empty`, `nan`.
        faults: The same for questions about one LLMDeployment, by its name.
    """

    def __init__(
        self, *, fleet: Fleet, applied: Callable[[dict[str, Any]], dict[str, int]], rate: float = 60.0
    ) -> None:
        self._fleet, self._applied, self.rate = fleet, applied, rate
        self.rates: dict[str, float] = {}
        self.requests: dict[str, float] = defaultdict(float)
        self.failed: dict[str, float] = defaultdict(float)
        self.lost = 0.0
        self.slow: dict[str, float] = {}
        self.failing: dict[str, float] = {}
        self.direct: dict[str, float] = {}
        self.by_envoys = True
        self.fault, self.faults = "", dict[str, str]()
        self._counters: dict[Labels, float] = defaultdict(float)
        self._history: list[tuple[float, dict[Labels, float]]] = []
        self._stop = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._threads = [
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}),
            threading.Thread(target=self._run),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join()
        self._server.server_close()

    def _run(self) -> None:
        before = time.time()
        while not self._stop.wait(TICK_SECONDS):
            known = self._fleet.list("pods")
            bodies = self._fleet.list("llmdeployments")
            # Pods that went a moment before the weights were read, or came a moment after, are no lost requests.
            named = {pod["metadata"]["name"]: pod for pod in (*known, *self._fleet.list("pods"))}
            pods = list(named.values())
            now = time.time()
            for body in bodies:
                rate = self.rates.get(body["metadata"]["name"], self.rate)
                self._deal(body, pods=pods, requests=rate * (now - before))
            before = now
            # Nobody scrapes a pod that has gone.
            there = {"envoy", *named}
            scraped = {labels: value for labels, value in self._counters.items() if dict(labels).get("pod") in there}
            self._history.append((now, scraped))

    def _deal(self, body: dict[str, Any], *, pods: list[dict[str, Any]], requests: float) -> None:
        name = body["metadata"]["name"]
        revisions = (body.get("status") or {}).get("revisions") or []
        ready = {r["hash"]: [p for p in pods if _serves(p, f"{r['name']}-")] for r in revisions}
        routed = self._applied(body)
        asked = sum(routed.values())
        shares = {r: routed.get(r, 0) if asked else len(mine) for r, mine in ready.items() if mine}
        self.lost += sum(requests * weight / asked for r, weight in routed.items() if weight and not ready.get(r))
        for revision, mine in ready.items():
            past = requests * self.direct.get(revision, 0.0)
            for pod in mine:  # an idle pod is scraped too
                self._engine(pod["metadata"]["name"], revision=revision, requests=past / len(mine))
            if share := shares.get(revision, 0):
                part = requests * share / sum(shares.values())
                self._envoy(name, revision=revision, requests=part)
                for pod in mine:
                    self._engine(pod["metadata"]["name"], revision=revision, requests=part / len(mine))

    def _envoy(self, name: str, *, revision: str, requests: float) -> None:
        failed = requests * self.failing.get(revision, 0.0)
        self.requests[revision] += requests
        self.failed[revision] += failed
        if not self.by_envoys:
            return
        of_model = {
            "namespace": "gateway",
            "pod": "envoy",
            measures.NAMESPACE: self._fleet.namespace,
            measures.NAME: name,
            measures.REVISION: revision,
        }
        for measure in (measures.STARTED, measures.ATTEMPTS_STARTED):
            self._add(requests, __name__=measure.name, **of_model)
        for measure in (measures.ATTEMPTS, measures.FIRST_ATTEMPTS, measures.REQUESTS):
            self._add(requests - failed, __name__=measure.name, **of_model, outcome="ok")
            self._add(failed, __name__=measure.name, **of_model, outcome="failed")

    def _engine(self, pod: str, *, revision: str, requests: float) -> None:
        done = requests * (1 - self.failing.get(revision, 0.0))
        in_time = done * (1 - self.slow.get(revision, 0.0))
        where = {"namespace": self._fleet.namespace, "pod": pod}
        for name, le, per_request in (
            ("vllm:time_to_first_token_seconds", "1.0", 1),
            ("vllm:inter_token_latency_seconds", "0.05", TOKENS),
        ):
            self._add(done * per_request, __name__=f"{name}_count", **where)
            self._add(in_time * per_request, __name__=f"{name}_bucket", le=le, **where)
        self._add(done, __name__="vllm:request_success_total", finished_reason="stop", **where)

    def _add(self, amount: float, **labels: str) -> None:
        self._counters[tuple(sorted(labels.items()))] += amount

    def answer(self, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        query = asked.get("query", "")
        about = (fault for name, fault in self.faults.items() if f'"{name}"' in query or f'"{name}-(' in query)
        fault = next(about, self.fault)
        if fault == "error":
            return 503, {"status": "error", "errorType": "unavailable", "error": "not now"}
        result = [] if "start" not in asked or fault == "empty" else self._series(asked, fault=fault)
        kind = "matrix" if "start" in asked else "vector"
        return 200, {"status": "success", "data": {"resultType": kind, "result": result}}

    def _series(self, asked: dict[str, str], *, fault: str) -> list[dict[str, Any]]:
        query = asked["query"]
        step = float(asked["step"])
        start, end = float(asked["start"]), float(asked["end"])
        edges = [start + i * step for i in range(int((end - start) / step) + 1)]
        wanted = _wanted(query)
        rows: dict[Labels, list[list[Any]]] = defaultdict(list)
        for edge in edges:
            fresh = next((seen for at, seen in reversed(self._history) if edge - 2 * step < at <= edge), {})
            for labels, value in fresh.items():
                if wanted(dict(labels)):
                    rows[labels].append([edge, "NaN" if fault == "nan" else str(value)])
        return [{"metric": dict(labels), "values": values} for labels, values in rows.items()]

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        traffic = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with contextlib.suppress(ConnectionError):  # who asked did not wait for the answer
                    self._answer()

            def _answer(self) -> None:
                asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
                status, answer = traffic.answer(asked)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Keep the test's output for the test."""

        return Handler


def _serves(pod: dict[str, Any], prefix: str) -> bool:
    conditions = {c["type"]: c["status"] for c in (pod.get("status") or {}).get("conditions") or ()}
    labels = pod["metadata"].get("labels") or {}
    ready = conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]
    return ready and labels.get("modelfleet.dev/rotation") == "in" and pod["metadata"]["name"].startswith(prefix)


def _wanted(query: str) -> Any:
    """Tell which counters a query asks for: those of a model in the Envoys, or of the pods of its revisions."""
    if model := re.search(rf'{measures.NAME}="([^"]+)"', query):
        return lambda labels: labels.get(measures.NAME) == model[1]
    pods = re.search(r'pod=~"([^"]+)"', query)
    pattern = re.compile(pods[1] if pods else "$.")
    return lambda labels: measures.NAME not in labels and bool(pattern.fullmatch(labels["pod"]))
