"""An operator whose Prometheus answers as a scenario wishes, while everybody else asks the real one.

A proxy in Prometheus' own namespace, so that who may scrape stays as it is, and the chart with its address; both are taken
back at the end. Sits on `fleet`. It must not assert anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from e2e import fleet, images, reach
from e2e.cluster import whole
from e2e.llm import Llm
from e2e.prometheus_proxy import PORT

NAME = "spoiling-prometheus"
PROGRAM = images.ROOT / "e2e" / "prometheus_proxy.py"
_PLACE = urlsplit(fleet.PROMETHEUS).hostname or ""


class Spoiling:
    """What a scenario may do with the answers."""

    def __init__(self, *, namespace: str) -> None:
        self._namespace = namespace

    @property
    def url(self) -> str:
        """As the operator reaches it."""
        return f"http://{NAME}.{self._namespace}.svc:{PORT}"

    def ready(self) -> bool:
        """Whether Prometheus answers through it."""
        return httpx.get(f"{self._address}/-/ready", timeout=10).is_success

    def answer(self, fault: str) -> None:
        """From the next answer on: `empty` or `nan`."""
        httpx.put(self._address, content=fault, timeout=10).raise_for_status()

    def mend(self) -> None:
        """Answer as Prometheus does."""
        self.answer("")

    @property
    def _address(self) -> str:
        return reach.address(namespace=self._namespace, name=NAME, port=PORT)


@contextmanager
def spoiling(llm: Llm) -> Iterator[Spoiling]:
    """Give the operator a Prometheus that can be spoiled, and at the end the real one again."""
    namespace = _PLACE.split(".")[1]
    found = Spoiling(namespace=namespace)
    try:
        _remove(namespace)  # of a session that was killed: its program may be another
        whole.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(_manifests(namespace)))
        llm.until("the proxy before Prometheus", found.ready)
        _install(llm, url=found.url)
        yield found
    finally:
        _install(llm, url=fleet.PROMETHEUS)
        _remove(namespace)


def _remove(namespace: str) -> None:
    whole.kubectl("delete", "pod,service", NAME, "-n", namespace, "--ignore-not-found", "--wait=true")


def _install(llm: Llm, *, url: str) -> None:
    fleet.install(values={"prometheus": {"url": url}})
    llm.until("a leader", fleet.leader)


def _manifests(namespace: str) -> list[dict[str, Any]]:
    meta = {"name": NAME, "namespace": namespace, "labels": {"app": NAME}}
    container = {
        "name": "proxy",
        "image": fleet.name_there(images.OPERATOR),
        "imagePullPolicy": "IfNotPresent",
        "command": [fleet.PYTHON, "-c", PROGRAM.read_text(), fleet.PROMETHEUS],
        "resources": fleet.SMALL,
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False}
    ports = {"selector": {"app": NAME}, "ports": [{"port": PORT}]}
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": ports},
    ]
