"""In which order an Envoy is told of a revision that has lost its last endpoint."""

from typing import Any

from modelfleet.core.routing.model import Endpoint, Fleet, Revision, Served
from modelfleet.gateway import proto
from modelfleet.gateway.render_listener import ListenerSettings
from modelfleet.gateway.snapshot import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, Renderer, Snapshot
from modelfleet.gateway.stream import Stream

ONE, TWO = Endpoint(address="10.0.0.1"), Endpoint(address="10.0.0.2")


class Envoy:
    """The other end of a stream: asks for all, and says yes to every answer but those of the kind that it refuses."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.stream, self.refused = Stream(), ""
        for kind in (CLUSTERS, ENDPOINTS, LISTENERS, ROUTES):
            self.say(snapshot, kind)
        self.told(snapshot)

    def say(self, snapshot: Snapshot, kind: str, **more: Any) -> None:
        self.stream.take(proto.discovery.DeltaDiscoveryRequest(type_url=kind, **more), snapshot=snapshot)

    def told(self, snapshot: Snapshot) -> list[str]:
        """What is sent until nothing is left to say, each thing after the yes to all before it."""
        seen: list[str] = []
        while responses := list(self.stream.due(snapshot)):
            for response in responses:
                seen += [f"{response.type_url.rpartition('.')[2]} {one.name}" for one in response.resources]
                no = {"error_detail": {"message": "no"}} if response.type_url == self.refused else {}
                self.say(snapshot, response.type_url, response_nonce=response.nonce, **no)
        return seen


def snapshots(*worlds: tuple[Revision, ...]) -> list[Snapshot]:
    given = {"uid": "u", "namespace": "team-a", "created": "2026-01-01T00:00:00Z", "served_name": "chat"}
    renderer = Renderer(settings=ListenerSettings())
    return [renderer.render(Fleet(models=(Served(name="chat", revisions=one, **given),))) for one in worlds]


def revision(name: str, *endpoints: Endpoint, weight: int = 50) -> Revision:
    return Revision(name=name, weight=weight, endpoints=endpoints)


def test_routes_pass_a_revision_over_before_its_last_endpoint_goes():
    before, after = snapshots((revision("r1", ONE), revision("r2", TWO)), (revision("r1", ONE), revision("r2")))
    envoy = Envoy(before)
    assert envoy.told(after) == ["RouteConfiguration models", "ClusterLoadAssignment team-a/chat/r2"]
    assert envoy.stream.confirmed == {"u": after.models["u"].digest}
    assert envoy.told(before) == ["ClusterLoadAssignment team-a/chat/r2", "RouteConfiguration models"], "and back"


def test_refused_routes_hold_no_endpoint_back():
    before, after = snapshots((revision("r1", ONE), revision("r2", TWO)), (revision("r1", ONE), revision("r2")))
    envoy = Envoy(before)
    envoy.refused = ROUTES
    assert envoy.told(after) == ["RouteConfiguration models", "ClusterLoadAssignment team-a/chat/r2"]
    assert envoy.stream.rejections.keys() == {ROUTES}


def test_an_endpoint_that_no_other_revision_stands_in_for_goes_at_once():
    before, after = snapshots((revision("r1", ONE), revision("r2", TWO, weight=0)), (revision("r1"), revision("r2")))
    envoy = Envoy(before)
    assert envoy.told(after)[:2] == ["ClusterLoadAssignment team-a/chat/r1", "ClusterLoadAssignment team-a/chat/r2"]


def test_a_new_revision_has_its_endpoints_before_its_routes_though_there_are_none():
    before, after = snapshots((revision("r1", ONE),), (revision("r1", ONE), revision("r2")))
    envoy = Envoy(before)
    told = envoy.told(after)
    assert told.index("ClusterLoadAssignment team-a/chat/r2") < told.index("RouteConfiguration models")
