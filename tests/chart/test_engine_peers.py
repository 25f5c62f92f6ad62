"""Who is let in to engine pods: what the values say, as the operator is told."""

import json
from typing import Any

import pytest

from modelfleet.settings import PREFIX, Settings, read
from tests.chart.helm import NAMESPACE, Refused, only, render

ENVOY = "modelfleet-gateway"
OWN_NAMESPACE = {"podSelector": {}}
MONITORED = {"prometheus": {"url": "http://prometheus.monitoring.svc:9090"}}


def namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def peers(**values: Any) -> tuple[Any, ...]:
    container = only(render(**values), "Deployment", "modelfleet")["spec"]["template"]["spec"]["containers"][0]
    given = {e["name"]: e.get("value", "") for e in container["env"]}
    assert {name.removeprefix(PREFIX).lower() for name in given} <= set(Settings.model_fields)
    return read(Settings, given).engine_peers


def test_envoys_and_the_models_own_namespace_are_let_in_by_default():
    envoys, own = peers()
    assert own == OWN_NAMESPACE
    assert envoys["namespaceSelector"] == namespace(NAMESPACE)["namespaceSelector"]
    labels = only(render(), "Deployment", ENVOY)["spec"]["template"]["metadata"]["labels"]
    assert envoys["podSelector"]["matchLabels"].items() <= labels.items()
    control = only(render(), "Deployment", f"{ENVOY}-control")["spec"]["template"]["metadata"]["labels"]
    assert not envoys["podSelector"]["matchLabels"].items() <= control.items()


@pytest.mark.parametrize("suffix", ["", ":9090", ".cluster.local", ".cluster.local:9090/prefix", "/"])
def test_the_namespace_of_prometheus_is_read_from_its_address(suffix):
    assert namespace("monitoring") in peers(prometheus={"url": f"http://prometheus.monitoring.svc{suffix}"})


@pytest.mark.parametrize("url", ["https://thanos.example.com", "http://10.0.0.1:9090", "http://prometheus:9090"])
def test_an_address_that_says_nothing_of_it_asks_for_a_decision(url):
    with pytest.raises(Refused, match=r"set engines\.networkPolicy\.prometheusNamespaces"):
        render(prometheus={"url": url})
    told = {"networkPolicy": {"prometheusNamespaces": ["a", "b"]}}
    assert peers(prometheus={"url": url}, engines=told)[1:] == (namespace("a"), namespace("b"), OWN_NAMESPACE)
    assert peers(prometheus={"url": url}, engines={"networkPolicy": {"enabled": False}}) == ()
    assert peers(prometheus={"url": url}, gateway={"enabled": False}) == ()


def test_named_namespaces_stand_in_the_place_of_the_one_that_is_asked():
    told = {"networkPolicy": {"prometheusNamespaces": ["agents"]}}
    assert peers(**MONITORED, engines=told)[1:] == (namespace("agents"), OWN_NAMESPACE)


def test_whom_the_values_admit_is_let_in():
    office = {"ipBlock": {"cidr": "10.1.0.0/16"}}
    assert peers(engines={"networkPolicy": {"admit": [office]}})[1:] == (office,), "and the namespace no more"


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"admit": [{}]}, "/engines/networkPolicy/admit/0"),
        ({"admit": [{"namespace": "a"}]}, "'namespace' not allowed"),
        ({"prometheusNamespaces": ["Monitoring"]}, "/engines/networkPolicy/prometheusNamespaces/0"),
    ],
    ids=json.dumps,
)
def test_a_wrong_value_is_refused_by_its_name(policy, said):
    with pytest.raises(Refused, match=said):
        render(engines={"networkPolicy": policy})
