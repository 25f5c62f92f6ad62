"""The command lines of everything that runs inside the namespaces.

Sits below `whole` and is pure. Two files order the start: `apiserver-ready` lets its clients begin,
`addons` lets those begin that need rights which add-ons bring.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from e2e.cluster import pod_discovery
from e2e.cluster.netns import ADDRESS, POD_CIDR, SERVICE_CIDR, Daemon
from e2e.cluster.node_config import NODE
from e2e.cluster.paths import REPOSITORY

SERVER = f"https://{ADDRESS}:6443"
ETCD = "http://127.0.0.1:2379"
ISSUER = "https://kubernetes.default.svc.cluster.local"
USERS = {
    "admin": ("modelfleet-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "kube-router": ("kube-router", ""),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
}
"""Client certificates: name of the kubeconfig to common name and organisation."""


def python_module(name: str, *flags: str) -> Daemon:
    """A daemon written in Python: a module of this clone, run by the interpreter that has its dependencies."""
    env = (("PYTHONPATH", str(REPOSITORY)), ("PYTHONDONTWRITEBYTECODE", "1"))
    # One name for it, whichever of its links started this: the command line identifies the cluster.
    argv = (f"{sys.prefix}/bin/python", "-m", name, *flags)
    return Daemon(name=name.rpartition(".")[2], argv=argv, after="apiserver-ready", env=env)


def daemons(*, root: Path, tool: Callable[[str], Path]) -> list[Daemon]:
    """Every daemon of a whole cluster.

    Args:
        root: The cluster's state folder.
        tool: Gives the path of a built program by its name.
    """
    pki, conf = root / "pki", root / "kubeconfig"

    def part(name: str, *flags: str, after: str = "apiserver-ready") -> Daemon:
        return Daemon(name=name, argv=(str(tool(name)), *flags), after=after)

    return [
        part("etcd", *_etcd(root=root), after=""),
        Daemon(name="containerd", argv=("/usr/bin/containerd", "--config", f"{root}/containerd.toml")),
        part("kube-apiserver", *_apiserver(pki=pki), after=""),
        part("kube-controller-manager", *_controller_manager(pki=pki, conf=conf)),
        part("kube-scheduler", f"--kubeconfig={conf}/kube-scheduler", "--leader-elect=false"),
        part(
            "kubelet",
            f"--config={root}/kubelet.json",
            f"--kubeconfig={conf}/kubelet",
            f"--node-ip={ADDRESS}",
            f"--hostname-override={NODE}",
        ),
        part(
            "kube-proxy",
            "--proxy-mode=nftables",
            f"--kubeconfig={conf}/kube-proxy",
            f"--cluster-cidr={POD_CIDR}",
            f"--hostname-override={NODE}",
            # The host's limits are not ours to raise.
            "--conntrack-max-per-core=0",
            f"--nodeport-addresses={ADDRESS}/32",
        ),
        python_module(
            "e2e.cluster.pod_discovery",
            f"--listen={ADDRESS}:{pod_discovery.PORT}",
            f"--server={SERVER}",
            f"--pki={pki}",
        ),
        part(
            "kube-router",
            f"--kubeconfig={conf}/kube-router",
            f"--hostname-override={NODE}",
            "--run-firewall=true",
            "--run-router=false",
            "--run-service-proxy=false",
            "--run-loadbalancer=false",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            after="addons",
        ),
    ]


def _etcd(*, root: Path) -> tuple[str, ...]:
    return (
        f"--data-dir={root}/etcd",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        # Tests need no durability beyond a killed process, and disks of build machines are slow.
        "--unsafe-no-fsync",
    )


def _apiserver(*, pki: Path) -> tuple[str, ...]:
    return (
        f"--bind-address={ADDRESS}",
        f"--advertise-address={ADDRESS}",
        f"--etcd-servers={ETCD}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={pki}/service-account.pub",
        f"--service-account-signing-key-file={pki}/service-account.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/admin.crt",
        f"--kubelet-client-key={pki}/admin.key",
        "--kubelet-preferred-address-types=InternalIP",
    )


def _controller_manager(*, pki: Path, conf: Path) -> tuple[str, ...]:
    return (
        f"--kubeconfig={conf}/kube-controller-manager",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={pki}/service-account.key",
        f"--root-ca-file={pki}/ca.crt",
        "--allocate-node-cidrs",
        f"--cluster-cidr={POD_CIDR}",
        # The only node: its pods must not wait 40 s to be known lost after a kill.
        "--node-monitor-grace-period=20s",
    )
