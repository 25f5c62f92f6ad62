"""Wrong values: refused before anything is installed, in words that name the value."""

import json

import pytest
import yaml

from tests.chart.helm import CHART, Refused, render


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replica": 2}, ["additional properties 'replica' not allowed"]),
        ({"replicas": "two"}, ["/replicas", "want integer"]),
        ({"replicas": 0}, ["/replicas", "minimum"]),
        ({"watchNamespaces": "team-a"}, ["/watchNamespaces", "want array"]),
        ({"watchNamespaces": ["Team A"]}, ["/watchNamespaces/0", "Team A"]),
        ({"watchNamespaces": ["a", "a"]}, ["/watchNamespaces", "equal"]),
        ({"prometheus": {"url": "prometheus:9090"}}, ["/prometheus/url", "https?://"]),
        ({"prometheus": {"timeout": 5}}, ["/prometheus", "'timeout' not allowed"]),
        ({"prometheus": {"timeoutSeconds": 0}}, ["/prometheus/timeoutSeconds"]),
        ({"prometheus": {"timeoutSeconds": "5s"}}, ["/prometheus/timeoutSeconds", "want number"]),
        ({"prometheus": {"headersSecret": "h"}}, ["prometheus.url is empty", "set prometheus.url"]),
        ({"prometheus": {"url": "http://p", "caSecret": "c"}}, ["plain http", "use https"]),
        ({"engineImages": {"vllm": {"gpu": "a:1", "cpu": "a:1"}}}, ["/engineImages", "'vllm' not allowed"]),
        ({"engineImages": {"vLLM": {"gpu": "no-tag"}}}, ["/engineImages/vLLM/gpu", "no-tag"]),
        ({"image": {"digest": "sha256:1"}}, ["/image/digest"]),
        ({"image": {"pullPolicy": "Sometimes"}}, ["/image/pullPolicy", "IfNotPresent"]),
        ({"serviceAccount": {"create": False}}, ["set serviceAccount.name"]),
        ({"metrics": {"port": 80}}, ["/metrics/port", "1,024"]),
        ({"nodes": {"enabled": "yes"}}, ["/nodes/enabled", "want boolean"]),
        ({"resources": {"limit": {}}}, ["/resources", "'limit' not allowed"]),
        ({"extraEnv": [{"value": "x"}]}, ["/extraEnv/0", "name"]),
        ({"alerts": {"kind": "Rules"}}, ["/alerts/kind", "PrometheusRule"]),
        ({"alerts": {"runbooks": "wiki"}}, ["/alerts/runbooks", "https?://"]),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_wrong_value_is_refused_by_its_name(values, said):
    with pytest.raises(Refused) as refusal:
        render(**values)
    for words in said:
        assert words in str(refusal.value)


def test_the_schema_knows_every_default_and_no_other_value():
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) - {"global"} == set(defaults)


def test_every_object_of_the_schema_is_closed_or_open_on_purpose():
    """`additionalProperties` is false wherever the chart, and not Kubernetes, defines the keys."""

    def closed(schema):
        if "properties" in schema:
            assert schema["additionalProperties"] is False, schema
        for inner in schema.get("properties", {}).values():
            closed(inner)

    closed(json.loads((CHART / "values.schema.json").read_text()))
