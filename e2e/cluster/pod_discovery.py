"""Pods as Prometheus targets: the `role: pod` discovery that Debian's build of Prometheus leaves out.

Runs as a process of the node (`python -m e2e.cluster.pod_discovery`) and answers Prometheus' HTTP discovery with the
same meta labels that `kubernetes_sd_configs` gives, so the relabelling rules are those that users are told to have.
It must not filter anything: which pods are scraped is the scrape configuration's to say.
"""

from __future__ import annotations

import argparse
import json
import re
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PORT = 9401
PREFIX = "__meta_kubernetes_pod_"


def targets(*, pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One target group per container port of every pod that has an address.

    >>> pod = {"metadata": {"name": "p", "namespace": "n"}, "status": {"podIP": "10.0.0.1"},
    ...        "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}]}]}}
    >>> targets(pods=[pod])[0]["targets"]
    ['10.0.0.1:80']
    """
    return [group for pod in pods if pod.get("status", {}).get("podIP") for group in _of_pod(pod=pod)]


def _of_pod(*, pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    meta, status, address = pod["metadata"], pod["status"], pod["status"]["podIP"]
    ready = next((c["status"] for c in status.get("conditions", []) if c["type"] == "Ready"), "unknown")
    common = {
        "__meta_kubernetes_namespace": meta["namespace"],
        f"{PREFIX}name": meta["name"],
        f"{PREFIX}uid": meta.get("uid", ""),
        f"{PREFIX}ip": address,
        f"{PREFIX}phase": status.get("phase", ""),
        f"{PREFIX}ready": ready.lower(),
        f"{PREFIX}node_name": pod["spec"].get("nodeName", ""),
    }
    for kind, values in (("label", meta.get("labels")), ("annotation", meta.get("annotations"))):
        for key, value in (values or {}).items():
            name = re.sub(r"[^a-zA-Z0-9_]", "_", key)
            common |= {f"{PREFIX}{kind}_{name}": value, f"{PREFIX}{kind}present_{name}": "true"}
    spec = pod["spec"]
    containers = [(c, "false") for c in spec["containers"]] + [(c, "true") for c in spec.get("initContainers", [])]
    for container, init in containers:
        own = common | {f"{PREFIX}container_name": container["name"], f"{PREFIX}container_init": init}
        for port in container.get("ports", []):
            number = str(port["containerPort"])
            labels = {"number": number, "name": port.get("name", ""), "protocol": port.get("protocol", "TCP")}
            ported = own | {f"{PREFIX}container_port_{key}": value for key, value in labels.items()}
            yield {"targets": [f"{address}:{number}"], "labels": ported}
        if not container.get("ports"):
            yield {"targets": [address], "labels": own}


def main(argv: list[str] | None = None) -> int:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True, help="ADDRESS:PORT")
    parser.add_argument("--server", required=True, help="URL of the API server")
    parser.add_argument("--pki", type=Path, required=True)
    options = parser.parse_args(argv)
    context = ssl.create_default_context(cafile=str(options.pki / "ca.crt"))
    context.load_cert_chain(options.pki / "admin.crt", options.pki / "admin.key")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))

    class Handler(BaseHTTPRequestHandler):
        """Answers with every pod, or with 503 while the API server does not: Prometheus then keeps its targets."""

        def do_GET(self) -> None:
            try:
                with opener.open(f"{options.server}/api/v1/pods?resourceVersion=0", timeout=5) as answer:
                    status, body = 200, targets(pods=json.load(answer)["items"])
            except OSError as error:
                status, body = 503, [{"error": str(error)}]
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_args: object) -> None:
            """Questions are no news."""

    address, _, port = options.listen.rpartition(":")
    ThreadingHTTPServer((address, int(port)), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
