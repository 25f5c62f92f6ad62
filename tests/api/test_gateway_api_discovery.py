"""A cluster without the Gateway API, which then gets it, and loses it again: nothing crashes, and status says which."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.cluster import gateway_api
from e2e.cluster.api_only import ApiServer
from e2e.cluster.paths import CRD_DIR
from e2e.cluster.process import wait_until
from tests.api.fleet import Operator
from tests.api.played_gateway import routing

pytestmark = pytest.mark.slow

DEPLOYMENT = "/apis/modelfleet.dev/v1alpha1/namespaces/default/llmdeployments/chat"
ROUTE = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/chat"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/httproutes.gateway.networking.k8s.io"


@pytest.fixture(scope="module")
def api():
    with ApiServer() as server:
        server.apply_files(CRD_DIR)
        yield server


@pytest.fixture
def operator(api, tmp_path):
    settings = {"discovery_seconds": "0.5", "read_nodes": "false"}
    with Operator(plane=api, folder=tmp_path, user="admin", kubeconfig=api.kubeconfig, **settings) as running:
        yield running


def condition(api: ApiServer) -> dict[str, Any]:
    said = api.http.get(DEPLOYMENT).json().get("status", {}).get("conditions", [])
    return next((one for one in said if one["type"] == "RouteAccepted"), {})


def test_the_api_is_found_when_it_comes_and_missed_when_it_goes(api, operator):
    def reason(wanted: str) -> None:
        wait_until(lambda: condition(api).get("reason") == wanted, what=f"{wanted} (log: {operator.log})", seconds=60)

    pid = operator.pid
    manifest = {
        "apiVersion": "modelfleet.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": "chat", "namespace": "default"},
        "spec": {"model": {"uri": "hf://org/model"}, "replicas": 1, "routing": routing()},
    }
    api.apply(manifest)
    reason("GatewayAPIMissing")
    assert condition(api)["status"] == "False"
    assert "install the Gateway API" in condition(api)["message"]
    for crd in gateway_api.crds("httproutes"):
        api.apply(crd)
    reason("AwaitingGateway")
    assert api.http.get(ROUTE).is_success
    api.http.delete(ROUTE).raise_for_status()
    wait_until(lambda: api.http.get(ROUTE).is_success, what="the deleted route, made again", seconds=60)
    api.http.delete(CRD).raise_for_status()
    reason("GatewayAPIMissing")
    assert operator.pid == pid
    assert operator.ready()
