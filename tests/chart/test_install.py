"""The chart in a real API server: install, use, upgrade, uninstall. No controller runs, so nothing becomes ready."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.api_only import ApiServer
from e2e.cluster.process import wait_until
from tests.chart.helm import CHART, NAMESPACE, RELEASE, ROOT

pytestmark = pytest.mark.slow

MODELS = "/apis/modelfleet.dev/v1alpha1/namespaces/default/llmdeployments"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/llmdeployments.modelfleet.dev"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"


def install(helm, chart: Path = CHART, *arguments: str) -> str:
    return helm("upgrade", "--install", RELEASE, str(chart), "--create-namespace", "--reset-values", *arguments)


def spec_fields(api: ApiServer) -> set[str]:
    (version,) = api.http.get(CRD).json()["spec"]["versions"]
    return set(version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"])


def may(
    api: ApiServer, verb: str, resource: str, *, namespace: str = "default", name: str = "", group: str = ""
) -> bool:
    """Whether the API server lets the operator's account do it."""
    resource, _, subresource = resource.partition("/")
    attributes = {
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": subresource,
        "namespace": namespace,
        "name": name,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": OPERATOR, "resourceAttributes": attributes},
    }
    answer = api.http.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review)
    return bool(answer.json()["status"]["allowed"])


def granted(api: ApiServer, verb: str, resource: str, **where: str) -> None:
    """Waits for the right: the authorizer learns of roles and bindings by a watch of its own."""
    wait_until(lambda: may(api, verb, resource, **where), what=f"the right to {verb} {resource} {where}", seconds=60.0)


def refused(api: ApiServer, verb: str, resource: str, **where: str) -> None:
    """Waits for the right to be gone: rights of the test before may linger a moment."""
    wait_until(lambda: not may(api, verb, resource, **where), what=f"no {verb} {resource} {where}", seconds=60.0)


def examples() -> list[dict[str, Any]]:
    files = sorted((ROOT / "examples").glob("*.yaml"))
    found = [d for path in files for d in yaml.safe_load_all(path.read_text()) if d]
    return [d for d in found if d["kind"] == "LLMDeployment"]


def test_uninstall_keeps_the_crd_and_every_llmdeployment_and_install_takes_them_back(api, helm):
    printed = install(helm)
    assert "prometheus.url is empty" in printed
    for example in examples():
        api.kubectl("apply", "--namespace=default", "--filename=-", stdin=json.dumps(example))
    before = {item["metadata"]["uid"] for item in api.http.get(MODELS).json()["items"]}
    assert len(before) == len(examples())

    helm("uninstall", RELEASE)

    assert api.http.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}").status_code == 404
    assert {item["metadata"]["uid"] for item in api.http.get(MODELS).json()["items"]} == before
    install(helm)
    assert {item["metadata"]["uid"] for item in api.http.get(MODELS).json()["items"]} == before


def test_upgrade_from_an_older_crd_adds_its_fields_and_keeps_the_objects(api, helm, tmp_path):
    older = shutil.copytree(CHART, tmp_path / "older")
    (path,) = (older / "files" / "crds").glob("*.yaml")
    crd = yaml.safe_load(path.read_text())
    del crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["suspend"]
    path.write_text(yaml.safe_dump(crd))
    install(helm, older)
    assert "suspend" not in spec_fields(api)
    api.kubectl("apply", "--namespace=default", "--filename", str(ROOT / "examples" / "scaling.yaml"))

    install(helm)

    assert "suspend" in spec_fields(api)
    assert api.http.get(f"{MODELS}/support").is_success


def test_the_operator_may_do_its_work_and_nothing_beyond(api, helm):
    install(helm)
    granted(api, "watch", "llmdeployments", group="modelfleet.dev")
    granted(api, "patch", "llmdeployments/status", group="modelfleet.dev")
    granted(api, "create", "deployments", group="apps")
    granted(api, "patch", "deployments/scale", group="apps")
    granted(api, "list", "nodes", namespace="")
    granted(api, "update", "leases", group="coordination.k8s.io", namespace=NAMESPACE, name=RELEASE)

    refused(api, "patch", "llmdeployments", group="modelfleet.dev")
    refused(api, "get", "secrets", namespace=NAMESPACE)
    refused(api, "list", "secrets", namespace="")
    refused(api, "delete", "pods")
    refused(api, "patch", "nodes", namespace="")
    refused(api, "update", "leases", group="coordination.k8s.io", namespace=NAMESPACE, name="other")
    refused(api, "get", "leases", group="coordination.k8s.io", namespace="kube-system", name="kube-scheduler")


def test_with_watch_namespaces_it_may_work_there_and_nowhere_else(api, helm):
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}})
    install(helm, CHART, "--set", "watchNamespaces={team-a},nodes.enabled=false")
    granted(api, "create", "deployments", group="apps", namespace="team-a")
    refused(api, "create", "deployments", group="apps")
    refused(api, "list", "llmdeployments", group="modelfleet.dev", namespace="")
    refused(api, "list", "nodes", namespace="")
