"""A Prometheus that wants a token and has a certificate of its own, asked by an operator as the chart sets it up."""

from __future__ import annotations

import ssl

import pytest

from e2e.cluster.certs import Authority
from tests.api.fleet import Fleet, Operator, ready
from tests.api.scripted_prometheus import ScriptedPrometheus
from tests.chart.helm import only, operator_part

pytestmark = pytest.mark.slow

NAMESPACE = "guarded"
TOKEN = "Bearer of-this-test"  # noqa: S105 - opens nothing but this test's own server
SCALING = {"minReplicas": 1, "maxReplicas": 4, "metrics": [{"type": "QueueDepth", "target": 5}]}


@pytest.fixture
def fleet(control_plane):
    return Fleet(plane=control_plane, namespace=NAMESPACE)


@pytest.fixture
def secrets(tmp_path):
    """What the chart's two Secrets hold, each in the folder that would be its mount; the token is not theirs yet."""
    headers, ca = tmp_path / "headers", Authority.create(tmp_path / "ca")
    headers.mkdir()
    (headers / "Authorization").write_text("Bearer of-somebody-else\n")
    return {"headers": headers, "ca": ca.folder}


@pytest.fixture
def prometheus(fleet, secrets):
    pair = Authority(folder=secrets["ca"]).issue(stem="prometheus", common_name="prometheus", names=["127.0.0.1"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.cert, pair.key)

    def load():
        return {(NAMESPACE, pod["metadata"]["name"]): 10.0 for pod in fleet.pods() if ready(pod)}

    scripted = ScriptedPrometheus(load=load, token=TOKEN, tls=tls)
    yield scripted
    scripted.stop()


def chart_settings(*, url, folders):
    """The operator's settings for Prometheus as the chart makes them, with a folder in place of each Secret's mount."""
    asked = {"url": url, "headersSecret": "headers", "caSecret": "ca"}
    values = {"prometheus": asked, "engines": {"networkPolicy": {"enabled": False}}}
    pod = only(operator_part(**values), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    secret = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    mounts = {m["mountPath"]: str(folders[secret[m["name"]]]) for m in container["volumeMounts"] if m["name"] in secret}
    settings = {one["name"]: one["value"] for one in container["env"] if "_PROMETHEUS_" in one["name"]}
    assert len(mounts) == len(folders)
    for mount, folder in mounts.items():
        settings = {name: value.replace(mount, folder) for name, value in settings.items()}
    return {name.removeprefix("MODELFLEET_").lower(): value for name, value in settings.items()}


@pytest.fixture
def operator(control_plane, prometheus, secrets, tmp_path):
    settings = chart_settings(url=prometheus.url, folders=secrets) | {"prometheus_timeout_seconds": "10"}
    with Operator(
        plane=control_plane,
        folder=tmp_path,
        user="operator-guarded",
        namespace=NAMESPACE,
        watch_namespaces=NAMESPACE,
        tick_seconds="0.2",
        debounce_seconds="0.1",
        **settings,
    ) as running:
        yield running


def test_the_wrong_token_is_told_and_the_right_one_needs_no_restart(fleet, operator, prometheus, secrets):
    fleet.apply(scaling=SCALING)
    refused = ("False", "QueryFailed")
    fleet.until(lambda: fleet.condition("MetricsAvailable") == refused, what="the refusal of the token")
    message = fleet.whole_condition("MetricsAvailable")["message"]
    assert "prometheus.headersSecret" in message
    assert prometheus.asked == 0
    (secrets["headers"] / "Authorization").write_text(f"{TOKEN}\n")
    fleet.await_settled(replicas=4)
    assert prometheus.asked > 0
    assert "of-this-test" not in operator.log.read_text() + message
