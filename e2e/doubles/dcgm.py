"""A stand-in for dcgm-exporter: the real metric and label names, from what the pods on the node really do.

Runs as a process of the node (`python -m e2e.doubles.dcgm`). Which container has which device comes from the kubelet's
pod resources interface, as in the real exporter; utilisation is the pod's CPU use over its CPU limit.
It must not invent a load: a device without a pod shows 0.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

import grpc

from e2e.cluster import node_cgroups
from e2e.doubles.gpus import MEMORY_MIB, PRODUCT, RESOURCE, Bench
from e2e.doubles.interfaces import load

WINDOW_SECONDS = 1.0
"""Two readings closer than this give the earlier rate: a rate over less is noise."""


@dataclass(frozen=True)
class User:
    """The container that holds a device."""

    namespace: str
    pod: str
    container: str


@dataclass(frozen=True)
class Gpu:
    """One device's readings: utilisation in per cent, memory in MiB."""

    index: int
    uuid: str
    user: User | None
    utilisation: float
    used_mib: int
    xid: int


def render(*, gpus: list[Gpu], host: str) -> str:
    """The exposition text, as dcgm-exporter writes it.

    >>> print(render(gpus=[Gpu(0, "GPU-a", None, 0.0, 0, 0)], host="n1").splitlines()[1])
    DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA-L4",Hostname="n1"} 0
    """
    values: dict[str, Callable[[Gpu], int]] = {
        "DCGM_FI_DEV_GPU_UTIL": lambda gpu: round(gpu.utilisation),
        "DCGM_FI_DEV_FB_USED": lambda gpu: gpu.used_mib,
        "DCGM_FI_DEV_FB_FREE": lambda gpu: MEMORY_MIB - gpu.used_mib,
        "DCGM_FI_DEV_GPU_TEMP": lambda gpu: 35 + round(gpu.utilisation * 0.4),
        "DCGM_FI_DEV_XID_ERRORS": lambda gpu: gpu.xid,
    }
    lines = []
    for name, value in values.items():
        lines.append(f"# TYPE {name} gauge")
        for gpu in gpus:
            labels = {"gpu": gpu.index, "UUID": gpu.uuid, "device": f"nvidia{gpu.index}", "modelName": PRODUCT}
            labels["Hostname"] = host
            if gpu.user:
                labels |= {"namespace": gpu.user.namespace, "pod": gpu.user.pod, "container": gpu.user.container}
            text = ",".join(f'{key}="{content}"' for key, content in labels.items())
            lines.append(f"{name}{{{text}}} {value(gpu)}")
    return "\n".join([*lines, ""])


class Node:
    """Reads the kubelet, the API server and the cgroups of one node."""

    def __init__(self, *, bench: Bench, server: str, pki: Path, socket: str) -> None:
        self._bench = bench
        self._server = server
        self._socket = socket
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)
        self._last: dict[str, tuple[float, float, float]] = {}  # uid: time, CPU seconds, rate
        self._lock = Lock()

    def gpus(self) -> list[Gpu]:
        """The readings now."""
        with self._lock:
            users, broken = self._users(), self._bench.unhealthy()
            pods = self._pods() if users else {}
            found = []
            for index, device in enumerate(self._bench.ids()):
                user = users.get(device)
                pod = pods.get((user.namespace, user.pod)) if user else None
                used, memory = (self._use(pod=pod), self._memory(pod=pod)) if pod else (0.0, 0)
                found.append(Gpu(index, device, user, used, memory, 79 if device in broken else 0))
            return found

    def _users(self) -> dict[str, User]:
        messages, services = load("podresources")
        with grpc.insecure_channel(f"unix://{self._socket}") as channel:
            answer = services.PodResourcesListerStub(channel).List(messages.ListPodResourcesRequest(), timeout=2)
        return {
            device: User(namespace=pod.namespace, pod=pod.name, container=container.name)
            for pod in answer.pod_resources
            for container in pod.containers
            for held in container.devices
            if held.resource_name == RESOURCE
            for device in held.device_ids
        }

    def _pods(self) -> dict[tuple[str, str], dict[str, Any]]:
        with self._opener.open(f"{self._server}/api/v1/pods?resourceVersion=0", timeout=2) as answer:
            items = json.load(answer)["items"]
        return {(pod["metadata"]["namespace"], pod["metadata"]["name"]): pod for pod in items}

    def _use(self, *, pod: dict[str, Any]) -> float:
        uid = pod["metadata"]["uid"]
        now, seconds = time.monotonic(), cpu_seconds(uid=uid)
        then, before, rate = self._last.get(uid, (now, seconds, 0.0))
        if now - then >= WINDOW_SECONDS:
            rate = (seconds - before) / (now - then)
        if now - then >= WINDOW_SECONDS or uid not in self._last:
            self._last[uid] = (now, seconds, rate)
        return max(0.0, min(100.0, 100 * rate / (cpu_limit(pod=pod) or os.cpu_count() or 1)))

    @staticmethod
    def _memory(*, pod: dict[str, Any]) -> int:
        return min(MEMORY_MIB, memory_bytes(uid=pod["metadata"]["uid"]) >> 20)


def cpu_limit(*, pod: dict[str, Any]) -> float:
    """Sum of the containers' CPU limits in cores; 0 when none has one.

    >>> cpu_limit(pod={"spec": {"containers": [{"resources": {"limits": {"cpu": "1500m"}}}, {}]}})
    1.5
    """
    total = 0.0
    for container in pod["spec"]["containers"]:
        text = container.get("resources", {}).get("limits", {}).get("cpu", "0")
        total += float(text[:-1]) / 1000 if text.endswith("m") else float(text)
    return total


def cpu_seconds(*, uid: str) -> float:
    """CPU seconds that a pod has used since it began; 0 when its cgroup is not there."""
    if node_cgroups.unified():
        text = _read(pattern=f"{node_cgroups.NAME}/kubepods/**/pod{uid}/cpu.stat")
        return int(dict(line.split() for line in text.splitlines()).get("usage_usec", 0)) / 1e6
    return int(_read(pattern=f"cpuacct/{node_cgroups.NAME}/kubepods/**/pod{uid}/cpuacct.usage") or 0) / 1e9


def memory_bytes(*, uid: str) -> int:
    """Bytes that a pod holds; 0 when its cgroup is not there."""
    name = "memory.current" if node_cgroups.unified() else "memory.usage_in_bytes"
    hierarchy = "" if node_cgroups.unified() else "memory/"
    return int(_read(pattern=f"{hierarchy}{node_cgroups.NAME}/kubepods/**/pod{uid}/{name}") or 0)


def _read(*, pattern: str) -> str:
    for path in node_cgroups.ROOT.glob(pattern):
        try:
            return path.read_text().strip()
        except OSError:  # the pod ended between the two calls
            continue
    return ""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder in which tests mark devices")
    parser.add_argument("--listen", required=True, help="ADDRESS:PORT")
    parser.add_argument("--server", required=True, help="URL of the API server")
    parser.add_argument("--pki", type=Path, required=True)
    parser.add_argument("--host", required=True, help="name of the node")
    parser.add_argument("--socket", default="/var/lib/kubelet/pod-resources/kubelet.sock")
    options = parser.parse_args(argv)
    node = Node(bench=Bench(folder=options.state), server=options.server, pki=options.pki, socket=options.socket)

    class Handler(BaseHTTPRequestHandler):
        """Answers every GET with the readings, or with 503 while the node cannot be read."""

        def do_GET(self) -> None:
            try:
                status, text = 200, render(gpus=node.gpus(), host=options.host)
            except (OSError, grpc.RpcError) as error:
                status, text = 503, f"the node cannot be read: {error}\n"
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_args: object) -> None:
            """Scrapes are no news."""

    address, _, port = options.listen.rpartition(":")
    ThreadingHTTPServer((address, int(port)), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
