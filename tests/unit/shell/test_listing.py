"""A listing repairs what no watch told: an object that was deleted while the watch was away."""

import asyncio
from typing import Any

import pytest

from modelfleet.adapters.errors import Gone, Transient
from modelfleet.core import names
from modelfleet.shell.cache import Cache
from modelfleet.shell.listing import Listing
from modelfleet.shell.queue import WorkQueue

KEY = ("team", "chat")


def meta(name: str, uid: str, version: int) -> dict[str, Any]:
    labels = names.owned_labels(name="chat", revision="0123456789")
    return {"name": name, "namespace": "team", "uid": uid, "resourceVersion": str(version), "labels": labels}


def fleet() -> dict[str, Any]:
    spec = {"model": {"uri": "hf://a/b"}, "replicas": 1}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": meta("chat", "u1", 1),
        "spec": spec,
    }


def pod(name: str, uid: str, version: int = 2) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta(name, uid, version), "spec": {}, "status": {}}


class Api:
    """What exists, by kind."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = list(objects)
        self.on_list: Any = None

    async def list(self, *, kind: str, **_: Any) -> list[dict[str, Any]]:
        found = [o for o in self.objects if o["kind"] == kind]
        if self.on_list:
            self.on_list(kind)
        return found


def node(name: str) -> dict[str, Any]:
    return {"kind": "Node", "metadata": {"name": name}, "status": {"allocatable": {"nvidia.com/gpu": "8"}}}


def pods(cache: Cache) -> list[str]:
    return [r.name for r in cache.records(KEY, kind="Pod", uid="u1")]


async def test_what_vanished_unseen_is_dropped_and_named() -> None:
    cache, api = Cache(), Api(fleet(), pod("a", "p1"), pod("b", "p2"))
    listing = Listing(kube=api, cache=cache, namespaces=("",), read_nodes=False)  # type: ignore[arg-type]
    assert await listing.refresh() == set()
    assert pods(cache) == ["a", "b"]
    api.objects.pop()
    assert await listing.refresh() == {KEY}
    assert pods(cache) == ["a"]
    api.objects.clear()
    assert await listing.refresh() == {KEY}
    assert not cache.fleet
    assert not pods(cache)


async def test_what_a_watch_shows_during_the_listing_stays() -> None:
    cache, api = Cache(), Api(fleet(), pod("a", "p1"))
    listing = Listing(kube=api, cache=cache, namespaces=("",), read_nodes=False)  # type: ignore[arg-type]
    api.on_list = lambda kind: cache.observe(pod("new", "p9", 7)) if kind == "Pod" else None
    assert await listing.refresh() == set()
    assert pods(cache) == ["a", "new"]


async def test_it_tells_while_something_cannot_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelfleet.shell.listing.REFRESH_SECONDS", 0.0)
    monkeypatch.setattr("modelfleet.shell.listing.RETRY_SECONDS", 0.001)
    cache, api = Cache(), Api(fleet())
    told: asyncio.Queue[str] = asyncio.Queue()

    def refuse(_: str) -> None:
        raise Gone("the server could not find the requested resource")

    api.on_list = refuse
    listing = Listing(kube=api, cache=cache, namespaces=("",), read_nodes=False)  # type: ignore[arg-type]
    queue = WorkQueue(clock=lambda: 0.0)
    keeping = asyncio.create_task(listing.keep(queue=queue, tell=told.put_nowait))
    async with asyncio.timeout(10):
        problem = await told.get()
        assert "could not find" in problem
        assert "install the CRD" in problem
        api.on_list = None
        while await told.get():
            pass  # what was refused before
    assert KEY in cache.fleet
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_node_that_vanished_unseen_is_dropped_and_wakes_who_waits() -> None:
    cache, api = Cache(), Api(node("a"), node("b"))
    listing = Listing(kube=api, cache=cache, namespaces=("",), read_nodes=True)  # type: ignore[arg-type]
    cache.waiting.add(KEY)
    assert await listing.refresh() == set()
    api.objects.pop()
    api.on_list = lambda kind: cache.observe(node("new")) if kind == "Node" else None
    assert await listing.refresh() == {KEY}
    assert set(cache.nodes) == {"a", "new"}


async def test_a_listing_that_timed_out_is_tried_again_soon_and_names_no_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelfleet.shell.listing.REFRESH_SECONDS", 0.0)
    monkeypatch.setattr("modelfleet.shell.listing.RETRY_SECONDS", 0.001)
    cache, api = Cache(), Api(fleet())
    told: asyncio.Queue[str] = asyncio.Queue()
    failures = iter(range(3))

    def fail(_: str) -> None:
        if next(failures, None) is not None:
            monkeypatch.setattr("modelfleet.shell.listing.REFRESH_SECONDS", 300.0)
            raise Transient("timed out")

    api.on_list = fail
    listing = Listing(kube=api, cache=cache, namespaces=("",), read_nodes=False)  # type: ignore[arg-type]
    keeping = asyncio.create_task(listing.keep(queue=WorkQueue(clock=lambda: 0.0), tell=told.put_nowait))
    async with asyncio.timeout(10):
        assert not await told.get()
    assert next(failures, None) is None, "it failed before"
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
