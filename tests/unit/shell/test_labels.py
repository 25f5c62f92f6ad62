"""Objects of ours without the labels by which they are watched: taken back, and never anybody else's."""

from dataclasses import replace
from typing import Any

import pytest

from modelfleet.adapters.errors import Conflict, Gone
from modelfleet.core import names, observe
from modelfleet.core.decide import decide
from modelfleet.core.plan import Plan, Relabel
from modelfleet.core.render import objects
from modelfleet.shell.cache import Cache as ShellCache
from modelfleet.shell.execute import Executor
from modelfleet.shell.refused import ObjectRefused
from tests.unit.core.cluster import UID, Cluster

KEY, OTHER = ("team", "chat"), ("team", "code")


class Unlabelled:
    """An API server on which every object exists as it should, but for what the test changes in its metadata."""

    def __init__(self, **changes: Any) -> None:
        self.changes, self.manifests, self.patches = changes, dict[str, Any](), list[dict[str, Any]]()
        self.takes_labels_away = False

    async def create(self, manifest: dict[str, Any], **_how: Any) -> dict[str, Any]:
        self.manifests[manifest["kind"]] = manifest
        raise Conflict("already exists")

    async def get(self, *, kind: str, **_where: str) -> dict[str, Any]:
        manifest = self.manifests[kind]
        meta = {**manifest["metadata"], "uid": "x", "resourceVersion": "7", **self.changes}
        return {**manifest, "metadata": meta}

    async def patch(self, *, kind: str, **how: Any) -> dict[str, Any]:
        self.patches.append({"kind": kind, **how})
        manifest = self.manifests[kind]
        kept = self.changes if self.takes_labels_away else {}
        meta = {**manifest["metadata"], "uid": "x", "resourceVersion": "8", **kept}
        return {**manifest, "status": {}, "metadata": meta}


async def run(kube: Any, cache: ShellCache | None = None) -> None:
    snapshot = Cluster().snapshot()
    plan = decide(snapshot)
    only = replace(
        plan, actions=tuple(a for a in plan.actions if getattr(a, "manifest", {}).get("kind") == "Service")[:1]
    )
    await Executor(kube=kube, cache=cache or ShellCache()).run(key=KEY, snapshot=snapshot, plan=only)


async def test_what_is_ours_gets_its_labels_back_and_is_seen_at_once() -> None:
    kube, cache = Unlabelled(labels={"mine": "stays", names.MANAGED_BY: "modelfleet"}), ShellCache()
    with pytest.raises(Conflict):  # the plan was made without it
        await run(kube, cache)
    (patch,) = kube.patches
    labels = {names.OWNER: "chat", names.APP_NAME: "modelfleet-engine"}
    assert patch["body"] == {"metadata": {"resourceVersion": "7", "labels": labels}}
    assert patch["manager"] == "modelfleet-meta"
    assert [one.name for one in cache.records(KEY, kind="Service", uid=UID)] == ["chat"]


async def test_labels_that_do_not_stick_are_told() -> None:
    kube = Unlabelled(labels={})
    kube.takes_labels_away = True
    with pytest.raises(ObjectRefused, match="some webhook takes them away"):
        await run(kube)


def owner(**changes: Any) -> list[dict[str, Any]]:
    return [{"kind": "LLMDeployment", "name": "chat", "uid": UID, "controller": True, **changes}]


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {}, "ownerReferences": owner(uid="an earlier chat")},
        {"labels": {}, "ownerReferences": owner(controller=False)},
        {"labels": {}, "deletionTimestamp": "now"},
        {},
    ],
    ids=["of an earlier one", "not its controller", "on its way out", "as it should be"],
)
async def test_nothing_else_is_touched(changes: dict[str, Any]) -> None:
    kube = Unlabelled(**changes)
    with pytest.raises(Conflict):
        await run(kube)
    assert kube.patches == []


def settled() -> Cluster:
    cluster = Cluster()
    cluster.settle()
    return cluster


def relabels(plan: Plan) -> list[tuple[str, bool]]:
    return [(a.manifest["metadata"]["name"], a.seen) for a in plan.actions if isinstance(a, Relabel)]


def test_a_deployment_that_lost_a_label_or_went_out_of_sight_is_looked_for() -> None:
    cluster = settled()
    (name,) = cluster.workloads
    assert relabels(decide(cluster.snapshot())) == []
    cluster.workloads[name] = replace(cluster.workloads[name], mislabelled=True)
    assert relabels(decide(cluster.snapshot())) == [(name, True)]
    cluster.workloads.clear()
    assert relabels(decide(cluster.snapshot())) == [(name, False)]


async def test_a_deployment_that_is_really_gone_holds_nothing_up() -> None:
    class Empty(Unlabelled):
        async def get(self, **where: Any) -> dict[str, Any]:
            raise Gone(where["name"])

    cluster = settled()
    looked = Relabel(manifest=objects.known_deployment(cluster.snapshot(), revision=cluster.revision), seen=False)
    plan = Plan(actions=(looked,), status=cluster.status)
    await Executor(kube=Empty(), cache=ShellCache()).run(key=KEY, snapshot=cluster.snapshot(), plan=plan)


def test_the_revision_is_read_where_nobody_can_change_it() -> None:
    chosen = {names.OWNER: "chat", names.REVISION: "r1"}
    meta = {
        "name": "chat-r1",
        "uid": "u",
        "resourceVersion": "1",
        "labels": names.owned_labels(name="chat", revision="r1"),
    }
    bare = {**meta, "labels": names.owned_labels(name="chat")}
    spec = {"replicas": 2, "template": {}, "selector": {"matchLabels": chosen}}
    live = observe.workload({"metadata": bare, "spec": spec})
    assert (live.revision, live.mislabelled) == ("r1", True)
    assert not observe.workload({"metadata": meta, "spec": spec}).mislabelled
    stored = observe.stored_revision({"metadata": bare, "data": {"template": {"metadata": {"labels": chosen}}}})
    assert stored.revision == "r1"


def test_an_object_whose_label_comes_to_name_another_is_missed_by_the_first() -> None:
    cache, uid = ShellCache(), "u"

    def service(*, of: str, version: int) -> dict[str, Any]:
        meta = {"name": "chat", "namespace": "team", "uid": "s", "resourceVersion": str(version)}
        meta |= {"labels": {names.OWNER: of}, "ownerReferences": [{"uid": uid}]}
        return {"kind": "Service", "metadata": meta}

    def seen(key: tuple[str, str]) -> int:
        return len(list(cache.records(key, kind="Service", uid=uid)))

    assert cache.observe(service(of="chat", version=1)) == KEY
    assert cache.observe(service(of="code", version=2)) == KEY, "who missed it must look"
    assert (seen(KEY), seen(OTHER)) == (0, 1)
    cache.observe(service(of="chat", version=3))
    assert cache.observe(service(of="code", version=2)) == KEY, "an old event changes nothing"
    assert (seen(KEY), seen(OTHER)) == (1, 0)
    assert cache.observe(service(of="", version=4)) == KEY, "nobody's by now"
    assert (seen(KEY), seen(OTHER)) == (0, 0)
