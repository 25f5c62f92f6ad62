"""Stands before a Prometheus, passes questions on, and spoils the answers as it is told to: `empty`, `nan`, or not at all.

Runs alone (`python -c`): it has nothing of this repository. `PUT /` with a fault's name sets it. Must not know the questions.
"""

import http.server
import json
import sys
import urllib.error
import urllib.request
from typing import Any

PORT = 9090
SECONDS = 10.0
"""For an answer: longer than who asks waits for it."""


def spoiled(answer: dict[str, Any], *, fault: str) -> dict[str, Any]:
    """Take the series out of an answer of Prometheus' query API, or the numbers out of its series."""
    data = answer.get("data")
    if not fault or not isinstance(data, dict):
        return answer
    rows = [] if fault == "empty" else data["result"]
    for row in rows:
        if "value" in row:
            row["value"] = [row["value"][0], "NaN"]
        if "values" in row:
            row["values"] = [[at, "NaN"] for at, _ in row["values"]]
    return {**answer, "data": {**data, "result": rows}}


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes GET on to the server in `behind`."""

    behind = ""
    fault = ""

    def do_GET(self) -> None:
        """Ask, and answer what is left of the answer."""
        try:
            # The environment's proxy settings do not concern an address inside the cluster.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(self.behind + self.path, timeout=SECONDS) as found:
                status, body = found.status, found.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        except OSError:
            status, body = 502, b"{}"
        if self.fault and status == http.HTTPStatus.OK and self.path.startswith("/api/v1/query"):
            body = json.dumps(spoiled(json.loads(body), fault=self.fault)).encode()
        self._answer(status, body)

    def do_PUT(self) -> None:
        """Take a fault's name; none at all mends it."""
        Proxy.fault = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(http.HTTPStatus.OK, b"{}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(behind: str) -> None:
    """Serve until the pod ends."""
    Proxy.behind = behind.rstrip("/")
    http.server.ThreadingHTTPServer(("", PORT), Proxy).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
