"""The proxy before Prometheus: it passes everything on, and spoils the answers to queries alone."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from e2e.prometheus_proxy import Proxy

VECTOR = {"data": {"resultType": "vector", "result": [{"metric": {"pod": "a"}, "value": [5, "1"]}]}}
MATRIX = {"data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[5, "1"], [6, "2"]]}]}}
ANSWERS = {"/api/v1/query": VECTOR, "/api/v1/query_range": MATRIX, "/api/v1/status": {"data": {"version": "3"}}}


class Behind(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        body = json.dumps(ANSWERS.get(path, {"error": self.path})).encode()
        self.send_response(200 if path in ANSWERS else 422)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output for the test."""


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    with ExitStack() as stack:
        monkeypatch.setattr(Proxy, "behind", stack.enter_context(serving(Behind)))
        monkeypatch.setattr(Proxy, "fault", "")
        url = stack.enter_context(serving(Proxy))
        yield stack.enter_context(httpx.Client(base_url=url, trust_env=False))


def result(proxy: httpx.Client, path: str) -> Any:
    return proxy.get(path, params={"query": "up"}).raise_for_status().json()["data"]["result"]


def test_what_is_not_spoiled_is_passed_on_as_it_is(proxy):
    assert {path: proxy.get(path).json() for path in ANSWERS} == ANSWERS
    refused = proxy.get("/api/v1/nothing?query=up")
    assert (refused.status_code, refused.json()) == (422, {"error": "/api/v1/nothing?query=up"})


def test_answers_are_empty_or_without_numbers_until_it_is_mended(proxy):
    proxy.put("/", content="empty").raise_for_status()
    assert (result(proxy, "/api/v1/query"), result(proxy, "/api/v1/query_range")) == ([], [])
    proxy.put("/", content="nan").raise_for_status()
    assert result(proxy, "/api/v1/query") == [{"metric": {"pod": "a"}, "value": [5, "NaN"]}]
    assert result(proxy, "/api/v1/query_range") == [{"metric": {}, "values": [[5, "NaN"], [6, "NaN"]]}]
    assert proxy.get("/api/v1/status").json() == ANSWERS["/api/v1/status"]
    proxy.put("/", content="").raise_for_status()
    assert proxy.get("/api/v1/query").json() == VECTOR
