"""When the API server is asked how it writes a template down: where it differs, once for each live template."""

from typing import Any

import pytest

from modelfleet.adapters.errors import Gone, NotLeader, Refused, Transient
from modelfleet.core import names
from modelfleet.core.world import Workload
from modelfleet.shell.cache import Cache
from modelfleet.shell.rewritten import UNKNOWN_SECONDS, Rewritten

KEY = ("team", "chat")
STORED = {"spec": {"hostNetwork": False, "containers": [{"name": "engine"}]}}
WRITTEN = {"spec": {"containers": [{"name": "engine"}], "dnsPolicy": "ClusterFirst"}}


def owned(kind: str, *, version: int = 1, **body: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {
            "name": "chat-r",
            "namespace": "team",
            "uid": kind,
            "resourceVersion": str(version),
            "labels": names.owned_labels(name="chat", revision="r"),
            "ownerReferences": [{"uid": "u1"}],
        },
        **body,
    }


class World:
    def __init__(self, live: dict[str, Any]) -> None:
        self.cache, self.asked, self.now, self.again = Cache(), 0, 0.0, 0.0
        self.answer: dict[str, Any] | Exception = WRITTEN
        self.stored: dict[str, Any] = STORED
        self.rewritten = Rewritten(kube=self, cache=self.cache, clock=lambda: self.now)  # type: ignore[arg-type]
        self.cache.observe(owned("ControllerRevision", data={"template": STORED}, revision=1))
        self.show(live)

    def show(self, live: dict[str, Any], *, version: int = 1) -> None:
        self.cache.observe(owned("Deployment", version=version, spec={"replicas": 1, "template": live}))

    async def patch(self, *, dry_run: bool, body: Any, **_: Any) -> dict[str, Any]:
        assert dry_run
        assert body == [{"op": "replace", "path": "/spec/template", "value": self.stored}]
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"spec": {"template": self.answer}}

    async def is_rewritten(self) -> bool:
        self.again = await self.rewritten.ask(KEY, uid="u1")
        (workload,) = self.cache.records(KEY, kind="Deployment", uid="u1")
        marked: Workload = self.rewritten.marked(KEY, workload)
        return marked.rewritten


async def test_what_the_server_makes_of_the_stored_template_is_asked_once():
    world = World(live=WRITTEN)
    assert await world.is_rewritten()
    world.show(WRITTEN, version=2)
    assert await world.is_rewritten()
    assert world.asked == 1


async def test_an_edit_is_none_of_it_whatever_was_known():
    world = World(live=WRITTEN)
    assert await world.is_rewritten()
    world.show({"spec": {"containers": [{"name": "another"}]}}, version=2)
    assert not await world.is_rewritten()


async def test_nobody_is_asked_about_a_template_that_says_what_was_stored():
    world = World(live={"spec": {**STORED["spec"], "dnsPolicy": "ClusterFirst"}})
    assert not await world.is_rewritten()
    assert world.asked == 0


@pytest.mark.parametrize("problem", [Gone("gone"), Refused("no"), Transient("busy")], ids=lambda p: type(p).__name__)
async def test_without_an_answer_nothing_counts_as_edited_and_it_is_asked_again(problem):
    world = World(live={"spec": {"containers": [{"name": "another"}]}})
    world.answer = problem
    assert await world.is_rewritten()
    assert await world.is_rewritten()
    assert (world.asked, world.again) == (1, UNKNOWN_SECONDS)
    world.now, world.answer = UNKNOWN_SECONDS, WRITTEN
    assert not await world.is_rewritten()
    assert (world.asked, world.again) == (2, None)


async def test_who_may_not_write_does_not_go_on():
    world = World(live=WRITTEN)
    world.answer = NotLeader("another leads")
    with pytest.raises(NotLeader):
        await world.is_rewritten()


async def test_an_edit_is_asked_about_once_too():
    world = World(live={"spec": {"containers": [{"name": "another"}]}})
    for version in (2, 3):
        assert not await world.is_rewritten()
        world.show({"spec": {"containers": [{"name": "another"}]}}, version=version)
    assert world.asked == 1


async def test_a_webhook_that_is_gone_or_writes_otherwise_by_now_restarts_nothing():
    live = {**WRITTEN, "metadata": {"annotations": {"injected": "yes"}}}
    world = World(live={**live, "spec": {**live["spec"], "containers": [{"name": "engine", "image": "mirror-1/a"}]}})
    world.stored = {"spec": {"hostNetwork": False, "containers": [{"name": "engine", "image": "a"}]}}
    world.cache.observe(owned("ControllerRevision", version=2, data={"template": world.stored}, revision=1))
    world.answer = {"spec": {"containers": [{"name": "engine", "image": "mirror-2/a"}]}}
    assert await world.is_rewritten()


async def test_what_is_known_of_a_deployment_goes_with_it():
    world = World(live=WRITTEN)
    assert await world.is_rewritten()
    (workload,) = world.cache.records(KEY, kind="Deployment", uid="u1")
    world.cache.observe(owned("Deployment", version=3, spec={"replicas": 1, "template": WRITTEN}), deleted=True)
    await world.rewritten.ask(KEY, uid="u1")
    assert not world.rewritten.marked(KEY, workload).rewritten


async def test_who_is_gone_is_forgotten():
    world = World(live=WRITTEN)
    assert await world.is_rewritten()
    world.rewritten.forget(KEY)
    assert await world.is_rewritten()
    assert world.asked == 2
