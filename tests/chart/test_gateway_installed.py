"""The gateway's part of the chart in a real API server: certificates that stay, and rights that are just enough."""

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from e2e.cluster.api_only import ApiServer
from e2e.cluster.process import wait_until
from tests.chart.helm import NAMESPACE, RELEASE
from tests.chart.test_install import CHART, install
from tests.gateway.cluster import GatewayProcess

pytestmark = pytest.mark.slow

CONTROL = f"{RELEASE}-gateway-control"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{CONTROL}"


def secrets(api: ApiServer) -> dict[str, Any]:
    names = (f"{CONTROL}-tls", f"{RELEASE}-gateway-tls")
    return {name: api.http.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}").json()["data"] for name in names}


def as_account(api: ApiServer, path: Path) -> Path:
    """A kubeconfig with a token of the control process' account: its name is too long for a certificate's."""
    config = yaml.safe_load(api.kubeconfig.read_text())
    token = api.kubectl("create", "token", CONTROL, "--namespace", NAMESPACE).strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path.write_text(yaml.safe_dump(config))
    return path


def test_an_upgrade_keeps_the_certificates(api, helm):
    install(helm)
    before = secrets(api)
    install(helm, CHART, "--set", "gateway.drainSeconds=60")
    assert secrets(api) == before


def test_an_upgrade_leaves_the_number_of_envoys_to_the_autoscaler(api, helm):
    """Also when the release had a number of its own before."""
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}-gateway"

    def autoscaled(replicas: int) -> None:
        scale = {"spec": {"replicas": replicas}}
        kind = {"Content-Type": "application/merge-patch+json"}
        manager = {"fieldManager": "horizontal-pod-autoscaler"}
        api.http.patch(f"{path}/scale", json=scale, headers=kind, params=manager).raise_for_status()

    install(helm)
    assert api.http.get(path).json()["spec"]["replicas"] == 2
    autoscaled(7)
    install(helm, CHART, "--set", "gateway.envoy.replicas=null")
    assert api.http.get(path).json()["spec"]["replicas"] == 7
    autoscaled(5)
    install(helm, CHART, "--set", "gateway.envoy.replicas=null,gateway.drainSeconds=60")
    assert api.http.get(path).json()["spec"]["replicas"] == 5
    # The autoscaler owns the number from now on; the tests after this one have a number of their own.
    helm("uninstall", RELEASE)
    wait_until(lambda: not api.http.get(path).is_success, what="the end of the gateway", seconds=60)


def test_a_gateway_that_is_to_stay_outlives_the_release_and_is_taken_back(api, helm):
    def uid() -> str:
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}-gateway"
        return str(api.http.get(path).json().get("metadata", {}).get("uid", ""))

    assert "The gateway goes: http://" in install(helm)
    assert "The gateway stays too: http://" in install(helm, CHART, "--set", "gateway.keepOnUninstall=true")
    before, keys = uid(), secrets(api)
    helm("uninstall", RELEASE)
    assert (uid(), secrets(api)) == (before, keys)
    assert "The gateway goes" in install(helm)
    assert (uid(), secrets(api)) == (before, keys), "taken back as it was"
    helm("uninstall", RELEASE)
    wait_until(lambda: uid() == "", what="the end of the gateway", seconds=60)


@pytest.mark.parametrize("values", ["gateway.access=AnyKey", f"watchNamespaces={{{NAMESPACE}}}"])
def test_the_control_process_can_see_all_that_it_must_and_no_other_secret(
    api: ApiServer, helm: Any, tmp_path: Path, values: str
):
    install(helm, CHART, "--set", f"{values},gateway.tls.secretName=edge")
    deployment = api.http.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{CONTROL}").json()
    given = {e["name"]: e.get("value", "") for e in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    own = {"MODELFLEET_ADS_PORT", "MODELFLEET_METRICS_PORT", "MODELFLEET_ADS_TLS_DIR"}
    settings = {name: value for name, value in given.items() if value and name not in own}
    process = GatewayProcess(
        kubeconfig=as_account(api, tmp_path / "kubeconfig"),
        folder=tmp_path,
        namespace=NAMESPACE,
        settings={"MODELFLEET_WATCH_NAMESPACES": "", **settings},
    )
    wait_until(lambda: may(api, "watch", "secrets", NAMESPACE), what="the right to watch keys", seconds=60)
    process.start()
    try:
        assert process.report()["models"] is not None, "it serves once every listing was allowed"
    finally:
        process.child.stop()
    assert not may(api, "list", "secrets", "default")
    assert not may(api, "get", "secrets", NAMESPACE)
    assert not may(api, "patch", "pods", NAMESPACE)


def may(api: ApiServer, verb: str, resource: str, namespace: str) -> bool:
    attributes = {"verb": verb, "resource": resource, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": ACCOUNT, "resourceAttributes": attributes},
    }
    answer: httpx.Response = api.http.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review)
    return bool(answer.json()["status"]["allowed"])
