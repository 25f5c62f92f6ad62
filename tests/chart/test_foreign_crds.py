"""What the chart makes for others to act on, judged by their own CRDs in a real API server: no field they do not know."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster import build
from e2e.cluster.api_only import ApiServer
from tests.chart.helm import NAMESPACE, kinds, render

CERT_MANAGER = "github.com/cert-manager/cert-manager"
PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator"


def crds(*, module: str, path: str, folder: str, names: tuple[str, ...]) -> list[Path]:
    source = build.module_dir(module=module, path=path) / folder
    return [source / name for name in names]


def taken(api: ApiServer, manifests: list[dict[str, Any]]) -> set[str]:
    """Which kinds the API server takes, every field of them known to it."""
    text = yaml.safe_dump_all(manifests)
    said = api.kubectl("create", "--validate=strict", "--dry-run=server", "-o", "name", "-f", "-", stdin=text)
    return {line.partition(".")[0].partition("/")[0] for line in said.split()}


@pytest.fixture(scope="module")
def namespaced(api: ApiServer) -> ApiServer:
    api.kubectl("apply", "-f", "-", stdin=f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}")
    return api


def test_cert_manager_takes_the_issuers_and_certificates(namespaced):
    names = ("cert-manager.io_certificates.yaml", "cert-manager.io_issuers.yaml")
    for path in crds(module="cert-manager", path=CERT_MANAGER, folder="deploy/crds", names=names):
        namespaced.kubectl("apply", "--server-side", "-f", str(path))
    namespaced.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    rendered = render(gateway={"certificates": "CertManager"})
    made = [m for m in rendered if m["apiVersion"].startswith("cert-manager.io/")]
    assert {m["kind"] for m in made} == {"Issuer", "Certificate"}
    assert taken(namespaced, made) == {"issuer", "certificate"}


def test_the_prometheus_operator_takes_the_pod_monitors(namespaced):
    names = ("monitoring.coreos.com_podmonitors.yaml",)
    folder = "example/prometheus-operator-crd"
    for path in crds(module="prometheus-operator", path=PROMETHEUS_OPERATOR, folder=folder, names=names):
        namespaced.kubectl("apply", "--server-side", "-f", str(path))
    namespaced.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    rendered = render(metrics={"podMonitor": {"enabled": True, "labels": {"release": "kps"}}}, watchNamespaces=["a"])
    assert "PodMonitor" in kinds(rendered)
    assert taken(namespaced, [m for m in rendered if m["kind"] == "PodMonitor"]) == {"podmonitor"}
