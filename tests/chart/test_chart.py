"""What the chart installs, rendered by the real helm."""

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from modelfleet.settings import PREFIX, Settings, load
from tests.chart.helm import CHART, NAMESPACE, ROOT, Manifest, kinds, only, operator_part, render, text

EVERYTHING: dict[str, Any] = {
    "watchNamespaces": ["team-a", "team-b"],
    "imagePullSecrets": ["registry"],
    "image": {"repository": "example.org/operator", "digest": "sha256:" + "0" * 64},
    "prometheus": {
        "url": "https://prometheus:9090",
        "headersSecret": "headers",
        "caSecret": "ca",
        "timeoutSeconds": 2.5,
    },
    "engines": {
        "networkPolicy": {
            "prometheusNamespaces": ["monitoring"],
            "admit": [{"podSelector": {"matchLabels": {"app": "a"}}}],
        }
    },
    "metrics": {"port": 9000, "service": {"enabled": True, "annotations": {"a": "b"}}},
    "serviceAccount": {"create": True, "name": "mf", "annotations": {"a": "b"}},
    "nodeSelector": {"pool": "system"},
    "tolerations": [{"key": "system", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "system-cluster-critical",
    "podLabels": {"team": "platform"},
    "podAnnotations": {"note": "x"},
    "extraEnv": [{"name": "MODELFLEET_LOG_LEVEL", "value": "debug"}],
}
MINIMAL: dict[str, Any] = {
    "replicas": 1,
    "crds": {"install": False},
    "nodes": {"enabled": False},
    "aggregateRoles": {"enabled": False},
    "metrics": {"podAnnotations": False, "service": {"enabled": False}},
    "serviceAccount": {"create": False, "name": "existing"},
    "topologyKey": "",
}
VARIANTS = pytest.mark.parametrize("values", [{}, EVERYTHING, MINIMAL], ids=["defaults", "everything", "minimal"])


def container(manifests: tuple[Manifest, ...]) -> Manifest:
    return only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]


def env(manifests: tuple[Manifest, ...]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container(manifests)["env"]}


@VARIANTS
def test_every_manifest_is_what_kubernetes_defines(values):
    for manifest in render(**values):
        kubernetes_validate.validate(manifest, desired_version="1.34", strict=True)


def test_helm_lints_the_chart_without_a_warning():
    printed = text("lint")
    assert "0 chart(s) failed" in printed
    assert "WARNING" not in printed


@VARIANTS
def test_pods_fulfil_the_restricted_standard(values):
    pod = only(operator_part(**values), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = pod["containers"][0]["securityContext"]
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all({"emptyDir", "secret"} & set(volume) for volume in pod["volumes"])


def test_two_replicas_are_spread_probed_and_kept_during_drains():
    manifests = operator_part()
    deployment = only(manifests, "Deployment")
    pod = deployment["spec"]["template"]
    assert deployment["spec"]["replicas"] == 2
    assert pod["spec"]["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "ScheduleAnyway"
    assert container(manifests)["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container(manifests)["readinessProbe"]["httpGet"]["path"] == "/readyz"
    budget = only(manifests, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_one_replica_has_no_budget_that_would_block_a_drain():
    assert "PodDisruptionBudget" not in kinds(operator_part(replicas=1))


def test_the_metrics_service_finds_the_pods_and_the_documented_scrape_does_too():
    manifests = operator_part(metrics={"port": 9000})
    pod = only(manifests, "Deployment")["spec"]["template"]
    service = only(manifests, "Service")["spec"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    assert service["ports"][0]["port"] == container(manifests)["ports"][0]["containerPort"] == 9000
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == "9000"
    assert env(manifests)["MODELFLEET_METRICS_PORT"] == "9000"


def test_values_reach_the_operator_as_settings():
    settings = env(operator_part(**EVERYTHING))
    assert settings["MODELFLEET_WATCH_NAMESPACES"] == "team-a,team-b"
    assert settings["MODELFLEET_PROMETHEUS_URL"] == "https://prometheus:9090"
    assert settings["MODELFLEET_PROMETHEUS_TIMEOUT_SECONDS"] == "2.5"
    assert settings["MODELFLEET_LEASE_NAME"] == "modelfleet"
    assert settings["MODELFLEET_LOG_LEVEL"] == "debug"
    images = json.loads(settings["MODELFLEET_ENGINE_IMAGES"])
    assert set(images["vLLM"]) == {"gpu", "cpu"}


@VARIANTS
def test_the_operator_reads_every_variable_that_the_chart_sets(values):
    given = {name: value for name, value in env(operator_part(**values)).items() if name != "MODELFLEET_LOG_LEVEL"}
    assert {name.removeprefix(PREFIX).lower() for name in given} <= set(Settings.model_fields)
    settings = load(given)
    assert settings.read_nodes is values.get("nodes", {"enabled": True})["enabled"]
    assert settings.watch_namespaces == tuple(values.get("watchNamespaces", ()))
    assert settings.engine_images["vLLM"]["gpu"]


def test_a_header_secret_is_a_file_and_never_an_argument_or_a_variable():
    manifests = operator_part(**EVERYTHING)
    settings, mounts = env(manifests), {m["mountPath"] for m in container(manifests)["volumeMounts"]}
    assert settings["MODELFLEET_PROMETHEUS_HEADERS_DIR"] in mounts
    assert str(Path(settings["MODELFLEET_PROMETHEUS_CA_FILE"]).parent) in mounts
    assert not any("secretKeyRef" in str(entry) for entry in container(manifests)["env"])


def test_a_digest_wins_over_the_tag_and_no_tag_means_the_version_of_the_chart():
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert container(operator_part(**EVERYTHING))["image"] == "example.org/operator@sha256:" + "0" * 64
    assert container(operator_part(image={"tag": ""}))["image"].endswith(f":{version}")


def test_objects_are_in_the_namespace_of_the_release():
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    for manifest in render():
        if manifest["kind"] not in cluster_wide:
            assert manifest["metadata"]["namespace"] == NAMESPACE


def test_the_copy_of_the_crds_is_the_generated_one():
    generated = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    copied = {path.name: path.read_text() for path in (CHART / "files" / "crds").glob("*.yaml")}
    assert copied == generated, "run `make crds`"


def test_the_crd_is_kept_on_uninstall_and_changed_in_nothing_else():
    rendered = only(operator_part(), "CustomResourceDefinition")
    assert rendered["metadata"].pop("annotations").pop("helm.sh/resource-policy") == "keep"
    rendered["metadata"].pop("labels")
    (generated,) = (yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml"))
    for key in ("annotations", "labels"):
        generated["metadata"].pop(key, None)
    assert rendered == generated


def test_crds_can_be_left_to_somebody_else():
    assert "CustomResourceDefinition" not in kinds(operator_part(crds={"install": False}))


def test_every_value_is_explained_by_a_comment():
    lines = (CHART / "values.yaml").read_text().splitlines()
    for at, line in enumerate(lines):
        if line and line[0] not in "# ":
            assert lines[at - 1].startswith("#"), f"no comment above {line!r}"
