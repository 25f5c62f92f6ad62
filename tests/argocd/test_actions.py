"""The buttons that Argo CD shows for an LLMDeployment write the action annotation, and nothing else."""

import copy
from typing import Any

import pytest
import yaml

from tests.argocd.lua import EXAMPLES, KIND, actions, customizations, run

ROLLING = {"revision": "b2", "phase": "Step", "previous": "a1"}
PAUSED = {**ROLLING, "paused": "ManualPause", "hold": "ManualPause"}
VERBS = {
    "promote": "promote b2",
    "promote-full": "promote-full b2",
    "pause": "pause b2",
    "resume": "resume b2",
    "abort": "abort",
    "undo": "rollback-to a1",
}


def llmdeployment(rollout: dict[str, Any] | None, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "modelfleet.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": "chat", "namespace": "team-a", "generation": 3, **metadata},
        "spec": {"model": {"uri": "hf://a/b"}, "replicas": 2},
        "status": {"observedGeneration": 3, **({"rollout": rollout} if rollout else {})},
    }


def enabled(rollout: dict[str, Any] | None) -> set[str]:
    found = run(actions()["discovery.lua"], llmdeployment(rollout))
    return {name for name, one in found.items() if not one["disabled"]}


@pytest.mark.parametrize(
    ("rollout", "offered"),
    [
        (None, set()),
        ({"previous": "a1"}, {"undo"}),
        (ROLLING, {"promote", "promote-full", "pause", "abort", "undo"}),
        (PAUSED, {"promote", "promote-full", "resume", "abort", "undo"}),
        ({"revision": "b2", "hold": "NoData"}, {"promote", "promote-full", "pause", "abort"}),
    ],
    ids=["stable, first", "stable", "rolling", "paused", "held"],
)
def test_only_what_makes_sense_can_be_pressed(rollout, offered):
    assert enabled(rollout) == offered


def test_there_is_no_button_before_the_operator_has_seen_it():
    new = llmdeployment(None)
    del new["status"]
    assert all(one["disabled"] for one in run(actions()["discovery.lua"], new).values())


def test_every_button_has_its_script():
    offered = run(actions()["discovery.lua"], llmdeployment(None))
    assert set(offered) == {one["name"] for one in actions()["definitions"]} == set(VERBS)


@pytest.mark.parametrize("annotations", [None, {"note": "kept"}], ids=["no annotation yet", "with others"])
@pytest.mark.parametrize(("name", "words"), VERBS.items())
def test_a_button_writes_the_verb_the_revision_and_a_new_id(name, words, annotations):
    before = llmdeployment(PAUSED, **({"annotations": annotations} if annotations else {}))
    (script,) = (one["action.lua"] for one in actions()["definitions"] if one["name"] == name)
    after = run(script, copy.deepcopy(before))
    written = after["metadata"]["annotations"].pop("modelfleet.dev/action")
    assert written.rpartition(" ")[0] == words
    assert written.rpartition(" ")[2].removeprefix("argocd-").isdecimal()
    before["metadata"].setdefault("annotations", {})
    after["metadata"]["annotations"] = after["metadata"]["annotations"] or {}  # Lua knows no empty map
    assert after == before


def test_the_patch_has_the_names_that_argo_cd_looks_for():
    assert set(customizations()) == {f"resource.customizations.{part}.{KIND}" for part in ("health", "actions")}


def test_the_example_leaves_the_replicas_to_an_external_hpa():
    spec = yaml.safe_load((EXAMPLES / "application.yaml").read_text())["spec"]
    (ignored,) = spec["ignoreDifferences"]
    assert ignored == {"group": "modelfleet.dev", "kind": "LLMDeployment", "jsonPointers": ["/spec/replicas"]}
    assert "RespectIgnoreDifferences=true" in spec["syncPolicy"]["syncOptions"]
