"""Level 1½: level 1 plus controller-manager, scheduler and KWOK, whose faked nodes offer GPUs and mark pods ready.

Deployments really make pods, which are really scheduled by their GPU limits, and which no machine runs. It is for
many objects, for rollouts at scale and for figures; nothing here starts a container.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from e2e.cluster import build
from e2e.cluster.api_only import ApiServer
from e2e.cluster.process import Child, free_ports, wait_until

STAGES = Path(__file__).resolve().parent / "stages.yaml"
GPU = "nvidia.com/gpu"
GPU_PRODUCT = "NVIDIA-H100-80GB-HBM3"
_START_SECONDS = 60.0


class ControlPlane(ApiServer):
    """A control plane with faked nodes, as a context manager.

    Every controller has a user of its own, so that audit events can be counted by user: `kwok`,
    `system:kube-scheduler`, and the service accounts of `kube-system` for the controllers.
    """

    tools = build.CONTROL_TOOLS
    service_accounts = True

    def __init__(
        self,
        *,
        folder: Path | None = None,
        audit: bool = False,
        nodes: int = 4,
        gpus_per_node: int = 8,
        gpu_product: str = GPU_PRODUCT,
    ) -> None:
        super().__init__(folder=folder, audit=audit)
        self._nodes = [
            faked_node(name=f"gpu-{index}", gpus=gpus_per_node, product=gpu_product) for index in range(nodes)
        ]

    def start(self) -> None:
        """Starts everything and returns when every node takes pods.

        Raises:
            ProcessError: Something died or was not ready in a minute.
        """
        programs = build.ensure(self.tools)
        super().start()
        manager_port, scheduler_port = free_ports(2)
        own = [
            "--authorization-always-allow-paths=/healthz",
            f"--cert-dir={self.folder / 'pki'}",
            "--leader-elect=false",
        ]
        self._start(
            "kube-controller-manager",
            str(programs["kube-controller-manager"]),
            f"--kubeconfig={self.user_kubeconfig('system:kube-controller-manager')}",
            f"--secure-port={manager_port}",
            "--bind-address=127.0.0.1",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={self.folder / 'pki' / 'service-account.key'}",
            f"--root-ca-file={self.folder / 'pki' / 'ca.crt'}",
            "--kube-api-qps=500",  # at the default of 20 it is the bottleneck of every measurement
            "--horizontal-pod-autoscaler-sync-period=2s",  # a test of an HPA would wait 30 s at the default of 15 s
            "--kube-api-burst=1000",
            *own,
        )
        self._start(
            "kube-scheduler",
            str(programs["kube-scheduler"]),
            f"--kubeconfig={self.user_kubeconfig('system:kube-scheduler')}",
            f"--secure-port={scheduler_port}",
            "--bind-address=127.0.0.1",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            *own,
        )
        self._start(
            "kwok",
            str(programs["kwok"]),
            f"--kubeconfig={self.user_kubeconfig('kwok', cluster_role='cluster-admin')}",
            f"--config={STAGES}",
            "--manage-all-nodes=true",
            "--cidr=10.88.0.0/16",
            "--node-ip=10.87.0.1",
            "--node-lease-duration-seconds=40",
        )
        for node in self._nodes:
            self.add_node(node)
        wait_until(self._settled, what="every node's readiness", seconds=_START_SECONDS, watched=self.children)

    def add_node(self, node: dict[str, Any]) -> None:
        """Adds a node (see `faked_node`); returns at once, the node takes pods a moment later."""
        self.apply({key: value for key, value in node.items() if key != "status"})
        answer = self.http.patch(
            f"/api/v1/nodes/{node['metadata']['name']}/status",
            headers={"Content-Type": "application/merge-patch+json"},
            json={"status": node["status"]},
        )
        answer.raise_for_status()

    def _start(self, name: str, *argv: str) -> None:
        child = Child(name=name, argv=argv, log=self.folder / f"{name}.log")
        self.children.append(child)
        child.start()

    def _settled(self) -> bool:
        nodes = self.http.get("/api/v1/nodes").json()["items"]
        account = self.http.get("/api/v1/namespaces/default/serviceaccounts/default")
        return len(nodes) >= len(self._nodes) and all(map(takes_pods, nodes)) and account.is_success


def faked_node(*, name: str, gpus: int, product: str = GPU_PRODUCT, pods: int = 500) -> dict[str, Any]:
    """A node that KWOK keeps alive.

    Args:
        name: Name of the node.
        gpus: Capacity of `nvidia.com/gpu`; 0 makes a node without GPUs or their labels.
        product: What GPU feature discovery would call the device.
        pods: How many pods fit.
    """
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    capacity = {"cpu": "1k", "memory": "4Ti", "ephemeral-storage": "4Ti", "pods": str(pods)}
    if gpus:
        labels |= {f"{GPU}.product": product, f"{GPU}.count": str(gpus), f"{GPU}.present": "true"}
        capacity[GPU] = str(gpus)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"capacity": capacity, "allocatable": capacity},
    }


def takes_pods(node: dict[str, Any]) -> bool:
    """Whether the node is Ready and the node-lifecycle controller has taken its not-ready taint away.

    >>> ready = [{"type": "Ready", "status": "True"}]
    >>> takes_pods({"spec": {}, "status": {"conditions": ready}})
    True
    >>> takes_pods({"spec": {"taints": [{"key": "node.kubernetes.io/not-ready"}]}, "status": {"conditions": ready}})
    False
    """
    conditions = {each["type"]: each["status"] for each in node["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and not node["spec"].get("taints")
