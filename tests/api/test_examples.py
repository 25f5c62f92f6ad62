"""Every manifest of examples/ is admitted as it stands, by a real kube-apiserver."""

import json
from pathlib import Path

import pytest
import yaml

from e2e.cluster.api_only import ApiServer

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
ARGO_CD = FOLDER / "argocd"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_applied_with_strict_field_validation(api: ApiServer, example: Path) -> None:
    api.kubectl("apply", "--server-side", "--validate=strict", "--dry-run=server", f"--filename={example}")


def test_the_patch_of_argo_cds_configuration_is_taken(api: ApiServer) -> None:
    api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": {"url": "kept"}})
    patched = api.kubectl("patch", "configmap", "argocd-cm", f"--patch-file={ARGO_CD / 'argocd-cm.yaml'}", "-o", "json")
    added = set(yaml.safe_load((ARGO_CD / "argocd-cm.yaml").read_text())["data"])
    assert set(json.loads(patched)["data"]) == {"url", *added}


def test_what_argo_cd_shall_not_undo_is_a_field_that_an_hpa_writes(api: ApiServer) -> None:
    """Argo CD's own schema is not here: this is what the Application says of ours."""
    application = yaml.safe_load((ARGO_CD / "application.yaml").read_text())
    crd = api.http.get(f"{CRDS}/llmdeployments.modelfleet.dev").json()["spec"]
    ignored = application["spec"]["ignoreDifferences"]
    assert [(one["group"], one["kind"]) for one in ignored] == [(crd["group"], crd["names"]["kind"])]
    scaled = crd["versions"][0]["subresources"]["scale"]["specReplicasPath"]
    assert ignored[0]["jsonPointers"] == [scaled.replace(".", "/")]
    assert "RespectIgnoreDifferences=true" in application["spec"]["syncPolicy"]["syncOptions"], "else a sync undoes it"


def test_there_are_examples() -> None:
    assert EXAMPLES
