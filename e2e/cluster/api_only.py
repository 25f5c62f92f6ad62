"""Level 1: etcd and a real kube-apiserver on loopback, in a temporary folder; no controller runs, so no pod appears.

    with ApiServer() as api:
        api.apply(manifest)
        kubernetes.config.load_kube_config(str(api.kubeconfig))

Several may run beside each other. It must not know of nodes or controllers: `control_plane` adds those.
"""

from __future__ import annotations

import shutil
import ssl
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from e2e.cluster import build
from e2e.cluster.certs import Authority, Pair, write_kubeconfig
from e2e.cluster.client import Client
from e2e.cluster.process import Child, free_ports, wait_until

_START_SECONDS = 60.0
_ISSUER = "https://kubernetes.default.svc.cluster.local"
_SERVER_NAMES = ("127.0.0.1", "10.96.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_AUDIT_POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class ApiServer(Client):
    """etcd and kube-apiserver as a context manager.

    Attributes:
        folder: Everything it writes; removed on exit unless it was given.
        url: Where the API server listens.
        kubeconfig: Of an administrator.
    """

    tools: tuple[str, ...] = build.API_TOOLS
    service_accounts = False  # without their controller no namespace has one, and every pod would be refused

    def __init__(self, *, folder: Path | None = None, audit: bool = False) -> None:
        super().__init__()
        self._keep = folder is not None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="modelfleet-api-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._audit = audit
        self.children: list[Child] = []
        self.kubeconfig = self.folder / "admin.kubeconfig"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def audit_log(self) -> Path:
        """One JSON event a line, at Metadata level; written only with `audit=True`."""
        return self.folder / "audit.log"

    def start(self) -> None:
        """Starts everything and returns when the API answers.

        Raises:
            ProcessError: Something died or was not ready in a minute.
        """
        programs = build.ensure(self.tools)
        etcd_port, peer_port, port = free_ports(3)
        self.url = f"https://127.0.0.1:{port}"
        etcd = Child(
            name="etcd",
            argv=[str(programs["etcd"]), *self._etcd_flags(port=etcd_port, peer_port=peer_port)],
            log=self.folder / "etcd.log",
        )
        self.children.append(etcd)
        etcd.start()
        self._authority = Authority.create(self.folder / "pki")
        flags = self._apiserver_flags(port=port, etcd_port=etcd_port)
        self._apiserver = Child(
            name="kube-apiserver",
            argv=[str(programs["kube-apiserver"]), *flags],
            log=self.folder / "kube-apiserver.log",
        )
        self.children.append(self._apiserver)
        self._apiserver.start()
        admin = self._authority.issue(stem="admin", common_name="admin", organizations=["system:masters"])
        write_kubeconfig(path=self.kubeconfig, server=self.url, authority=self._authority, client=admin)
        self._http = httpx.Client(base_url=self.url, verify=self._tls(admin), timeout=30.0, trust_env=False)
        self._await_ready()

    def stop(self) -> None:
        """Stops what was started, last first, and removes the folder unless it was given."""
        self.close()
        # the API server takes seconds to let its watchers go, and nothing in a test cluster is worth that
        for child in reversed(self.children):
            child.stop(grace_seconds=0.1)
        self.children.clear()
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def restart_apiserver(self) -> None:
        """Stops the API server hard and starts it on the same port, over the same etcd."""
        self.stop_apiserver()
        self.start_apiserver()

    def stop_apiserver(self) -> None:
        """Takes the API server away until `start_apiserver`."""
        self._apiserver.stop(grace_seconds=0.1)

    def start_apiserver(self) -> None:
        """Brings the API server back and returns when it answers."""
        self._apiserver.start()
        self._await_ready()

    def user_kubeconfig(self, name: str, groups: Sequence[str] = (), *, cluster_role: str | None = None) -> Path:
        """Writes the kubeconfig of a user with a client certificate of its own.

        Args:
            name: User name, as audit events and RBAC see it.
            groups: Groups of the user.
            cluster_role: Bound to the user cluster-wide, such as `cluster-admin`; by default the user may do nothing.
                Aggregated roles such as `view` are empty at level 1: a controller fills them.
        """
        stem = name.replace(":", "-").replace("/", "-")
        client = self._authority.issue(stem=f"user-{stem}", common_name=name, organizations=groups)
        path = self.folder / f"{stem}.kubeconfig"
        write_kubeconfig(path=path, server=self.url, authority=self._authority, client=client)
        if cluster_role is not None:
            self.apply(_cluster_role_binding(user=name, cluster_role=cluster_role))
            self._await_binding(user=name, cluster_role=cluster_role)
        return path

    def _await_binding(self, *, user: str, cluster_role: str) -> None:
        """Waits until the authorizer has seen the binding, which it learns by a watch of its own."""
        answer = self.http.get(f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{cluster_role}")
        rules = [rule for rule in answer.json()["rules"] or [] if rule.get("resources")]
        if not rules:
            raise ValueError(f"ClusterRole {cluster_role} allows no resource: bind another")
        group, resource, verb = (rules[0][key][0] for key in ("apiGroups", "resources", "verbs"))
        spec = {"user": user, "resourceAttributes": {"group": group, "resource": resource, "verb": verb}}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}

        def allowed() -> bool:
            reviewed = self.http.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review)
            return bool(reviewed.json()["status"]["allowed"])

        wait_until(allowed, what=f"{user}'s right to {verb} {resource}", seconds=60.0)

    def _await_ready(self) -> None:
        wait_until(self._ready, what="the API server's readiness", seconds=_START_SECONDS, watched=self.children)

    def _ready(self) -> bool:
        try:
            # the namespace is made by a background loop that /readyz does not wait for
            return self.http.get("/readyz").is_success and self.http.get("/api/v1/namespaces/default").is_success
        except httpx.TransportError:
            return False

    def _tls(self, client: Pair) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._authority.cert))
        context.load_cert_chain(client.cert, client.key)
        return context

    def _etcd_flags(self, *, port: int, peer_port: int) -> list[str]:
        client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
        return [
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _apiserver_flags(self, *, port: int, etcd_port: int) -> list[str]:
        serving = self._authority.issue(stem="apiserver", common_name="kube-apiserver", names=_SERVER_NAMES)
        signing = self._authority.signing_key(stem="service-account")
        flags = [
            f"--etcd-servers=http://127.0.0.1:{etcd_port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={port}",
            "--endpoint-reconciler-type=none",  # a loopback address cannot be an endpoint
            f"--tls-cert-file={serving.cert}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self._authority.cert}",
            f"--service-account-issuer={_ISSUER}",
            f"--service-account-key-file={signing}",
            f"--service-account-signing-key-file={signing}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--profiling=false",
            "--shutdown-delay-duration=0s",
        ]
        if not self.service_accounts:
            flags.append("--disable-admission-plugins=ServiceAccount")
        if self._audit:
            policy = self.folder / "audit-policy.yaml"
            policy.write_text(yaml.safe_dump(_AUDIT_POLICY))
            flags += [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}"]
            flags.append("--audit-log-maxsize=4000")  # MiB: a log that rotates loses what is to be counted
        return flags


def _cluster_role_binding(*, user: str, cluster_role: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{user}-{cluster_role}"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": cluster_role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }
