"""Whether HTTPRoutes can be read, and whose the route of a name is."""

from typing import Any

import pytest

from modelfleet.adapters.errors import Gone, Refused, Transient
from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core import names
from modelfleet.core.world import OwnedObject, RouteObstacle
from modelfleet.shell.cache import Cache
from modelfleet.shell.routes import REFUSAL_SECONDS, Routes

KEY = ("team", "chat")
BODY = {"metadata": {"uid": "u1", "generation": 3}}
ROUTED = LLMDeploymentSpec.model_validate(
    {
        "model": {"uri": "hf://a/b"},
        "replicas": 1,
        "routing": {"provider": "GatewayAPI", "gatewayAPI": {"parentRefs": [{"name": "edge"}]}},
    }
)


def route(*, owner: str = "u1", labelled: bool = True) -> dict[str, Any]:
    meta = {"name": "chat", "namespace": "team", "uid": "r1", "resourceVersion": "5"}
    owners = [{"kind": "LLMDeployment", "name": "chat", "uid": owner}] if owner else []
    labels = names.owned_labels(name="chat") if labelled else {}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {**meta, "labels": labels, "ownerReferences": owners},
        "spec": {},
    }


class Api:
    """Has one route at most, or says why not."""

    def __init__(self) -> None:
        self.route: dict[str, Any] | None = None
        self.problem: Exception | None = None
        self.asked = 0

    async def list(self, **_: Any) -> list[dict[str, Any]]:
        if self.problem:
            raise self.problem
        return [self.route] if self.route and self.route["metadata"]["labels"] else []

    async def get(self, **_: Any) -> dict[str, Any]:
        self.asked += 1
        if self.route is None:
            raise Gone("not found")
        return self.route


class World:
    def __init__(self) -> None:
        self.api, self.cache, self.now = Api(), Cache(), 0.0
        self.routes = Routes(
            api=None,  # no watch is opened here
            kube=self.api,  # type: ignore[arg-type]
            cache=self.cache,
            namespaces=("",),
            clock=lambda: self.now,
        )

    async def find(self, *, generation: int = 3) -> OwnedObject | RouteObstacle | None:
        body = {"metadata": {"uid": "u1", "generation": generation}}
        return await self.routes.find(KEY, body=body, spec=ROUTED)


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("problem", [Gone("could not find the resource"), Refused("httproutes is forbidden")])
async def test_an_api_that_cannot_be_read_is_missing_in_the_servers_words(world: World, problem: Exception) -> None:
    world.api.route = route()
    await world.routes.look()
    assert await world.find() is not None
    world.api.problem = problem
    await world.routes.look()
    assert await world.find() == RouteObstacle(reason="GatewayAPIMissing", message=str(problem))
    assert not world.cache.known(kind="HTTPRoute"), "what was seen of it is no longer true"
    world.api.problem = None
    await world.routes.look()
    assert isinstance(await world.find(), OwnedObject)


async def test_an_api_server_that_is_busy_says_nothing_of_it(world: World) -> None:
    world.api.route, world.api.problem = route(), None
    await world.routes.look()
    world.api.problem = Transient("busy")
    with pytest.raises(Transient):
        await world.routes.look()
    assert isinstance(await world.find(), OwnedObject)


async def test_a_deletion_that_no_watch_showed_is_found_and_whose_it_was_is_told(world: World) -> None:
    world.api.route = route()
    assert await world.routes.look() == set()
    world.api.route = None
    assert await world.routes.look() == {KEY}
    assert await world.find() is None, "it is to be made again"


async def test_a_known_route_is_not_asked_for(world: World) -> None:
    world.api.route = route()
    await world.routes.look()
    assert isinstance(await world.find(), OwnedObject)
    assert not world.api.asked


async def test_the_route_of_another_is_told_with_its_owner(world: World) -> None:
    world.api.route = route(owner="u-older")
    await world.routes.look()
    assert await world.find() == RouteObstacle(reason="RouteNotOurs", message="LLMDeployment chat")
    world.api.route = route(owner="", labelled=False)
    assert await world.find() == RouteObstacle(reason="RouteNotOurs", message="someone else")
    world.api.route = None
    assert await world.find() is None


async def test_an_own_route_without_labels_is_found_by_its_name(world: World) -> None:
    world.api.route = route(labelled=False)
    await world.routes.look()
    found = await world.find()
    assert isinstance(found, OwnedObject)
    assert found.resource_version == "5"


async def test_a_refusal_holds_for_its_generation_and_a_time(world: World) -> None:
    world.routes.refused(KEY, generation=3, message="no")
    assert await world.find() == RouteObstacle(reason="RouteRefused", message="no")
    assert await world.find(generation=4) is None
    world.now = REFUSAL_SECONDS
    assert await world.find() is None
    world.routes.refused(KEY, generation=3, message="no")
    world.routes.forget(KEY)
    assert await world.find() is None


async def test_other_providers_are_not_asked_about(world: World) -> None:
    other = ROUTED.model_copy(update={"routing": ROUTED.routing.model_copy(update={"provider": "Service"})})
    assert await world.routes.find(KEY, body=BODY, spec=other) is None
    assert await world.routes.find(KEY, body=BODY, spec=None) is None
    assert not world.api.asked
