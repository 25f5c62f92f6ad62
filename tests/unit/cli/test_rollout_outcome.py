"""How a rollout ended is told from status alone: it goes on, it ended well, or it will not end well."""

from __future__ import annotations

from typing import Any

import pytest

from modelfleet.api.v1alpha1.status import RolloutStatus
from modelfleet.cli.rollout_outcome import outcome
from tests.unit.cli.statuses import CANARY, STABLE, condition, deployment, held, rolled_back, rolling

GOING_ON = condition("Progressing", "True", "RevisionRollingOut")
AT_REST = condition("Progressing", "False", "UpToDate")
SWITCHED = RolloutStatus(phase="Draining", previous=CANARY, watching=True)


@pytest.mark.parametrize(
    ("name", "obj"),
    [
        ("a step", deployment(GOING_ON, rollout=rolling())),
        ("a hold", deployment(GOING_ON, rollout=held())),
        ("an abort that is not done", deployment(GOING_ON, rollout=rolling(phase="Aborting"))),
        ("the old revision leaves before the new one is stable", deployment(rollout=rolling(phase="Draining"))),
        ("the operator has not seen the newest spec", deployment(AT_REST, generation=4)),
        ("no status", {"metadata": {"name": "chat", "generation": 1}}),
        ("first replicas start", deployment(condition("Progressing", "True", "ReplicasStarting"))),
        ("frozen", deployment(AT_REST, condition("Suspended", "True", "Suspended"))),
        ("replica by replica", deployment(GOING_ON, rollout=RolloutStatus(strategy="RollingUpdate"), other="new")),
        ("a crash replica by replica", deployment(condition("Degraded", "True", "OOMKilled"), other="new")),
        ("after a switch that its limits may take back", deployment(rollout=SWITCHED, other="old")),
        ("the same at rest", deployment(AT_REST, rollout=SWITCHED, other="old")),
        ("a crash in mid-rollout", deployment(condition("Degraded", "True", "OOMKilled"), rollout=rolling())),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_goes_on(name: str, obj: dict[str, Any]):
    assert outcome(obj) is None


@pytest.mark.parametrize(
    ("obj", "word"),
    [
        (deployment(AT_REST), "has taken over"),
        (deployment(GOING_ON, rollout=RolloutStatus(phase="Draining"), other="old"), f"{STABLE} has taken over"),
        (deployment(AT_REST, rollout=RolloutStatus(previous=CANARY)), "has taken over"),
        (deployment(AT_REST, rollout=rolled_back("RollbackTo")), f"{STABLE} serves instead"),
    ],
    ids=["at rest", "only the old one still leaves", "promoted", "gone back as asked"],
)
def test_it_ended_well(obj: dict[str, Any], word: str):
    end = outcome(obj)
    assert end is not None
    assert end.good
    assert word in end.message


@pytest.mark.parametrize(
    ("obj", "word"),
    [
        (deployment(AT_REST, rollout=rolled_back()), "9 of 50 against 1 of 900"),
        (deployment(AT_REST, rollout=rolled_back("Aborted")), "Aborted"),
        (deployment(AT_REST, condition("Degraded", "True", "ModelNotFound", "no folder")), "ModelNotFound: no folder"),
        (deployment(condition("Valid", "False", "SpecInvalid", "spec.x"), rollout=rolling()), "SpecInvalid: spec.x"),
        (deployment(condition("Progressing", "False", "ProgressDeadlineExceeded", "slow")), "slow"),
    ],
    ids=["rolled back", "aborted", "degraded", "invalid", "deadline"],
)
def test_it_ended_badly(obj: dict[str, Any], word: str):
    end = outcome(obj)
    assert end is not None
    assert not end.good
    assert word in end.message


def test_a_switch_that_only_a_person_takes_back_has_ended():
    obj = deployment(AT_REST, rollout=SWITCHED, other="old") | {"spec": {"rollout": {"onFailure": "Pause"}}}
    end = outcome(obj)
    assert end is not None
    assert end.good
