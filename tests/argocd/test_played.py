"""Rollouts played through the operator's own decisions, as Argo CD shows them from beginning to end."""

import functools
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest

from tests.argocd.lua import health
from tests.unit.core.cluster import words
from tests.unit.core.staged_cluster import FAIL, StagedCluster, scripted, verdict

CANARY = {"strategy": "Canary", "canary": {"steps": [{"weight": 20}, {"weight": 50}]}, "scaleDownDelaySeconds": 60}


@pytest.fixture(autouse=True)
def judge() -> Iterator[None]:
    """The judge says what each test wants."""
    with scripted():
        yield


def shown(fleet: StagedCluster) -> str:
    metadata = {"name": "chat", "generation": fleet.generation}
    return _shown(json.dumps({"metadata": metadata, "spec": fleet.spec, "status": fleet.status}))


@functools.cache
def _shown(text: str) -> str:
    return health(json.loads(text))[0]


def fresh(**spec: Any) -> StagedCluster:
    gpus = spec.pop("gpus", 8)
    return StagedCluster(spec=words(**{"replicas": 2, "rollout": CANARY, **spec}), gpus=gpus)


def settled(**spec: Any) -> StagedCluster:
    fleet = fresh(**spec)
    fleet.until(lambda: fleet.status and shown(fleet) == "Healthy")
    return fleet


def in_a_step() -> StagedCluster:
    """A canary in its first step, which the judge neither ends nor lets go on."""
    fleet = settled()
    fleet.says = verdict("Inconclusive")
    fleet.update()
    fleet.until(lambda: fleet.rollout.get("phase") == "Step")
    return fleet


def played(fleet: StagedCluster, *, turns: int = 40) -> list[str]:
    """What is shown meanwhile, each change once."""
    seen: list[str] = []
    for _ in range(turns):
        seen.append(shown(fleet))
        fleet.turn()
    return [word for word, _ in groupby(seen)]


def test_the_first_start():
    assert played(fresh(), turns=15) == ["Progressing", "Healthy"]


def test_a_good_canary():
    fleet = settled()
    fleet.update()
    assert played(fleet) == ["Progressing", "Healthy"]


def test_a_bad_canary_ends_degraded_though_its_revision_is_what_git_asks_for():
    fleet = settled()
    fleet.says = FAIL
    fleet.update()
    assert played(fleet) == ["Progressing", "Degraded"]


def test_after_a_revert_in_git_it_is_healthy_again():
    fleet = settled()
    before = fleet.spec
    fleet.says = FAIL
    fleet.update()
    played(fleet)
    fleet.change(engine=before.get("engine"))
    assert played(fleet) == ["Progressing", "Healthy"]


def test_a_pause_by_hand_and_its_end():
    fleet = in_a_step()
    fleet.act_on("pause 1")
    assert played(fleet, turns=5) == ["Progressing", "Suspended"]
    fleet.act_on("resume 2")
    assert played(fleet, turns=5) == ["Suspended", "Progressing"]


def test_a_step_that_waits_for_a_person():
    steps = [{"weight": 20}, {"pause": {}}, {"weight": 50}]
    fleet = settled(rollout={**CANARY, "canary": {"steps": steps}})
    fleet.update()
    assert played(fleet) == ["Progressing", "Suspended"]
    fleet.act_on("promote 1")
    assert played(fleet) == ["Suspended", "Progressing", "Healthy"]


def test_an_abort_by_hand():
    fleet = in_a_step()
    fleet.act_on("abort 1")
    assert played(fleet) == ["Progressing", "Degraded"]


def test_missing_data_is_waited_for():
    fleet = settled()
    fleet.says = verdict("NoData")
    fleet.update()
    fleet.until(lambda: fleet.rollout.get("hold") == "NoData")
    assert played(fleet, turns=5) == ["Progressing"]


def test_missing_gpus_are_waited_for():
    fleet = settled(gpus=2)
    fleet.update()
    assert played(fleet, turns=10) == ["Progressing"]
    assert fleet.rollout.get("hold") == "InsufficientCapacity"


def test_going_back_by_hand_is_a_persons_word_and_no_failure():
    fleet = settled()
    old, _ = fleet.update()
    played(fleet)
    fleet.act_on(f"rollback-to {old} 1")
    assert played(fleet)[-1] == "Suspended"


def test_suspended_in_the_middle_of_a_canary():
    fleet = in_a_step()
    fleet.change(suspend=True)
    assert played(fleet, turns=5) == ["Progressing", "Suspended"]


def test_replicas_that_cannot_start():
    fleet = fresh()
    for _ in range(6):
        fleet.turn(warm=False)
    for name, pod in list(fleet.pods.items()):
        fleet.pods[name] = replace(
            pod, scheduled=True, restarts=5, waiting_reason="CrashLoopBackOff", message="CUDA out of memory"
        )
    fleet.turn(warm=False)
    assert shown(fleet) == "Degraded"
