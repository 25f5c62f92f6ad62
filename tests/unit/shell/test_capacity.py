"""What a pass sees of devices: quotas with everything that is promised, and nodes by the words of the template."""

import asyncio
import sys
from typing import Any

import pytest

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core import names
from modelfleet.core.fit import Claim
from modelfleet.core.quota import Left
from modelfleet.core.world import RenderSettings
from modelfleet.shell.cache import Cache
from modelfleet.shell.capacity import Capacity, Supply
from modelfleet.shell.handlers import _take_in
from modelfleet.shell.listing import Listing
from modelfleet.shell.queue import Key, WorkQueue

GPU = "nvidia.com/gpu"
KEY, NEIGHBOUR, ELSEWHERE = ("team", "chat"), ("team", "code"), ("other", "chat")
CONTAINERS = [{"name": "main", "resources": {"limits": {GPU: "1"}}}]


class Api:
    """Lists pods of others, and counts how often it was asked; quotas for who lists everything."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self.pods, self.quotas = list(pods), [quota(hard=4)]
        self.asked: list[dict[str, str]] = []
        self.slow: asyncio.Event | None = None
        """What a listing of a node waits for."""
        self.begun = asyncio.Event()

    async def list(self, *, kind: str, **where: str) -> list[dict[str, Any]]:
        if kind == "Pod" and where.get("selector", "").startswith("!"):
            self.asked.append(where)
            self.begun.set()
            if self.slow and "fields" in where:
                await self.slow.wait()
            return self.pods
        return self.quotas if kind == "ResourceQuota" else []


def quota(*, hard: int, used: int = 0, name: str = "gpus") -> dict[str, Any]:
    meta = {"namespace": "team", "name": name, "uid": f"uid-{name}", "resourceVersion": "1"}
    status = {"hard": {f"requests.{GPU}": str(hard)}, "used": {f"requests.{GPU}": str(used)}}
    return {"kind": "ResourceQuota", "metadata": meta, "spec": {"hard": status["hard"]}, "status": status}


def theirs(count: int) -> list[dict[str, Any]]:
    return [{"spec": {"containers": CONTAINERS}, "status": {"phase": "Running"}} for _ in range(count)]


def claim(times: int) -> Claim:
    return Claim(resource=GPU, count=1, times=times)


class Bench:
    """One LLMDeployment, and what it is shown."""

    def __init__(self, *pods: dict[str, Any], read_nodes: bool = False, **spec: Any) -> None:
        self.now = 0.0
        self.cache, self.api = Cache(), Api(*pods)
        raw = {"model": {"uri": "hf://org/model"}, "replicas": 1, **spec}
        self.body = {"metadata": {"namespace": "team", "name": "chat", "uid": "u"}, "spec": raw}
        self.spec = LLMDeploymentSpec.model_validate(raw)
        self.capacity = Capacity(
            kube=self.api,  # type: ignore[arg-type]
            cache=self.cache,
            render=RenderSettings(),
            read_nodes=read_nodes,
            clock=lambda: self.now,
        )

    async def look(self, key: Key = KEY) -> Supply:
        body = {**self.body, "metadata": {**self.body["metadata"], "namespace": key[0], "name": key[1]}}
        others = await self.capacity.ask(key, body=body, spec=self.spec)
        return self.capacity.look(key, body=body, spec=self.spec, others=others)

    def runs(self, key: Key = KEY, *, replicas: int) -> None:
        """Let the revision of the spec have replicas, each on a node."""
        revision = names.revision_hash(spec=self.body["spec"], annotations={})
        labels = names.owned_labels(name=key[1], revision=revision)
        meta = {"namespace": key[0], "name": "d", "uid": "d", "resourceVersion": "1", "labels": labels}
        meta["ownerReferences"] = [{"uid": "u"}]
        spec = {"replicas": replicas, "template": {"spec": {"containers": CONTAINERS}}}
        self.cache.observe({"kind": "Deployment", "metadata": meta, "spec": spec, "status": {}})


async def test_a_quota_counts_what_is_promised_and_not_yet_used() -> None:
    bench = Bench(*theirs(1))
    bench.cache.observe(quota(hard=6, used=2))
    bench.cache.devices.put(KEY, [claim(1)])
    bench.cache.devices.put(ELSEWHERE, [claim(9)])
    with bench.cache.devices.promise(NEIGHBOUR, [claim(2)]):
        assert (await bench.look()).quotas == (Left(quota="gpus", left=2, hard=6),)
    assert (await bench.look()).quotas == (Left(quota="gpus", left=4, hard=6),)
    bench.cache.observe(quota(hard=6, used=5))
    assert (await bench.look()).quotas == (Left(quota="gpus", left=1, hard=6),)


async def test_a_pod_that_is_seen_before_its_quota_counts_it_is_not_forgotten() -> None:
    bench = Bench(*theirs(2))
    bench.cache.observe(quota(hard=4, used=2))  # others' two; ours comes with the next event
    bench.cache.devices.put(KEY, [claim(1)])
    assert (await bench.look()).quotas[0].left == 1


async def test_what_is_kept_for_one_is_free_for_it_and_for_nobody_else() -> None:
    bench = Bench()
    bench.cache.observe(quota(hard=4))
    bench.cache.devices.put(KEY, [claim(1)], kept=[claim(1)])
    bench.cache.devices.put(NEIGHBOUR, [claim(1)], kept=[claim(1)])
    assert (await bench.look()).quotas[0].left == 1


async def test_of_those_that_keep_something_the_first_takes_what_is_left_and_then_the_next() -> None:
    bench, third = Bench(*theirs(1)), ("team", "third")
    bench.cache.observe(quota(hard=4))
    bench.cache.devices.put(KEY, [claim(1)], kept=[claim(1)])
    bench.cache.devices.put(NEIGHBOUR, [claim(1)], kept=[claim(1)])
    assert [(await bench.look(key)).quotas[0].left for key in (KEY, NEIGHBOUR, third)] == [1, 0, 0]
    bench.api.pods.clear()
    bench.now += 20
    bench.cache.devices.put(KEY, [claim(2)])
    assert [(await bench.look(key)).quotas[0].left for key in (KEY, NEIGHBOUR, third)] == [0, 1, 0]


async def test_who_keeps_something_takes_no_more_than_that_from_those_after_it() -> None:
    bench = Bench(read_nodes=True)
    for name in ("a", "b"):
        bench.cache.observe(node(name))
    bench.cache.devices.put(KEY, [], kept=[claim(1)])
    bench.cache.devices.put(NEIGHBOUR, [], kept=[claim(2)])
    for foreign, room in ((0, 2), (1, 1), (2, 1), (3, 1), (4, 0)):
        bench.cache.devices.put(ELSEWHERE, [claim(foreign)])
        found = (await bench.look()).room
        assert found is not None
        assert found.replicas == room, foreign


async def test_pods_of_others_are_listed_only_where_a_quota_limits_devices_and_not_each_time() -> None:
    bench = Bench(*theirs(1))
    assert (await bench.look()).quotas == ()
    assert bench.api.asked == []
    bench.cache.observe(quota(hard=4))
    for _ in range(3):
        await bench.look()
    assert [where["namespace"] for where in bench.api.asked] == ["team"]
    bench.now += 20
    bench.api.pods.clear()
    assert (await bench.look()).quotas[0].left == 4


async def test_cpu_replicas_ask_for_nothing() -> None:
    bench = Bench(read_nodes=True, accelerator={"resource": "none"})
    bench.cache.observe(quota(hard=4))
    assert await bench.look() == Supply()
    assert bench.api.asked == []


def node(name: str, *, taints: tuple[str, ...] = (), **labels: str) -> dict[str, Any]:
    spec = {"taints": [{"key": key, "effect": "NoSchedule"} for key in taints]}
    status = {"allocatable": {GPU: "2"}}
    return {"kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec, "status": status}


async def test_only_nodes_count_that_the_template_allows() -> None:
    overlay = {
        "spec": {
            "tolerations": [{"key": "team", "operator": "Exists"}],
            "nodeSelector": {"pool": "llm"},
        }
    }
    for template, free in ((overlay, 4), (None, 4), ({"spec": {"nodeSelector": {"pool": "none"}}}, 0)):
        bench = Bench(read_nodes=True, template=template)
        for one in (node("a", pool="llm"), node("b", taints=("team",), pool="llm"), node("c", pool="web")):
            bench.cache.observe(one)
        room = (await bench.look()).room
        assert room is not None
        assert room.replicas == free, template


async def test_the_stored_template_of_a_revision_is_what_counts() -> None:
    bench = Bench(read_nodes=True)
    bench.cache.observe(node("a", pool="llm"))
    revision = names.revision_hash(spec=bench.body["spec"], annotations={})
    labels = names.owned_labels(name="chat", revision=revision)
    meta = {"namespace": "team", "name": "chat-1", "uid": "s", "resourceVersion": "1", "labels": labels}
    meta["ownerReferences"] = [{"uid": "u"}]
    data = {"template": {"spec": {"nodeSelector": {"pool": "old"}}}}
    bench.cache.observe({"kind": "ControllerRevision", "metadata": meta, "revision": 1, "data": data})
    room = (await bench.look()).room
    assert room is not None
    assert (room.replicas, room.largest_node) == (0, 0)


async def test_a_quota_that_changes_wakes_who_waits_in_its_namespace() -> None:
    cache, queue = Cache(), WorkQueue(clock=lambda: 0.0)
    cache.waiting |= {KEY, ELSEWHERE}
    _take_in(quota(hard=4, used=4), False, cache=cache, queue=queue)  # noqa: FBT003 - see _take_in()
    assert await queue.get() == KEY
    queue.done(KEY)
    _take_in(quota(hard=4, used=4), False, cache=cache, queue=queue)  # noqa: FBT003 - see _take_in()
    assert len(queue) == 0, "nothing new"
    _take_in(quota(hard=4), True, cache=cache, queue=queue)  # noqa: FBT003 - see _take_in()
    assert (await queue.get(), cache.quotas) == (KEY, {})


async def test_a_quota_that_vanished_unseen_is_dropped_by_the_listing() -> None:
    cache, api = Cache(), Api()
    listing = Listing(kube=api, cache=cache, namespaces=("",), read_nodes=False)  # type: ignore[arg-type]
    await listing.refresh()
    assert [one.name for one in cache.quotas_of("team")] == ["gpus"]
    cache.waiting |= {KEY, ELSEWHERE}
    api.quotas.clear()
    assert await listing.refresh() == {KEY}
    assert cache.quotas_of("team") == []


async def test_what_a_quota_does_not_give_one_is_kept_from_nobody() -> None:
    bench = Bench()
    bench.cache.observe(quota(hard=7, used=6))
    labels = names.owned_labels(name="chat", revision="r")
    meta = {**bench.body["metadata"], "resourceVersion": "1", "labels": labels}
    bench.cache.observe({"kind": names.KIND, "metadata": meta, "spec": {}, "status": {"scaling": {"desired": 8}}})
    bench.runs(replicas=6)
    assert (await bench.look(NEIGHBOUR)).quotas[0].left == 1


async def test_while_nodes_are_listed_only_those_wait_who_need_the_answer() -> None:
    bench = Bench(read_nodes=True, replicas=2)
    bench.cache.observe(node("a"))
    bench.runs(replicas=2)
    bench.cache.observe(quota(hard=4))
    bench.api.slow = asyncio.Event()
    async with asyncio.timeout(10):
        waiting = asyncio.create_task(bench.look(ELSEWHERE))
        await bench.api.begun.wait()
        second = asyncio.create_task(bench.look(ELSEWHERE))
        assert (await bench.look()).room is None, "it is settled"
        bench.api.slow.set()
        rooms = [supply.room for supply in await asyncio.gather(waiting, second)]
    assert [room.replicas for room in rooms if room] == [0, 0]
    assert len(bench.api.asked) == 1


@pytest.mark.parametrize(
    ("spec", "used", "asks"),
    [
        ({"replicas": 2}, 2, False),  # as many as it may ever ask for
        ({"replicas": 3}, 6, True),
        ({"replicas": 3}, 2, False),  # there is room for it, whosever those are
        ({"replicas": 2, "suspend": True}, 2, False),
        ({"replicas": None, "scaling": {"maxReplicas": 4, "metrics": [{"type": "InFlight", "target": 8}]}}, 5, True),
        ({"replicas": None, "scaling": {"maxReplicas": 4, "metrics": [{"type": "InFlight", "target": 8}]}}, 8, False),
        ({"replicas": None, "scaling": {"maxReplicas": 4, "metrics": [{"type": "InFlight", "target": 8}]}}, 2, False),
    ],
)
async def test_pods_of_others_are_listed_only_where_the_pass_may_ask_for_more_than_is_left(
    *, spec: dict[str, Any], used: int, asks: bool
) -> None:
    bench = Bench(*theirs(2), **spec)
    bench.cache.observe(quota(hard=8, used=used))
    bench.runs(replicas=2)
    supply = await bench.look()
    assert bool(bench.api.asked) is asks
    assert supply.quotas[0].left == 8 - max(used, 4 if asks else 2)


def effort(bench: Bench) -> int:
    """Count the steps of the interpreter that it takes to know a quota and what is claimed of it."""
    steps = 0

    def trace(*_: object) -> object:
        nonlocal steps
        steps += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        bench.cache.quotas_of("team")
        bench.cache.devices.claimed(resource=GPU, asker=KEY)
    finally:
        sys.settrace(before)
    return steps


def test_other_namespaces_make_a_quota_no_harder_to_count() -> None:
    bench = Bench()
    bench.cache.observe(quota(hard=4))
    bench.cache.devices.put(KEY, [claim(2)])
    alone = effort(bench)
    for number in range(50):
        meta = {**quota(hard=4)["metadata"], "namespace": f"other-{number}"}
        bench.cache.observe({**quota(hard=4), "metadata": meta})
        bench.cache.devices.put((f"other-{number}", "chat"), [claim(1)])
    assert effort(bench) == alone
