"""Refused writes: told by whatever met them, left out of plans for a while with what counts on them, tried again after."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from modelfleet.adapters.errors import Conflict, Refused, Transient
from modelfleet.core import names
from modelfleet.core.conditions import MESSAGE_LIMIT, find
from modelfleet.core.decide import decide
from modelfleet.core.plan import Action, Apply, Create, Delete, DryRun, Plan, Rotate, Scale
from modelfleet.core.world import Refusal, Workload
from modelfleet.shell.cache import Cache as ShellCache
from modelfleet.shell.execute import Executor
from modelfleet.shell.refused import REFUSED_SECONDS, ObjectRefused, Refusals
from tests.unit.core.cluster import Cluster

KEY, OTHER = ("team", "chat"), ("team", "code")


def create(kind: str, name: str = "chat") -> Create:
    return Create(manifest=MappingProxyType({"kind": kind, "metadata": {"name": name}}))


SERVICE, BUDGET = create("Service"), create("PodDisruptionBudget")
ROTATE = Rotate(pod="chat-1", resource_version="1", in_rotation=False)
SCALE = Scale(name="chat-r", resource_version="1", replicas=1)
DELETE = Delete(api_version="apps/v1", kind="Deployment", name="chat-old", uid="1")
APPLY = Apply(manifest=SERVICE.manifest, resource_version="1")


def refused(*actions: Action, clock: Any = lambda: 0.0) -> Refusals:
    known = Refusals(clock=clock)
    for action in actions:
        known.put(KEY, ObjectRefused(action=action, message="exceeded quota"))
    return known


def test_a_refused_write_is_left_out_for_a_while_and_then_tried_again() -> None:
    now = 0.0
    known, plan = refused(SERVICE, clock=lambda: now), Plan(actions=(SERVICE, BUDGET))
    assert known.of(KEY) == (Refusal(action="Create", kind="Service", name="chat", message="exceeded quota"),)
    held = known.without(KEY, plan)
    assert (held.actions, held.requeue_after) == ((BUDGET,), REFUSED_SECONDS)
    assert known.without(OTHER, plan) == plan
    now = REFUSED_SECONDS
    assert known.of(KEY) == ()
    assert known.without(KEY, plan) == plan


def test_who_is_gone_is_forgotten() -> None:
    known = refused(SERVICE)
    known.forget(KEY)
    assert known.of(KEY) == ()


@pytest.mark.parametrize(
    ("one", "left"),
    [
        (ROTATE, (SERVICE, APPLY)),
        (SCALE, (SERVICE, ROTATE, APPLY)),
        (DELETE, (SERVICE, ROTATE, SCALE, APPLY)),
        (APPLY, (SERVICE, ROTATE, SCALE, DELETE)),
    ],
    ids=["rotation", "replicas", "deletion", "repair"],
)
def test_nothing_is_taken_away_that_counts_on_what_was_refused(one: Action, left: tuple[Action, ...]) -> None:
    assert refused(one).without(KEY, Plan(actions=(SERVICE, ROTATE, SCALE, APPLY, DELETE))).actions == left


def test_what_gives_goes_on_beside_what_was_refused() -> None:
    more, back = replace(SCALE, name="chat-old", replicas=3), replace(ROTATE, pod="chat-2", in_rotation=True)
    policy = replace(DELETE, kind="NetworkPolicy", name="chat")
    grown = (workload("chat-r", replicas=5), workload("chat-old", replicas=1))
    plan = Plan(actions=(SCALE, ROTATE, back, more, policy, DELETE))
    assert refused(SCALE).without(KEY, plan, workloads=grown).actions == (back, more, policy)


def test_an_abort_is_not_held_by_the_growth_that_was_refused() -> None:
    none, six = replace(SCALE, replicas=0), replace(SCALE, replicas=6)
    plan = Plan(actions=(none, DELETE))
    assert refused(six).without(KEY, plan, workloads=(workload("chat-r", replicas=5),)) == replace(
        plan, requeue_after=REFUSED_SECONDS
    )


def workload(name: str, *, replicas: int) -> Workload:
    return Workload(name=name, uid="", resource_version="1", revision="", replicas=replicas, template={})


def test_no_revision_runs_whose_template_cannot_be_stored() -> None:
    record, run = create("ControllerRevision", "chat-r"), create("Deployment", "chat-r")
    check = DryRun(manifest=run.manifest, revision="r")
    assert refused(record).without(KEY, Plan(actions=(check, record, run, BUDGET))).actions == (BUDGET,)


class Strict:
    """An API server that takes none of these kinds, and answers to one of another as it is told."""

    def __init__(self, *kinds: str, other: Exception | None = None) -> None:
        self.kinds, self.other, self.made, self.status = kinds, other, list[str](), dict[str, Any]()

    async def create(self, manifest: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        if manifest["kind"] in self.kinds:
            raise Refused(f"{manifest['kind']}: exceeded quota")
        if manifest["kind"] == "PodDisruptionBudget" and self.other:
            raise self.other
        if not dry_run:
            self.made.append(manifest["kind"])
        return {**manifest, "metadata": {**manifest["metadata"], "uid": "new", "resourceVersion": "1"}}

    async def apply(self, manifest: dict[str, Any], **_how: str) -> dict[str, Any]:
        self.status = manifest["status"]
        return {**manifest, "metadata": {**manifest["metadata"], "uid": "u", "resourceVersion": "2"}}

    async def get(self, **_where: str) -> dict[str, Any]:
        raise Conflict("nobody asks")


async def run(kube: Any, cluster: Cluster, known: Refusals) -> None:
    snapshot = cluster.snapshot(refused=known.of(KEY))
    plan = known.without(KEY, decide(snapshot))
    await Executor(kube=kube, cache=ShellCache()).run(key=KEY, snapshot=snapshot, plan=plan)


async def test_replicas_start_without_the_services_that_are_refused_and_it_is_told() -> None:
    cluster, known, kube = Cluster(), Refusals(clock=lambda: 0.0), Strict("Service")
    for _ in ("chat", "the revision's"):
        with pytest.raises(ObjectRefused) as met:
            await run(kube, cluster, known)
        known.put(KEY, met.value)
    await run(kube, cluster, known)
    assert {"ControllerRevision", "Deployment", "PodDisruptionBudget"} <= set(kube.made)
    degraded, valid = find(kube.status, "Degraded"), find(kube.status, "Valid")
    assert (degraded["status"], degraded["reason"], valid["status"]) == ("True", "ObjectRefused", "True")
    revision = names.revision_name(name="chat", revision=cluster.revision)
    assert degraded["message"].startswith(
        f"Kubernetes refuses Service chat: Service: exceeded quota; also Service {revision};"
    )
    assert "raise the quota" in degraded["message"]


@pytest.mark.parametrize("other", [Conflict("somebody was first"), Transient("no answer", retry_after=7.0)], ids=str)
async def test_a_refusal_hides_nothing_that_ends_the_pass(other: Exception) -> None:
    class Late(Strict):
        async def get(self, **_where: str) -> dict[str, Any]:
            return {"metadata": {"name": "chat", "resourceVersion": "1", "ownerReferences": OURS}}

    OURS = [{"kind": "LLMDeployment", "name": "chat", "uid": "another"}]  # noqa: N806 - a constant of this test
    with pytest.raises(type(other)):
        await run(Late("Service", other=other), Cluster(), Refusals(clock=lambda: 0.0))


def test_what_to_do_is_told_also_after_many_words() -> None:
    long = f"chat is invalid: {'x' * 5000}: field is immutable"
    many = tuple(Refusal(kind="Service", name=f"chat-{number}", message=long) for number in range(9))
    message = find(decide(Cluster().snapshot(refused=many)).status, "Degraded")["message"]
    assert len(message) < MESSAGE_LIMIT
    assert (
        "field is immutable; also Service chat-1, Service chat-2, Service chat-3 and 5 more; raise the quota" in message
    )
