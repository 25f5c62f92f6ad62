"""An endpoint that answers the operator's questions as Prometheus would, well or badly, as the test wishes.

It reckons nothing: the real server is asked in tests/unit/adapters. Here the answers must be wrong at a given moment.
"""

import http.server
import json
import ssl
import threading
import urllib.parse
from collections.abc import Callable

from e2e.cluster.process import free_ports


class ScriptedPrometheus:
    """Answers for QueueDepth; every other question is answered with nothing.

    Attributes:
        load: Gives the waiting requests by (namespace, pod), when asked.
        asked: How often QueueDepth was asked for.
        token: What a question's Authorization must be; empty: anybody may ask.
    """

    def __init__(
        self,
        *,
        load: Callable[[], dict[tuple[str, str], float]],
        token: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.load, self.asked, self.token, self._tls = load, 0, token, tls
        self._fault, self._answering = "", threading.Lock()
        (self.port,) = free_ports(1)  # the same after `mend`
        self.start()

    def break_down(self, fault: str) -> None:
        """From the next answer on: down, error, empty, nan, stale or partial; no answer is under way when it returns."""
        if fault == "down":
            self.stop()
        with self._answering:
            self._fault = fault

    def mend(self) -> None:
        """Answer well again."""
        if self._fault == "down":
            self.start()
        self._fault = ""

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        scripted = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if scripted.token and self.headers.get("Authorization") != scripted.token:
                    status, answer = 401, {"status": "error", "errorType": "unauthorized", "error": "who are you?"}
                else:
                    status, answer = scripted.answer(urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query))
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                """Keep the test's output for the test."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        if self._tls:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self) -> None:
        """Nothing listens any more, until `start`."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, question: dict[str, list[str]]) -> tuple[int, dict]:
        query = question["query"][0]
        if "num_requests_waiting" not in query or "num_requests_running" in query:
            return 200, _vector([])
        self.asked += 1
        with self._answering:
            if self._fault == "error":
                return 503, {"status": "error", "errorType": "unavailable", "error": "not now"}
            load = [] if self._fault == "empty" else sorted(self.load().items())
            rows = []
            for where, value in load[1:] if self._fault == "partial" else load:
                rows.append(_row(where, "value", "NaN" if self._fault == "nan" else str(value)))
                rows.append(_row(where, "age", "120" if self._fault == "stale" else "3"))
            return 200, _vector(rows)


def _row(where: tuple[str, str], part: str, value: str) -> dict:
    return {"metric": {"namespace": where[0], "pod": where[1], "part": part}, "value": [0, value]}


def _vector(rows: list[dict]) -> dict:
    return {"status": "success", "data": {"resultType": "vector", "result": rows}}
