"""The gateway's doors to the outside, its autoscaler and the PodMonitors, rendered by the real helm."""

import kubernetes_validate
import pytest

from modelfleet.core import names
from tests.chart.helm import NAMESPACE, Refused, kinds, only, render

ENVOY = "modelfleet-gateway"
INGRESS = {
    "enabled": True,
    "className": "nginx",
    "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "32m"},
    "hosts": ["llm.example.com", "llm.example.org"],
    "tls": [{"secretName": "edge", "hosts": ["llm.example.com"]}],
}


@pytest.mark.parametrize("values", [INGRESS, {"enabled": True}], ids=["everything", "defaults"])
def test_an_ingress_leads_to_the_service_by_the_name_of_its_port(values):
    manifests = render(gateway={"ingress": values})
    ingress = only(manifests, "Ingress")
    kubernetes_validate.validate(ingress, desired_version="1.34", strict=True)
    (port,) = only(manifests, "Service", ENVOY)["spec"]["ports"]
    backends = [path["backend"]["service"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    assert backends == [{"name": ENVOY, "port": {"name": port["name"]}}] * len(values.get("hosts", [""]))
    assert [rule.get("host") for rule in ingress["spec"]["rules"]] == values.get("hosts", [None])
    assert ingress["spec"].get("tls") == values.get("tls")
    assert ingress["spec"].get("ingressClassName") == values.get("className")
    assert ingress["metadata"].get("annotations") == values.get("annotations")


def test_there_is_no_ingress_unless_asked_for():
    assert "Ingress" not in kinds(render())
    assert "Ingress" not in kinds(render(gateway={"enabled": False, "ingress": INGRESS}))


def test_an_ingress_before_an_edge_with_tls_is_refused_with_both_ways_out():
    with pytest.raises(Refused, match=r"gateway\.ingress\.tls, or use gateway\.service\.type LoadBalancer"):
        render(gateway={"ingress": {"enabled": True}, "tls": {"secretName": "edge"}})


def test_a_load_balancer_takes_what_clouds_need():
    given = {
        "type": "LoadBalancer",
        "annotations": {"cloud/internal": "true"},
        "loadBalancerClass": "example.com/internal",
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
        "externalTrafficPolicy": "Local",
    }
    service = only(render(gateway={"service": given}), "Service", ENVOY)
    kubernetes_validate.validate(service, desired_version="1.34", strict=True)
    assert {key: service["spec"][key] for key in given if key != "annotations"} == {
        key: value for key, value in given.items() if key != "annotations"
    }
    assert not {"loadBalancerClass", "externalTrafficPolicy"} & set(only(render(), "Service", ENVOY)["spec"])


def test_annotations_reach_the_pods_of_both_parts():
    values = {"control": {"podAnnotations": {"a": "1"}}, "envoy": {"podAnnotations": {"b": "2"}}}
    for name, wanted in ((f"{ENVOY}-control", {"a": "1"}), (ENVOY, {"b": "2"})):
        template = only(render(gateway=values), "Deployment", name)["spec"]["template"]
        assert wanted.items() <= template["metadata"]["annotations"].items()


def test_an_autoscaler_has_a_request_to_measure_against():
    (container,) = only(render(), "Deployment", ENVOY)["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"]["cpu"]


def test_pod_monitors_find_every_part_by_labels_and_ports_that_are_there():
    manifests = render(metrics={"podMonitor": {"enabled": True, "labels": {"release": "kps"}}})
    monitors = {m["metadata"]["name"].removeprefix("modelfleet-"): m for m in manifests if m["kind"] == "PodMonitor"}
    assert set(monitors) == {"engine", "operator", "gateway", "gateway-control"}
    assert {m["metadata"]["labels"]["release"] for m in monitors.values()} == {"kps"}
    deployments = {"operator": "modelfleet", "gateway": ENVOY, "gateway-control": f"{ENVOY}-control"}
    for part, name in deployments.items():
        template, spec = only(manifests, "Deployment", name)["spec"]["template"], monitors[part]["spec"]
        assert spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
        assert spec["podMetricsEndpoints"][0]["port"] in ports
        assert spec["podMetricsEndpoints"][0]["path"] == template["metadata"]["annotations"]["prometheus.io/path"]
        assert spec["namespaceSelector"] == {"matchNames": [NAMESPACE]}


def test_the_engines_pod_monitor_covers_the_namespaces_that_are_looked_after():
    def spec(**values):
        return only(render(metrics={"podMonitor": {"enabled": True}}, **values), "PodMonitor", "-engine")["spec"]

    owned = names.owned_labels(name="chat", revision="0" * 10)
    assert spec()["selector"]["matchLabels"].items() <= owned.items()
    assert spec()["namespaceSelector"] == {"any": True}
    assert spec(watchNamespaces=["a", "b"])["namespaceSelector"] == {"matchNames": ["a", "b"]}
    assert "PodMonitor" not in kinds(render())
