"""Labels that somebody takes from our objects: they are put back, nothing restarts, and the operator goes on."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.api.fleet import Fleet, Operator

names = (f"labels-{number}" for number in itertools.count())
OWNER, REVISION, MANAGED = "modelfleet.dev/llmdeployment", "modelfleet.dev/revision", "app.kubernetes.io/managed-by"
KINDS = ("services", "poddisruptionbudgets", "deployments")


@pytest.fixture(scope="module")
def operator(control_plane, tmp_path_factory):
    folder = tmp_path_factory.mktemp("operator")
    settings = {"user": "operator-labels", "debounce_seconds": "0.1", "tick_seconds": "3600"}
    with Operator(plane=control_plane, folder=folder, **settings) as running:
        yield running


@pytest.fixture
def fleet(operator, control_plane):
    fleet = Fleet(plane=control_plane, namespace=next(names))
    fleet.apply()
    fleet.await_settled()
    yield fleet
    fleet.clear()


def uids(fleet):
    return {p["metadata"]["uid"] for p in fleet.pods()}


def labels(fleet, kind):
    """Those of every object of a kind."""
    return {one["metadata"]["name"]: one["metadata"].get("labels") for one in fleet.list(kind)}


def strip(fleet, kind, *keys):
    """Takes labels from every object of a kind."""
    for one in fleet.list(kind):
        fleet.patch(kind, one["metadata"]["name"], {"metadata": {"labels": dict.fromkeys(keys)}})


def scales(fleet, *, replicas):
    fleet.patch("llmdeployments", "chat", {"spec": {"replicas": replicas}})
    fleet.await_settled(replicas=replicas)


@pytest.mark.parametrize("stripped", [(OWNER,), (MANAGED,), (OWNER, REVISION)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_label_that_was_taken_away_is_put_back(fleet, kind, stripped):
    before, pods = labels(fleet, kind), uids(fleet)
    assert before
    strip(fleet, kind, *stripped)
    fleet.until(lambda: labels(fleet, kind) == before, what="the labels")
    scales(fleet, replicas=3)
    assert pods < uids(fleet)
    assert labels(fleet, kind) == before


@pytest.mark.parametrize("kind", ["deployments", "services"])
def test_a_revision_label_that_was_taken_away_is_put_back(fleet, kind):
    before, pods = labels(fleet, kind), uids(fleet)
    strip(fleet, kind, REVISION)
    fleet.until(lambda: labels(fleet, kind) == before, what="the labels")
    scales(fleet, replicas=3)
    assert pods < uids(fleet)


def test_all_labels_of_everything_at_once(fleet):
    before, pods = {kind: labels(fleet, kind) for kind in KINDS}, uids(fleet)
    for kind in KINDS:
        strip(fleet, kind, OWNER, REVISION, MANAGED)
    fleet.until(lambda: {kind: labels(fleet, kind) for kind in KINDS} == before, what="the labels")
    scales(fleet, replicas=3)
    assert pods < uids(fleet)
    assert len(fleet.list("deployments")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("stripped", [(OWNER,), (REVISION,)], ids=str)
def test_a_stored_template_without_its_labels_keeps_nothing_from_going_on(fleet, stripped):
    """Its bytes decide: a patch is refused to anyone, and only who writes them as the operator did can replace it."""
    (body,) = fleet.list("controllerrevisions")
    path, pods = fleet.path("controllerrevisions", body["metadata"]["name"]), uids(fleet)
    patch = json.dumps({"metadata": {"labels": dict.fromkeys(stripped)}})
    headers = {"Content-Type": "application/merge-patch+json"}
    assert fleet.plane.http.patch(path, content=patch, headers=headers).status_code == 422
    kept = {key: value for key, value in body["metadata"]["labels"].items() if key not in stripped}
    replaced = json.dumps({**body, "metadata": {**body["metadata"], "labels": kept}})
    fleet.plane.http.put(path, content=replaced, headers={"Content-Type": "application/json"}).raise_for_status()
    if OWNER in stripped:
        fleet.until(lambda: fleet.condition("Degraded") == ("True", "ObjectRefused"), what="that it is told")
        message = fleet.whole_condition("Degraded")["message"]
        assert f"ControllerRevision {body['metadata']['name']}: " in message
        assert "field is immutable" in message
    scales(fleet, replicas=3)
    assert pods < uids(fleet)
    if OWNER in stripped:
        fleet.delete("controllerrevisions", body["metadata"]["name"])
        fleet.until(lambda: fleet.owned("controllerrevisions"), what="that it is stored again", seconds=60)
        fleet.until(lambda: fleet.condition("Degraded") == ("False", "AsExpected"), what="that it is over", seconds=60)


def test_a_label_that_names_another_is_ours_again(fleet):
    pods = uids(fleet)
    fleet.patch("services", "chat", {"metadata": {"labels": {OWNER: "another", "mine": "stays"}}})
    fleet.until(lambda: labels(fleet, "services")["chat"][OWNER] == "chat", what="the label")
    assert labels(fleet, "services")["chat"]["mine"] == "stays"
    scales(fleet, replicas=3)
    assert pods < uids(fleet)


def test_an_older_revision_without_its_labels_serves_on_until_it_is_replaced(fleet):
    """Its Deployment is nobody's to create: it is known by its pods."""
    old = fleet.list("deployments")[0]["metadata"]["name"]
    before, pods = labels(fleet, "deployments")[old], uids(fleet)
    fleet.change()
    fleet.until(lambda: len(fleet.list("deployments")) == 2, what="the new revision's Deployment")
    fleet.patch("deployments", old, {"metadata": {"labels": {OWNER: None, REVISION: None}}})
    fleet.until(lambda: labels(fleet, "deployments")[old] == before, what="the labels")
    fleet.await_settled()
    assert not pods & uids(fleet)


def test_what_is_not_ours_is_left_alone(fleet):
    body = fleet.get("services", "chat")
    uid = body["metadata"]["ownerReferences"][0]["uid"]
    other = [{**body["metadata"]["ownerReferences"][0], "uid": uid[::-1]}]
    fleet.patch("services", "chat", {"metadata": {"labels": {OWNER: None}, "ownerReferences": other}})
    scales(fleet, replicas=2)
    # The garbage collector takes it, for its owner does not exist; what comes then is new.
    fleet.until(lambda: OWNER in (labels(fleet, "services").get("chat") or {}), what="a Service of ours", seconds=60)
    assert fleet.get("services", "chat")["metadata"]["uid"] != body["metadata"]["uid"]
