"""What a snapshot holds, and what a change renders again."""

import dataclasses

from modelfleet.core.routing.model import ApiKey, Endpoint, Fleet, Revision, Served
from modelfleet.gateway import headers, proto
from modelfleet.gateway.render_listener import ListenerSettings
from modelfleet.gateway.snapshot import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, Renderer, Snapshot

ONE, TWO = Endpoint(address="10.0.0.1"), Endpoint(address="10.0.0.2")


def served(name: str, *endpoints: Endpoint) -> Served:
    revisions = (Revision(name="r1", weight=1, endpoints=endpoints),)
    given = {"uid": f"u-{name}", "namespace": "team-a", "created": "2026-01-01T00:00:00Z", "served_name": name}
    return Served(name=name, revisions=revisions, **given)


def fleet(*models: Served, keys: tuple[str, ...] = ("k",)) -> Fleet:
    return Fleet(models=models, keys=tuple(ApiKey(tenant="team-a", key=key) for key in keys))


def versions(snapshot: Snapshot) -> dict[str, str]:
    return {f"{k.rpartition('.')[2]} {n}": r.version for k, of in snapshot.resources.items() for n, r in of.items()}


def differs(before: Snapshot, after: Snapshot) -> set[str]:
    old, new = versions(before), versions(after)
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def test_a_pod_that_comes_changes_the_endpoints_of_its_revision_and_nothing_else():
    renderer = Renderer(settings=ListenerSettings())
    before = renderer.render(fleet(served("chat", ONE), served("code", ONE)))
    after = renderer.render(fleet(served("chat", ONE, TWO), served("code", ONE)))
    assert differs(before, after) == {"ClusterLoadAssignment team-a/chat/r1"}
    assert before.models["u-chat"].digest != after.models["u-chat"].digest
    assert before.models["u-code"] is after.models["u-code"], "rendered once"


def test_a_key_changes_the_table_and_nothing_else():
    renderer = Renderer(settings=ListenerSettings())
    before = renderer.render(fleet(served("chat", ONE)))
    after = renderer.render(fleet(served("chat", ONE), keys=("k", "l")))
    assert differs(before, after) == {"RouteConfiguration models"}
    assert before.models == after.models


def test_every_replica_gives_the_same_versions_whatever_came_first():
    chat, code = served("chat", ONE, TWO), served("code", ONE)
    turned = dataclasses.replace(chat, revisions=(Revision(name="r1", weight=1, endpoints=(TWO, ONE)),))
    one = Renderer(settings=ListenerSettings()).render(fleet(chat, code, keys=("k", "l")))
    other = Renderer(settings=ListenerSettings()).render(fleet(code, turned, keys=("l", "k")))
    assert versions(one) == versions(other)
    assert one.models == other.models


def test_a_models_routes_stand_once_however_many_names_lead_to_them():
    chat = dataclasses.replace(served("chat", ONE), adapter_names=("law", "sql"))
    found = Renderer(settings=ListenerSettings()).render(fleet(chat, served("code", ONE)))
    table = proto.routes.RouteConfiguration.FromString(found.resources[ROUTES][headers.ROUTES].body.value)
    by_name = table.virtual_hosts[0].matcher.matcher_tree.exact_match_map.map
    assert set(by_name) == {headers.LISTING, "team-a/chat", "chat", "law", "sql", "team-a/code", "code"}
    routed = {name for name, one in by_name.items() if b"team-a/chat/r1" in one.SerializeToString()}
    assert routed == {"team-a/chat"}


def test_a_cluster_never_comes_without_its_endpoints():
    found = Renderer(settings=ListenerSettings()).render(fleet(served("chat"), served("code", ONE)))
    assert found.resources[CLUSTERS].keys() == found.resources[ENDPOINTS].keys() == {"team-a/chat/r1", "team-a/code/r1"}


def test_a_cluster_has_no_dot_in_its_name():
    names = Renderer(settings=ListenerSettings()).render(fleet(served("chat"))).resources[CLUSTERS]
    assert not [name for name in names if "." in name]


def test_no_key_stands_outside_the_table():
    found = Renderer(settings=ListenerSettings()).render(fleet(served("chat"), keys=("sk-secret",)))
    holders = {k for k, of in found.resources.items() for r in of.values() if b"sk-secret" in r.body.value}
    assert holders == {ROUTES}
    assert found.resources[LISTENERS].keys() == {headers.LISTENER}
