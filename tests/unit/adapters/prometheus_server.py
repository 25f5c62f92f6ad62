"""A real Prometheus on loopback, and the exporter it scrapes. Used by tests only."""

import contextlib
import http.server
import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from e2e.cluster.process import free_ports

Answer = tuple[int, dict[str, str], bytes]


@contextlib.contextmanager
def http_server(answer: Callable[[http.server.BaseHTTPRequestHandler], Answer], *, tls=None) -> Iterator[int]:
    """Serve `answer` on a free port of loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = answer(self)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            """Keep the test's output for the test."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda request, client_address: None  # a client that hangs up is part of the tests
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def prometheus(*, folder: Path, scrape_configs: list[dict], until: str, at_least: int) -> Iterator[str]:
    """Start the real server; yield its URL once the query `until` answers with `at_least` series."""
    config = folder / "prometheus.yml"
    # A scrape may take as long as its interval; one that takes longer ends the series.
    config.write_text(yaml.safe_dump({"global": {"scrape_interval": "2s"}, "scrape_configs": scrape_configs}))
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--log.level=warn",
    ]
    log = (folder / "prometheus.log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _await(url=url, query=until, at_least=at_least, process=process, log=folder / "prometheus.log")
            yield url
        finally:
            process.terminate()
            process.wait(timeout=60)


def _await(*, url: str, query: str, at_least: int, process: subprocess.Popen, log: Path) -> None:
    """Wait up to 60 s for scraped data; `Event.wait` paces the questions."""
    deadline, seen = time.monotonic() + 60, "nothing"
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/api/v1/query?query={query}", timeout=10) as response:  # noqa: S310 - loopback
                seen = json.load(response)["data"]["result"]
            if len(seen) >= at_least:
                return
        except OSError as error:
            seen = str(error)
        assert process.poll() is None, f"prometheus ended: {log.read_text()}"
        threading.Event().wait(0.05)
    raise AssertionError(f"{query} never had {at_least} series; last seen: {seen}; log: {log.read_text()}")
