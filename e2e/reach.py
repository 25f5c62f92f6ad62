"""How this machine reaches a Service: by its address on the embedded cluster, by `kubectl port-forward` on another.

Sits on the cluster. It must not know what is asked of whom.
"""

from __future__ import annotations

import atexit
import socket
import tempfile
import urllib.parse
from contextlib import ExitStack
from pathlib import Path

from e2e.cluster import build, external, whole
from e2e.cluster.process import Child, free_ports, wait_until

_START_SECONDS = 30.0
_INSIDE = (".svc", ".svc.cluster.local")
_forwards: dict[tuple[str, str, int], tuple[Child, str]] = {}
_at_exit = ExitStack()
atexit.register(_at_exit.close)


def address(*, namespace: str, name: str, port: int = 80) -> str:
    """The base URL of a Service, for this machine and for now: a forward ends with the pod that it goes to."""
    if external.configured() is None:
        path = "jsonpath={.spec.clusterIP}"
        return f"http://{whole.kubectl('get', 'service', name, '-n', namespace, '-o', path)}:{port}"
    child, url = _forwards.get((namespace, name, port), (None, ""))
    if child is None or not child.alive:
        child, url = _forwards[namespace, name, port] = _forward(namespace=namespace, name=name, port=port)
    return url


def url(inside: str) -> str:
    """A URL as pods write it, for this machine: one that names no Service is its own.

    >>> url("https://prometheus.example.org")
    'https://prometheus.example.org'
    """
    parts = urllib.parse.urlsplit(inside)
    host = parts.hostname or ""
    if not host.endswith(_INSIDE):
        return inside
    name, namespace = host.split(".")[:2]
    return address(namespace=namespace, name=name, port=parts.port or 80) + parts.path


def _forward(*, namespace: str, name: str, port: int) -> tuple[Child, str]:
    (local,) = free_ports(1)
    folder = _at_exit.enter_context(tempfile.TemporaryDirectory(prefix="modelfleet-forward-"))
    argv = [str(build.tool("kubectl")), f"--kubeconfig={whole.kubeconfig()}", "-n", namespace]
    child = Child(
        name=f"kubectl port-forward service/{name}",
        argv=[*argv, "port-forward", f"service/{name}", f"{local}:{port}"],
        log=Path(folder) / "log",
    )
    child.start()
    _at_exit.callback(child.stop)
    wait_until(lambda: _accepts(local), what=f"a way to {name} of {namespace}", seconds=_START_SECONDS, watched=[child])
    return child, f"http://127.0.0.1:{local}"


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
