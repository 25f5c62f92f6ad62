"""From what watches show to a fleet: odd objects stop nobody, and only owners put pods into routes."""

import base64
from typing import Any

import pytest

from modelfleet.core import names
from modelfleet.core.routing.read import api_keys, certificate, served
from modelfleet.gateway.objects import Objects


def meta(name: str, *, owner: str = "", namespace: str = "a", **labels: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "namespace": namespace, "uid": f"u-{name}", "labels": labels}
    if owner:
        found["ownerReferences"] = [{"uid": f"u-{owner}", "controller": True}]
    return found


def llmdeployment(name: str = "chat", **more: Any) -> dict[str, Any]:
    return {"metadata": meta(name), "spec": {"model": {"uri": "hf://a/b"}}, **more}


def pod(name: str, *, owner: str, address: str = "10.0.0.1", namespace: str = "a") -> dict[str, Any]:
    labels = {names.OWNER: "chat", names.REVISION: "r1", names.ROTATION: "in"}
    status = {"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {**meta(name, owner=owner, namespace=namespace), "labels": labels}, "status": status}


def owned(name: str, *, owner: str, namespace: str = "a") -> dict[str, Any]:
    return {"metadata": {**meta(name, owner=owner, namespace=namespace), "labels": {names.OWNER: "chat"}}}


def addresses(objects: Objects) -> list[str]:
    return [e.address for m in objects.fleet().models for r in m.revisions for e in r.endpoints]


def built() -> Objects:
    objects = Objects(access="Namespaced")
    objects.llmdeployment(llmdeployment())
    objects.owner(owned("deployment", owner="chat"))
    objects.owner(owned("replicas", owner="deployment"))
    return objects


def test_a_pod_counts_by_its_chain_of_owners_in_whatever_order_it_is_seen():
    objects = Objects(access="Namespaced")
    objects.pod(pod("p", owner="replicas"))
    objects.llmdeployment(llmdeployment())
    assert addresses(objects) == []
    objects.owner(owned("replicas", owner="deployment"))
    assert addresses(objects) == []
    objects.owner(owned("deployment", owner="chat"))
    assert addresses(objects) == ["10.0.0.1"]
    objects.pod(pod("p", owner="replicas"), deleted=True)
    assert addresses(objects) == []


@pytest.mark.parametrize("owner", ["", "someone", "p"])
def test_labels_without_the_chain_are_nothing(owner: str):
    objects = built()
    objects.pod(pod("p", owner=owner))
    assert addresses(objects) == []


def test_owners_in_another_namespace_are_nobodys():
    objects = built()
    objects.pod(pod("p", owner="replicas", namespace="b"))
    objects.owner(owned("alien", owner="deployment", namespace="b"))
    objects.pod(pod("q", owner="alien"))
    assert addresses(objects) == []


def test_a_circle_of_owners_ends():
    objects = built()
    objects.owner(owned("x", owner="y"))
    objects.owner(owned("y", owner="x"))
    objects.pod(pod("p", owner="x"))
    assert addresses(objects) == []


def test_one_made_anew_under_the_same_name_does_not_inherit_the_pods():
    objects = built()
    objects.pod(pod("p", owner="replicas"))
    anew = llmdeployment()
    anew["metadata"]["uid"] = "u-anew"
    objects.llmdeployment(anew)
    objects.llmdeployment(llmdeployment(), deleted=True)
    assert [m.uid for m in objects.fleet().models] == ["u-anew"]
    assert addresses(objects) == []


def test_what_did_not_change_is_not_read_again():
    objects = built()
    objects.llmdeployment(llmdeployment("other"))
    before = {m.name: m for m in objects.fleet().models}
    objects.pod(pod("p", owner="replicas"))
    after = {m.name: m for m in objects.fleet().models}
    assert after["other"] is before["other"]
    assert after["chat"] is not before["chat"]


@pytest.mark.parametrize(
    ("tenant", "value", "keys"),
    [
        ("team-a", b"sk-1\n", ["sk-1"]),
        ("team-a", b"", []),
        ("team-a", b"two words", []),
        ("team-a", b"a\r\nb: c", []),
        ("team-a", b"\xff\xfe", []),
        ("Team A", b"sk-1", []),
        ("", b"sk-1", []),
    ],
)
def test_keys_that_no_header_can_carry_are_no_keys(tenant: str, value: bytes, keys: list[str]):
    data = {"k": base64.b64encode(value).decode(), "broken": "%"}
    secret = {"metadata": {"annotations": {names.TENANT: tenant}}, "data": data}
    assert [one.key for one in api_keys(secret)] == keys


def test_half_a_certificate_is_none_and_the_last_whole_one_stays():
    pair = {name: base64.b64encode(name.encode()).decode() for name in ("tls.crt", "tls.key")}
    objects = Objects(access="Open")
    objects.edge_secret({"metadata": {}, "data": pair})
    objects.edge_secret({"metadata": {}, "data": {"tls.crt": pair["tls.crt"]}})
    objects.edge_secret({"metadata": {}}, deleted=True)
    assert objects.edge == ("tls.crt", "tls.key")
    assert certificate({"data": None}) is None


@pytest.mark.parametrize(
    "spec", [None, {}, {"model": None, "engine": None, "routing": None}, {"model": {"servedName": "a b"}}]
)
def test_a_spec_that_says_nothing_useful_still_has_its_full_name(spec: Any):
    found = served({"metadata": meta("chat"), "spec": spec}, pods=())
    assert (found.full_name, found.served_name, found.revisions) == ("a/chat", "chat", ())


def test_names_that_no_table_can_hold_are_left_out():
    args = ["--lora-modules", "good=/x", "b d=/y", "new\nline=/z"]
    found = served({"metadata": meta("chat"), "spec": {"engine": {"args": args}}}, pods=())
    assert found.adapter_names == ("good",)


def test_status_weights_and_pods_are_joined():
    status = {"revisions": [{"hash": "r1", "weight": 90}, {"hash": "r0", "weight": 10}]}
    found = served(
        {"metadata": meta("chat"), "status": status},
        pods=[pod("p", owner="x"), pod("q", owner="x", address="10.0.0.2")],
    )
    assert [(r.name, r.weight, len(r.endpoints)) for r in found.revisions] == [("r0", 10, 0), ("r1", 90, 2)]
