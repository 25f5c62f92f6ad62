"""LLMDeployments that were stored under an older CRD: the present one takes over, and nobody notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.paths import CRD_DIR
from tests.api.fleet import Fleet, Operator

pytestmark = pytest.mark.slow

OLDER_CRD = Path(__file__).parent / "older_crd"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/llmdeployments.modelfleet.dev"
SPECS = {
    "plain": {"replicas": 2},
    "scaled": {"scaling": {"minReplicas": 2, "maxReplicas": 4, "metrics": [{"type": "InFlight", "target": 40}]}},
    "detailed": {
        "replicas": 1,
        "engine": {"args": ["--max-model-len=512"], "env": [{"name": "A", "value": "b"}]},
        "accelerator": {"count": 2},
        "parallelism": {"tensor": 2},
        "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "8Gi"}},
        "rollout": {"capacity": "InPlace", "maxUnavailable": 1, "revisionHistoryLimit": 2},
        "drain": {"timeoutSeconds": 30},
        "template": {"spec": {"nodeSelector": {"kubernetes.io/os": "linux"}, "containers": [{"name": "engine"}]}},
    },
}
REPLICAS = {"plain": 2, "scaled": 2, "detailed": 1}


@pytest.fixture(scope="module")
def plane():
    """A control plane of its own: the CRD of the others stays as it is."""
    with ControlPlane(audit=True) as plane:
        plane.apply_files(OLDER_CRD)
        yield plane


def fields(plane):
    (version,) = plane.http.get(CRD).json()["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]


def pods(fleet):
    return {p["metadata"]["uid"]: p["metadata"]["resourceVersion"] for name in SPECS for p in fleet.pods(name)}


def stored(fleet):
    """What each LLMDeployment says, and the revision that it became."""
    bodies = {name: fleet.get("llmdeployments", name) for name in SPECS}
    return {
        name: (body["spec"], body["metadata"]["generation"], [r["hash"] for r in body["status"]["revisions"]])
        for name, body in bodies.items()
    }


def test_objects_of_an_older_crd_are_readable_and_patchable_and_nothing_restarts(plane, tmp_path):
    fleet = Fleet(plane=plane, namespace="stored")
    settings = {"namespace": "stored", "watch_namespaces": "stored", "debounce_seconds": "0.1"}
    operator = Operator(plane=plane, folder=tmp_path, user="operator-stored", **settings)
    with operator:
        for name, spec in SPECS.items():
            fleet.apply(name, **spec)
        for name, count in REPLICAS.items():
            fleet.await_settled(name, replicas=count)
    assert "suspend" not in fields(plane)
    before, serving, written = stored(fleet), pods(fleet), operator.writes()

    plane.apply_files(CRD_DIR)
    assert "suspend" in fields(plane)
    assert stored(fleet) == before
    with operator:
        fleet.until(lambda: operator.leads and operator.passes >= len(SPECS), what="a pass over all")
        assert operator.writes() == written
        assert pods(fleet) == serving
        for name, spec in SPECS.items():
            fleet.apply(name, **spec)  # as a Git repository does again and again
        assert stored(fleet) == before
        fleet.patch("llmdeployments", "plain", {"spec": {"suspend": True}})  # a field that is new
        fleet.until(lambda: fleet.condition("Suspended", "plain") == ("True", "Suspended"), what="Suspended=True")
        fleet.patch("llmdeployments", "scaled", {"spec": {"scaling": {"mode": "Advise"}}})
        generation = fleet.get("llmdeployments", "scaled")["metadata"]["generation"]
        fleet.until(lambda: fleet.status("scaled")["observedGeneration"] == generation, what="a look at the new field")
        assert pods(fleet) == serving
        assert {name: hashes for name, (_, _, hashes) in stored(fleet).items()} == {
            name: hashes for name, (_, _, hashes) in before.items()
        }
        plane.kubectl("scale", "llmdep/detailed", "--replicas=2", "-n", "stored")
        fleet.await_settled("detailed", replicas=2)
        assert serving.items() <= pods(fleet).items()
