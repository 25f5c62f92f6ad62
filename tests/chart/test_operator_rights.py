"""The real operator with exactly the rights and settings that the chart gives it: nothing it asks for is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import audit, gateway_api
from e2e.cluster.api_only import ApiServer
from e2e.cluster.process import free_ports, wait_until
from tests.chart.helm import CHART, NAMESPACE, RELEASE, ROOT

pytestmark = pytest.mark.slow

NOT_FOUND = 404
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
COLLECTIONS = {
    "deployments": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "controllerrevisions": "/apis/apps/v1/namespaces/{namespace}/controllerrevisions",
    "services": "/api/v1/namespaces/{namespace}/services",
    "poddisruptionbudgets": "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets",
    "networkpolicies": "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
    "events": "/api/v1/namespaces/{namespace}/events",
}


@contextmanager
def operator(api: ApiServer, folder: Path) -> Iterator[None]:
    """The operator as a process, with the environment of the installed Deployment and its account's rights."""
    deployment = api.http.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}").json()
    given = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    settings = {entry["name"]: entry.get("value", "") for entry in given}
    settings |= {"MODELFLEET_NAMESPACE": NAMESPACE, "MODELFLEET_METRICS_PORT": str(free_ports(1)[0])}
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "KUBECONFIG": str(api.user_kubeconfig(ACCOUNT)),
        **settings,
    }
    log = folder / "operator.log"
    with log.open("w") as out:
        argv = [sys.executable, "-m", "modelfleet", "operator"]
        process = subprocess.Popen(argv, env=env, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield
        except BaseException:
            sys.stderr.write(log.read_text()[-4000:])
            raise
        finally:
            process.terminate()
            process.wait(timeout=60)


def owned(api: ApiServer, namespace: str, name: str) -> dict[str, list[dict[str, Any]]]:
    """What exists for an LLMDeployment, by kind."""
    found = {kind: api.http.get(path.format(namespace=namespace)).json() for kind, path in COLLECTIONS.items()}
    return {
        kind: [item for item in answer["items"] if item["metadata"]["name"].startswith(name)]
        for kind, answer in found.items()
    }


def route_and_leave(api: ApiServer, namespace: str) -> None:
    """Has an HTTPRoute made, changed and taken away again."""
    path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes/tiny"

    def route_by(provider: str, hostnames: list[str]) -> None:
        words = {"parentRefs": [{"name": "edge"}], "hostnames": hostnames} if provider == "GatewayAPI" else None
        patch = {"spec": {"routing": {"provider": provider, "gatewayAPI": words}}}
        arguments = ("--type=merge", f"--patch={json.dumps(patch)}")
        api.kubectl("patch", "--namespace", namespace, "llmdeployment/tiny", *arguments)

    for names in ([], ["tiny.test"]):
        route_by("GatewayAPI", names)
        wait_until(
            lambda wanted=names: api.http.get(path).json().get("spec", {}).get("hostnames") == wanted,
            what=f"a route with the host names {names}",
            seconds=90.0,
        )
    route_by("Service", [])
    wait_until(lambda: api.http.get(path).status_code == NOT_FOUND, what="the route's end", seconds=90.0)


@pytest.mark.parametrize(
    ("namespace", "values"),
    [("everywhere", ""), ("listed", "watchNamespaces={listed},nodes.enabled=false,aggregateRoles.enabled=false")],
    ids=["all namespaces", "listed namespaces"],
)
def test_the_operator_does_its_work_and_is_refused_nothing(api, helm, tmp_path, namespace, values):
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    for crd in gateway_api.crds("httproutes"):
        api.apply(crd)
    helm(
        "upgrade",
        "--install",
        RELEASE,
        str(CHART),
        "--create-namespace",
        "--reset-values",
        *(["--set", values] if values else []),
    )
    with operator(api, tmp_path):
        api.kubectl("apply", "--namespace", namespace, "--filename", str(ROOT / "examples" / "cpu.yaml"))
        wait_until(
            lambda: all(owned(api, namespace, "tiny").values()), what="every kind of owned object", seconds=180.0
        )
        api.kubectl("scale", "--namespace", namespace, "llmdeployment/tiny", "--replicas=2")
        wait_until(
            lambda: owned(api, namespace, "tiny")["deployments"][0]["spec"]["replicas"] == 2,
            what="two replicas in the Deployment",
            seconds=90.0,
        )
        route_and_leave(api, namespace)
    assert audit.refused(api.audit_log, user=ACCOUNT) == set()
