"""When the API server is asked how it writes a template down: where it differs, once for each live template."""

from typing import Any

import pytest

from modelfleet.adapters.errors import Gone, Refused, Transient
from modelfleet.core import names
from modelfleet.core.world import Workload
from modelfleet.shell.cache import Cache
from modelfleet.shell.rewritten import Rewritten

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
        self.cache, self.asked = Cache(), 0
        self.answer: dict[str, Any] | Exception = WRITTEN
        self.rewritten = Rewritten(kube=self, cache=self.cache)  # type: ignore[arg-type]
        self.cache.observe(owned("ControllerRevision", data={"template": STORED}, revision=1))
        self.show(live)

    def show(self, live: dict[str, Any], *, version: int = 1) -> None:
        self.cache.observe(owned("Deployment", version=version, spec={"replicas": 1, "template": live}))

    async def patch(self, *, dry_run: bool, body: Any, **_: Any) -> dict[str, Any]:
        assert dry_run
        assert body == [{"op": "replace", "path": "/spec/template", "value": STORED}]
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"spec": {"template": self.answer}}

    async def is_rewritten(self) -> bool:
        await self.rewritten.ask(KEY, uid="u1")
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


@pytest.mark.parametrize("problem", [Gone("gone"), Refused("no")])
async def test_without_an_answer_it_counts_as_edited(problem):
    world = World(live=WRITTEN)
    world.answer = problem
    assert not await world.is_rewritten()


async def test_a_server_that_does_not_answer_ends_the_pass():
    world = World(live=WRITTEN)
    world.answer = Transient("busy")
    with pytest.raises(Transient):
        await world.is_rewritten()


async def test_who_is_gone_is_forgotten():
    world = World(live=WRITTEN)
    assert await world.is_rewritten()
    world.rewritten.forget(KEY)
    assert await world.is_rewritten()
    assert world.asked == 2
