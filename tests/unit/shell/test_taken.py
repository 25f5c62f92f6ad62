"""Names that somebody else has: told by whatever met them, left out of plans for a while, tried again after."""

from types import MappingProxyType
from typing import Any

import pytest

from modelfleet.adapters.errors import Conflict, Gone
from modelfleet.core import names
from modelfleet.core.conditions import find
from modelfleet.core.decide import decide
from modelfleet.core.plan import Create, DryRun, Plan
from modelfleet.shell.cache import Cache as ShellCache
from modelfleet.shell.execute import Executor
from modelfleet.shell.taken import TAKEN_SECONDS, NameTaken, Taken
from tests.unit.core.cluster import Cluster

KEY, OTHER = ("team", "chat"), ("team", "code")
SERVICE = Create(manifest=MappingProxyType({"kind": "Service", "metadata": {"name": "chat"}}))
DEPLOYMENT = Create(manifest=MappingProxyType({"kind": "Deployment", "metadata": {"name": "chat"}}))


def test_a_taken_name_is_left_out_for_a_while_and_then_tried_again() -> None:
    now = 0.0
    taken = Taken(clock=lambda: now)
    plan = Plan(actions=(SERVICE, DEPLOYMENT))
    assert taken.without(KEY, plan) == plan
    taken.put(KEY, NameTaken(kind="Service", name="chat"))
    assert taken.of(KEY) == ("Service chat",)
    held = taken.without(KEY, plan)
    assert (held.actions, held.requeue_after) == ((DEPLOYMENT,), TAKEN_SECONDS)
    assert taken.without(OTHER, plan) == plan
    now = TAKEN_SECONDS
    assert taken.of(KEY) == ()
    assert taken.without(KEY, plan) == plan


def test_who_is_gone_is_forgotten() -> None:
    taken = Taken(clock=lambda: 0.0)
    taken.put(KEY, NameTaken(kind="Service", name="chat"))
    taken.forget(KEY)
    assert taken.of(KEY) == ()


class Orphaned:
    """An API server on which these objects stand without an owner, as after `kubectl delete --cascade=orphan`."""

    def __init__(self, *kinds: str) -> None:
        self.kinds, self.stored, self.status = kinds, list[str](), dict[str, Any]()

    async def create(self, manifest: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        if manifest["kind"] in self.kinds:
            raise Conflict(f"{manifest['kind']} already exists")
        if not dry_run:
            self.stored.append(manifest["kind"])
        return {**manifest, "metadata": {**manifest["metadata"], "uid": "new", "resourceVersion": "1"}}

    async def get(self, *, kind: str, name: str, **_where: str) -> dict[str, Any]:
        if kind not in self.kinds:
            raise Gone(name)
        return {"kind": kind, "metadata": {"name": name, "uid": "orphan", "resourceVersion": "1"}}

    async def apply(self, manifest: dict[str, Any], **_how: str) -> dict[str, Any]:
        self.status = manifest["status"]
        return {**manifest, "metadata": {**manifest["metadata"], "uid": "u", "resourceVersion": "2"}}


async def test_a_deployment_that_a_deleted_llmdeployment_left_behind_is_told_at_the_dry_run() -> None:
    cluster, taken = Cluster(), Taken(clock=lambda: 0.0)
    kube = Orphaned("Deployment", "ControllerRevision")
    executor = Executor(kube=kube, cache=ShellCache())
    name = names.revision_name(name="chat", revision=cluster.revision)
    begun = decide(cluster.snapshot())
    assert any(isinstance(action, DryRun) for action in begun.actions)
    with pytest.raises(NameTaken) as met:
        await executor.run(key=KEY, snapshot=cluster.snapshot(), plan=begun)
    taken.put(KEY, met.value)
    assert taken.of(KEY) == (f"Deployment {name}",)
    # Also a plan that starts the revision all the same neither asks again nor stores a template that nobody looked at.
    kinds = {
        action.manifest["kind"] for action in taken.without(KEY, begun).actions if isinstance(action, Create | DryRun)
    }
    assert kinds == {"Service", "PodDisruptionBudget"}
    told = cluster.snapshot(taken=taken.of(KEY))
    await executor.run(key=KEY, snapshot=told, plan=taken.without(KEY, decide(told)))
    valid = find(kube.status, "Valid")
    assert (valid["status"], valid["reason"]) == ("False", "NameTaken")
    assert f"Deployment {name} is there and not ours" in valid["message"]
    assert "ControllerRevision" not in kube.stored


async def test_a_deployment_that_went_meanwhile_is_only_tried_again() -> None:
    class Going(Orphaned):
        async def get(self, **where: str) -> dict[str, Any]:
            raise Gone(where["name"])

    snapshot = Cluster().snapshot()
    with pytest.raises(Conflict):
        await Executor(kube=Going("Deployment"), cache=ShellCache()).run(
            key=KEY, snapshot=snapshot, plan=decide(snapshot)
        )
