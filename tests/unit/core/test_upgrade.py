"""An operator of a later release finds what an earlier one has made: other defaults and another renderer restart nothing."""

from typing import Any

import pytest

from modelfleet.core import rolling
from modelfleet.core.plan import Create, Plan
from modelfleet.core.render.pod import render_template
from modelfleet.core.world import RenderSettings
from tests.unit.core.cluster import Cluster, running

NEXT = RenderSettings(engine_images={"vLLM": {"gpu": "vllm:next", "cpu": "vllm:next"}}, rendering_version="2")


def rendered_otherwise(**given: Any) -> dict[str, Any]:
    """A later renderer's template."""
    template = render_template(**given)
    return {**template, "metadata": {**template["metadata"], "annotations": {"rendered": "otherwise"}}}


@pytest.fixture
def upgraded(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Two replicas that serve, then an operator with another default image, renderer and version of it."""
    cluster = running(replicas=2)
    monkeypatch.setattr(rolling, "render_template", rendered_otherwise)
    cluster.extra = {"settings": NEXT}
    return cluster


def templates(plan: Plan, kind: str) -> list[Any]:
    made = [action.manifest for action in plan.actions if isinstance(action, Create)]
    return [m["data" if kind == "ControllerRevision" else "spec"]["template"] for m in made if m["kind"] == kind]


def test_it_writes_nothing_at_all(upgraded: Cluster) -> None:
    writes, pods = upgraded.status_writes, set(upgraded.pods)
    plan = upgraded.reconcile()
    assert plan.actions == ()
    assert plan.reasons == ()
    assert upgraded.status_writes == writes
    upgraded.controllers()
    assert set(upgraded.pods) == pods


def test_what_it_scales_up_or_creates_anew_is_the_template_of_then(upgraded: Cluster) -> None:
    ((name, before),) = upgraded.workloads.items()
    upgraded.change(replicas=3)
    upgraded.settle()
    assert upgraded.workloads[name].template == before.template
    del upgraded.workloads[name]
    assert templates(upgraded.reconcile(), "Deployment") == [before.template]


def test_a_new_revision_has_the_new_defaults_and_the_old_one_keeps_its_own(upgraded: Cluster) -> None:
    ((name, before),) = upgraded.workloads.items()
    first = before.revision
    upgraded.change(model={"uri": "hf://org/other"})
    plan = upgraded.reconcile()
    for kind in ("ControllerRevision", "Deployment"):
        (template,) = templates(plan, kind)
        assert template["spec"]["containers"][0]["image"] == "vllm:next"
        assert template["metadata"]["annotations"] == {"rendered": "otherwise"}
    upgraded.settle()
    assert upgraded.workloads[name].template == before.template
    versions = {one["hash"]: one["renderingVersion"] for one in upgraded.status["revisions"]}
    assert versions == {first: "1", upgraded.revision: "2"}
