"""What a pass sees of devices: quotas with everything that is promised, and nodes by the words of the template."""

from typing import Any

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core import names
from modelfleet.core.fit import Claim
from modelfleet.core.quota import Left
from modelfleet.core.world import RenderSettings
from modelfleet.shell.cache import Cache
from modelfleet.shell.capacity import Capacity, Supply
from modelfleet.shell.handlers import _take_in
from modelfleet.shell.listing import Listing
from modelfleet.shell.queue import WorkQueue

GPU = "nvidia.com/gpu"
KEY, NEIGHBOUR, ELSEWHERE = ("team", "chat"), ("team", "code"), ("other", "chat")
CONTAINERS = [{"name": "main", "resources": {"limits": {GPU: "1"}}}]


class Api:
    """Lists pods of others, and counts how often it was asked; quotas for who lists everything."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self.pods, self.quotas = list(pods), [quota(hard=4)]
        self.asked: list[dict[str, str]] = []

    async def list(self, *, kind: str, **where: str) -> list[dict[str, Any]]:
        if kind == "Pod" and where.get("selector", "").startswith("!"):
            self.asked.append(where)
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

    async def look(self) -> Supply:
        others = await self.capacity.ask(KEY, body=self.body, spec=self.spec)
        return self.capacity.look(KEY, body=self.body, spec=self.spec, others=others)


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
