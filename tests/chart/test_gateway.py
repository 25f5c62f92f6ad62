"""The gateway as the chart installs it, rendered by the real helm."""

import base64
import json
from typing import Any

import kubernetes_validate
import pytest
import yaml

from modelfleet.gateway.settings import GatewaySettings, TenantSettings
from modelfleet.settings import PREFIX, read
from tests.chart.helm import COMPONENT, NAMESPACE, Manifest, Refused, component, kinds, only, render

POLICY = "helm.sh/resource-policy"
CONTROL, ENVOY = "modelfleet-gateway-control", "modelfleet-gateway"
DIGEST = "sha256:" + "0" * 64
EVERYTHING: dict[str, Any] = {
    "access": "Open",
    "tenants": {"research": {"namespaces": ["research", "shared"], "requestsPerSecond": 2.5}, "guests": {}},
    "tls": {"secretName": "edge"},
    "drainSeconds": 60,
    "control": {"replicas": 3},
    "envoy": {"replicas": 5, "concurrency": 4, "image": {"digest": DIGEST}},
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
    "nodeSelector": {"pool": "edge"},
    "tolerations": [{"key": "edge", "operator": "Exists"}],
}
MINIMAL: dict[str, Any] = {"control": {"replicas": 1}, "envoy": {"replicas": 1}, "networkPolicy": {"enabled": False}}
VARIANTS = pytest.mark.parametrize("values", [{}, EVERYTHING, MINIMAL], ids=["defaults", "everything", "minimal"])


def pod(manifests: tuple[Manifest, ...], name: str) -> Manifest:
    found: Manifest = only(manifests, "Deployment", name)["spec"]["template"]["spec"]
    return found


def container(manifests: tuple[Manifest, ...], name: str) -> Manifest:
    found: Manifest = pod(manifests, name)["containers"][0]
    return found


def settings(manifests: tuple[Manifest, ...]) -> GatewaySettings:
    given = {e["name"]: e.get("value", "") for e in container(manifests, CONTROL)["env"]}
    assert {name.removeprefix(PREFIX).lower() for name in given} <= set(GatewaySettings.model_fields)
    return read(GatewaySettings, given)


@VARIANTS
def test_every_manifest_is_what_kubernetes_defines(values):
    for manifest in render(gateway=values, watchNamespaces=["team-a"]):
        kubernetes_validate.validate(manifest, desired_version="1.34", strict=True)


@VARIANTS
@pytest.mark.parametrize("name", [CONTROL, ENVOY])
def test_pods_fulfil_the_restricted_standard(values, name):
    manifests = render(gateway=values)
    assert pod(manifests, name)["securityContext"]["runAsNonRoot"] is True
    assert pod(manifests, name)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(manifests, name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod(manifests, name))


def test_without_the_gateway_nothing_of_it_is_there():
    manifests = render(gateway={"enabled": False})
    assert {component(m) for m in manifests if m["kind"] == "Deployment"} == {"operator"}
    assert not {"NetworkPolicy", "ConfigMap", "Secret"} & kinds(manifests)
    assert "MODELFLEET_GATEWAY_URL" not in str(only(manifests, "Deployment"))


@pytest.mark.parametrize("more", [{}, {"certificates": "CertManager"}], ids=["chart", "cert-manager"])
def test_what_the_gateway_needs_outlives_the_release_where_that_is_asked_for(more):
    def policies(**gateway: Any) -> dict[tuple[str, str], str]:
        made = render(gateway={**gateway, **more}, watchNamespaces=["team-a"])
        return {
            (m["kind"], m["metadata"]["name"]): (m["metadata"].get("annotations") or {}).get(POLICY, "")
            for m in made
            if m["metadata"]["labels"].get(COMPONENT) in {"gateway", "gateway-control"}
        }

    assert set(policies().values()) == {""}
    kept = policies(keepOnUninstall=True, service={"annotations": {"a": "b"}})
    assert {name for name, policy in kept.items() if policy != "keep"} == set()
    assert kept.keys() == policies().keys()
    assert {"Deployment", "Service", "Role", "RoleBinding", "ServiceAccount", "ConfigMap"} <= {kind for kind, _ in kept}
    service = only(render(gateway={"keepOnUninstall": True, "service": {"annotations": {"a": "b"}}}), "Service", ENVOY)
    assert service["metadata"]["annotations"] == {"a": "b", POLICY: "keep"}
    operator = render(gateway={"keepOnUninstall": True})
    assert POLICY not in only(operator, "Deployment", "modelfleet")["metadata"].get("annotations", {})


def test_values_reach_the_control_process_as_settings():
    found = settings(render(gateway=EVERYTHING, watchNamespaces=["a", "b"]))
    assert (found.access, found.tls_secret, found.request_port) == ("Open", "edge", 8443)
    assert found.watch_namespaces == ("a", "b")
    research = TenantSettings(namespaces=("research", "shared"), requestsPerSecond=2.5)
    assert found.tenants == {"research": research, "guests": TenantSettings()}
    plain = settings(render())
    assert (plain.access, plain.tls_secret, plain.request_port, plain.tenants) == ("Namespaced", "", 8080, {})
    assert plain.ads_tls_dir is not None


def test_the_operator_knows_where_clients_find_the_gateway():
    def url(**values: Any) -> str:
        env = only(render(gateway=values), "Deployment", "modelfleet")["spec"]["template"]["spec"]["containers"][0][
            "env"
        ]
        return next(e["value"] for e in env if e["name"] == "MODELFLEET_GATEWAY_URL")

    assert url() == f"http://{ENVOY}.{NAMESPACE}.svc"
    assert url(tls={"secretName": "edge"}) == f"https://{ENVOY}.{NAMESPACE}.svc"


def test_the_service_leads_to_the_port_on_which_envoy_is_told_to_listen():
    for values, port in (({}, 80), ({"tls": {"secretName": "edge"}}, 443)):
        manifests = render(gateway=values)
        ports = {p["name"]: p["containerPort"] for p in container(manifests, ENVOY)["ports"]}
        service = only(manifests, "Service", ENVOY)["spec"]
        assert (service["ports"][0]["port"], service["ports"][0]["targetPort"]) == (port, "requests")
        assert ports["requests"] == settings(manifests).request_port
        labels = only(manifests, "Deployment", ENVOY)["spec"]["template"]["metadata"]["labels"]
        assert service["selector"].items() <= labels.items()


def test_an_upgrade_takes_no_envoy_away_before_another_serves_and_drains_it_first():
    manifests = render(gateway={"drainSeconds": 60})
    deployment = only(manifests, "Deployment", ENVOY)["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert deployment["template"]["spec"]["terminationGracePeriodSeconds"] > 60
    hook = container(manifests, ENVOY)["lifecycle"]["preStop"]["exec"]["command"]
    assert hook[-2:] == ["9901", "60"]
    args = container(manifests, ENVOY)["args"]
    assert args[args.index("--drain-time-s") + 1] == "60", "so long the streams of a changed listener go on"
    assert hook[1].removeprefix("/etc/modelfleet/envoy/") in only(manifests, "ConfigMap")["data"]
    for name in (CONTROL, ENVOY):
        assert only(manifests, "PodDisruptionBudget", name)["spec"]["maxUnavailable"] == 1


def test_an_autoscaler_may_own_the_number_of_envoys():
    manifests = render(gateway={"envoy": {"replicas": None}})
    assert "replicas" not in only(manifests, "Deployment", ENVOY)["spec"]
    assert only(manifests, "PodDisruptionBudget", ENVOY)


def test_both_ends_of_the_control_connection_have_certificates_of_one_authority():
    manifests = render()
    server, client = (only(manifests, "Secret", f"{name}-tls")["data"] for name in (CONTROL, ENVOY))
    assert server["ca.crt"] == client["ca.crt"]
    assert set(server) == set(client) == {"tls.crt", "tls.key", "ca.crt"}, "the authority's key is kept by nobody"
    assert server["tls.key"] != client["tls.key"]
    assert base64.b64decode(server["tls.crt"]).startswith(b"-----BEGIN CERTIFICATE-----")


def test_cert_manager_makes_the_same_secrets():
    manifests = render(gateway={"certificates": "CertManager"})
    assert "Secret" not in kinds(manifests)
    made = {m["spec"]["secretName"] for m in manifests if m["kind"] == "Certificate"}
    mounted = {
        v["secret"]["secretName"] for n in (CONTROL, ENVOY) for v in pod(manifests, n)["volumes"] if "secret" in v
    }
    assert mounted <= made


def test_keys_are_read_in_the_gateways_own_namespace_only():
    for values in ({}, {"watchNamespaces": ["team-a"]}):
        holders = [
            m
            for m in render(**values)
            for r in m.get("rules", ())
            if "secrets" in r["resources"] and "list" in r["verbs"]
        ]
        assert [(m["kind"], m["metadata"]["namespace"]) for m in holders] == [("Role", NAMESPACE)]


def test_the_control_process_writes_nothing():
    bound = [m for m in render() if m["kind"] in {"Role", "ClusterRole"} and component(m) == "gateway-control"]
    assert bound
    assert {verb for m in bound for rule in m["rules"] for verb in rule["verbs"]} == {"list", "watch"}


def test_only_envoys_reach_the_configuration():
    manifests = render()
    policy = only(manifests, "NetworkPolicy", CONTROL)["spec"]
    (ads,) = [rule for rule in policy["ingress"] if rule["ports"][0]["port"] == "ads"]
    selected = ads["from"][0]["podSelector"]["matchLabels"]
    assert selected.items() <= only(manifests, "Deployment", ENVOY)["spec"]["template"]["metadata"]["labels"].items()
    assert (
        not selected.items() <= only(manifests, "Deployment", CONTROL)["spec"]["template"]["metadata"]["labels"].items()
    )
    open_ports = {
        p["port"] for rule in only(manifests, "NetworkPolicy", ENVOY)["spec"]["ingress"] for p in rule["ports"]
    }
    assert open_ports == {"requests", "probes"}, "not the admin port"


def test_the_configuration_of_envoy_is_yaml_and_its_admin_port_is_on_loopback():
    data = only(render(), "ConfigMap")["data"]
    bootstrap = yaml.safe_load(data["bootstrap.yaml"])
    assert bootstrap["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    assert all(yaml.safe_load(data[name])["resources"] for name in ("identity.yaml", "authority.yaml"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"acces": "Open"}, "'acces' not allowed"),
        ({"access": "All"}, "/gateway/access"),
        ({"tenants": {"Team A": {"namespaces": ["a"]}}}, "Team A"),
        ({"tenants": {"a": {"namespaces": []}}}, "/gateway/tenants/a/namespaces"),
        ({"tenants": {"a": {"requestsPerSecond": 0}}}, "/gateway/tenants/a/requestsPerSecond"),
        ({"tenants": {"a": {"requestsPerMinute": 60}}}, "requestsPerMinute"),
        ({"certificates": "Vault"}, "/gateway/certificates"),
        ({"envoy": {"replicas": 0}}, "/gateway/envoy/replicas"),
        ({"envoy": {"image": {"tag": "v1.39.5"}}}, "gateway.envoy.image.tag is v1.39.5, .* needs Envoy 1.40 or newer"),
        ({"envoy": {"image": {"tag": "1.9"}}}, "tag is 1.9"),
        ({"envoy": {"image": {"tag": "distroless-v1.38-latest"}}}, "tag is distroless-v1.38-latest"),
        ({"service": {"type": "ExternalName"}}, "/gateway/service/type"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_wrong_value_is_refused_by_its_name(values, said):
    with pytest.raises(Refused, match=said):
        render(gateway=values)


@pytest.mark.parametrize(
    "image",
    [
        *({"tag": tag} for tag in ("v1.40.0", "1.40", "v1.40-latest", "contrib-v1.41.2", "v2.0.0", "dev", "acme_1.2")),
        {"tag": "v1.39.0", "digest": DIGEST},
    ],
    ids=json.dumps,
)
def test_an_envoy_that_is_new_enough_or_whose_version_nobody_sees_is_taken(image):
    name = container(render(gateway={"envoy": {"image": image}}), ENVOY)["image"]
    assert name == "envoyproxy/envoy" + (f"@{DIGEST}" if "digest" in image else f":{image['tag']}")


def test_without_the_gateway_nobody_asks_which_envoy():
    assert render(gateway={"enabled": False, "envoy": {"image": {"tag": "v1.39.0"}}})
