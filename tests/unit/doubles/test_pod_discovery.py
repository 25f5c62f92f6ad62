"""The stand-in for Prometheus' own pod discovery gives the meta labels that relabelling rules are written for."""

from __future__ import annotations

from e2e.cluster.pod_discovery import targets

POD = {
    "metadata": {"name": "p", "namespace": "n", "annotations": {"prometheus.io/scrape": "true"}},
    "spec": {
        "containers": [{"name": "engine", "ports": [{"containerPort": 8000, "name": "http"}, {"containerPort": 8001}]}],
        "initContainers": [{"name": "fetch"}],
    },
    "status": {"podIP": "10.0.0.1", "phase": "Running"},
}


def test_each_container_port_is_a_target_and_an_init_container_says_so():
    found = targets(pods=[POD])
    assert [group["targets"] for group in found] == [["10.0.0.1:8000"], ["10.0.0.1:8001"], ["10.0.0.1"]]
    assert found[2]["labels"]["__meta_kubernetes_pod_container_init"] == "true"
    labels = found[0]["labels"]
    assert labels["__meta_kubernetes_pod_annotation_prometheus_io_scrape"] == "true"
    assert labels["__meta_kubernetes_pod_container_port_number"] == "8000"
    assert labels["__meta_kubernetes_pod_phase"] == "Running"


def test_a_pod_without_an_address_is_no_target():
    assert targets(pods=[POD | {"status": {"phase": "Pending"}}]) == []
