"""The operator's rights: as few as its work needs."""

from typing import Any

import pytest

from tests.chart.helm import NAMESPACE, Manifest, kinds, only
from tests.chart.helm import operator_part as render

TEAMS = {"watchNamespaces": ["team-a", "team-b"]}
NO_CLUSTER_OBJECTS: dict[str, Any] = {
    **TEAMS,
    "nodes": {"enabled": False},
    "crds": {"install": False},
    "aggregateRoles": {"enabled": False},
}
VARIANTS = pytest.mark.parametrize("values", [{}, TEAMS], ids=["all namespaces", "listed namespaces"])


def rules(manifests: tuple[Manifest, ...]) -> list[tuple[str, Manifest]]:
    """(kind/name, rule) of everything that is bound to the operator."""
    bound = {
        (m["roleRef"]["kind"], m["roleRef"]["name"], m["metadata"].get("namespace"))
        for m in manifests
        if m["kind"].endswith("RoleBinding")
    }
    return [
        (f"{m['kind']}/{m['metadata']['name']}", rule)
        for m in manifests
        if (m["kind"], m["metadata"]["name"], m["metadata"].get("namespace")) in bound
        for rule in m["rules"]
    ]


@VARIANTS
def test_no_wildcard_anywhere(values):
    for manifest in render(**values):
        for rule in manifest.get("rules", []):
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


@VARIANTS
def test_no_right_that_leads_to_more_rights(values):
    forbidden = {"secrets", "serviceaccounts", "roles", "rolebindings", "clusterroles", "pods/exec", "pods/attach"}
    for name, rule in rules(render(**values)):
        assert not forbidden & set(rule["resources"]), name
        assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"]), name


@VARIANTS
def test_an_llmdeployment_is_read_and_only_its_status_is_written(values):
    verbs = {
        resource: set(rule["verbs"])
        for _, rule in rules(render(**values))
        if "modelfleet.dev" in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert verbs == {"llmdeployments": {"get", "list", "watch"}, "llmdeployments/status": {"patch", "update"}}


@VARIANTS
def test_pods_are_never_created_or_deleted(values):
    for name, rule in rules(render(**values)):
        if "pods" in rule["resources"]:
            assert not {"create", "delete", "update"} & set(rule["verbs"]), name


@VARIANTS
def test_quotas_are_seen_where_llmdeployments_are_and_never_written(values):
    found = [(name, rule) for name, rule in rules(render(**values)) if "resourcequotas" in rule["resources"]]
    assert {name for name, _ in found} == {f"{'Role' if values else 'ClusterRole'}/{NAMESPACE}-modelfleet"}
    assert all(set(rule["verbs"]) == {"list", "watch"} for _, rule in found)


@VARIANTS
def test_a_cron_job_is_only_read_and_a_job_never_changed(values):
    verbs = {
        resource: set(rule["verbs"])
        for _, rule in rules(render(**values))
        if "batch" in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert verbs == {"jobs": {"get", "list", "watch", "create", "delete"}, "cronjobs": {"get"}}


@VARIANTS
def test_one_lease_of_its_own_and_no_other(values):
    manifests = render(**values)
    role = only(manifests, "Role", "-leader")
    create, use = role["rules"]
    assert role["metadata"]["namespace"] == NAMESPACE
    assert create["verbs"] == ["create"]
    assert use["resourceNames"] == ["modelfleet"]
    others = [rule for name, rule in rules(manifests) if "leases" in rule["resources"] and not name.endswith("-leader")]
    assert others == []


def test_listed_namespaces_get_roles_with_the_same_rules_and_no_cluster_wide_write():
    manifests = render(**TEAMS)
    (everywhere,) = (m["rules"] for m in render() if m["kind"] == "ClusterRole" and len(m["rules"]) > 2)
    roles = {m["metadata"]["namespace"]: m["rules"] for m in manifests if m["kind"] == "Role"}
    assert set(roles) == {"team-a", "team-b", NAMESPACE}
    assert roles["team-a"] == roles["team-b"] == everywhere
    for name, rule in rules(manifests):
        if name.startswith("ClusterRole/"):
            assert set(rule["verbs"]) <= {"get", "list", "watch"}, name
            assert set(rule["resources"]) <= {"nodes", "pods"}, name


def test_nothing_cluster_wide_is_left_when_all_of_it_is_switched_off():
    manifests = render(**NO_CLUSTER_OBJECTS)
    assert not {kind for kind in kinds(manifests) if kind.startswith("Cluster") or kind == "CustomResourceDefinition"}


def test_every_binding_names_the_operators_account_and_a_role_that_exists():
    for values in ({}, TEAMS, {"serviceAccount": {"create": True, "name": "other"}}):
        manifests = render(**values)
        account = only(manifests, "ServiceAccount")["metadata"]["name"]
        assert only(manifests, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == account
        roles = {(m["kind"], m["metadata"]["name"]) for m in manifests}
        for binding in (m for m in manifests if m["kind"].endswith("RoleBinding")):
            assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]
            assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in roles


def test_people_get_rights_on_llmdeployments_and_the_operator_does_not_get_theirs():
    manifests = render()
    edit = only(manifests, "ClusterRole", "-edit")
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"] == "true"
    assert not any(name.endswith(("-edit", "-view")) for name, _ in rules(manifests))
