"""`modelfleet rollout …`: what is written, what is waited for, what is said, and with which exit status."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from modelfleet.api.v1alpha1.status import RolloutStatus
from modelfleet.cli import cluster
from modelfleet.core.rollout.actions import ANNOTATION
from tests.unit.cli.scripted_cluster import ScriptedCluster, Use, call
from tests.unit.cli.statuses import CANARY, STABLE, condition, deployment, replica_by_replica, rolled_back, rolling

Json = dict[str, Any]


@pytest.mark.parametrize("verb", ["promote", "pause", "resume"])
def test_an_action_names_the_rollout_that_the_person_saw(use: Use, verb: str):
    fleet = use(ScriptedCluster(deployment(rollout=rolling())))
    done = call(verb, "chat", "-n", "team-a", "--context", "prod")
    assert done.exit_code == 0, done.output
    assert done.output == f"{verb} chat: Done: at 50 % now\n"
    assert (fleet.asked.verb, fleet.asked.revision) == (verb, CANARY)
    assert fleet.opened == {"namespace": "team-a", "context": "prod"}


def test_promote_full_is_an_action_of_its_own(use: Use):
    fleet = use(ScriptedCluster(deployment(rollout=rolling())))
    assert call("promote", "chat", "--full").exit_code == 0
    assert fleet.asked.verb == "promote-full"


def test_abort_is_meant_for_whatever_rolls_out_when_it_is_read(use: Use):
    fleet = use(ScriptedCluster(deployment(rollout=rolling())))
    assert call("abort", "chat").exit_code == 0
    assert (fleet.asked.verb, fleet.asked.revision) == ("abort", None)


def test_every_action_has_an_id_of_its_own(use: Use):
    fleet = use(ScriptedCluster(deployment(rollout=rolling())))
    call("pause", "chat")
    first = fleet.asked.id
    fleet.written.clear()
    call("pause", "chat")
    assert fleet.asked.id > first


@pytest.mark.parametrize("result", ["Refused", "Stale"])
def test_a_refusal_is_told_and_is_a_failure(use: Use, result: str):
    fleet = use(ScriptedCluster(deployment(rollout=rolling())))
    fleet.answer = (result, "no device is free for 2 more replicas")
    done = call("promote", "chat")
    assert done.exit_code == 1
    assert done.stderr == f"promote chat: {result}: no device is free for 2 more replicas\n"


def test_without_an_answer_the_operator_is_the_one_to_look_at(use: Use):
    fleet = use(ScriptedCluster(deployment(rollout=rolling())))
    fleet.answer = None
    done = call("abort", "chat", "--timeout", "1")
    assert done.exit_code == 3
    assert "has not answered within 1 s" in done.stderr
    assert "kubectl get pods,leases" in done.stderr


def test_an_answer_to_an_earlier_action_is_not_taken_for_this_one(use: Use):
    before = deployment(
        rollout=RolloutStatus(**{**rolling().model_dump(), "last_action": {"id": "1", "result": "Done"}})
    )
    fleet = use(ScriptedCluster(before))
    fleet.answer = ("Refused", "not now")
    assert call("promote", "chat").exit_code == 1


def test_somebody_else_who_asked_in_between_is_named(use: Use):
    fleet = use(ScriptedCluster(deployment(rollout=rolling())))
    other = deployment(rollout=rolling())
    other["metadata"]["annotations"] = {ANNOTATION: "abort 99"}
    fleet.then = [other]
    done = call("promote", "chat")
    assert done.exit_code == 3
    assert "`abort 99`" in done.stderr


@pytest.mark.parametrize("verb", ["promote", "pause", "resume", "abort"])
def test_with_nothing_rolling_out_nothing_is_asked(use: Use, verb: str):
    fleet = use(ScriptedCluster(deployment()))
    done = call(verb, "chat")
    assert done.exit_code == 1
    assert f"nothing is rolling out, {STABLE} is stable, so there is nothing to {verb}" in done.stderr
    assert fleet.written == []


def test_what_an_update_without_steps_can_do_the_operator_says(use: Use):
    fleet = use(ScriptedCluster(replica_by_replica()))
    fleet.answer = ("Refused", "this strategy has no steps")
    assert "no steps" in call("promote", "chat").stderr
    assert fleet.asked.revision == CANARY


def test_after_a_rollback_a_promote_is_told_why_nothing_rolls_out(use: Use):
    use(ScriptedCluster(deployment(rollout=rolled_back())))
    assert "ends with the next change of the spec" in call("promote", "chat").stderr


def test_a_spec_that_the_operator_has_not_seen_yet_may_be_aborted(use: Use):
    fleet = use(ScriptedCluster(deployment(generation=4)))
    assert call("abort", "chat").exit_code == 0
    assert fleet.asked.verb == "abort"


def test_status_prints_the_picture(use: Use):
    use(ScriptedCluster(deployment(rollout=rolling())))
    done = call("status", "chat")
    assert done.exit_code == 0
    assert done.output.startswith(f"chat in team-a: Canary to {CANARY}, Step, step 2 of 3, weight 25 %\n")


def test_status_as_json_is_what_stands_in_the_object(use: Use):
    fleet = use(ScriptedCluster(deployment(rollout=rolling())))
    said = fleet.obj["status"]
    assert json.loads(call("status", "chat", "-o", "json").output) == {
        "rollout": said["rollout"],
        "revisions": said["revisions"],
    }


def test_watching_says_each_change_once_and_ends_with_the_rollout(use: Use):
    fleet = use(ScriptedCluster(deployment(rollout=rolling())))
    half = deployment(rollout=rolling(step=2, weight=50))
    fleet.then = [half, half, deployment(condition("Progressing", "False", "UpToDate"))]
    done = call("status", "chat", "--watch")
    assert done.exit_code == 0, done.output
    assert [line.rpartition(", ")[2] for line in done.output.splitlines()] == [
        "weight 25 %",
        "weight 50 %",
        f"{STABLE} is stable",
        f"chat: {STABLE} has taken over",
    ]


def test_watching_one_that_is_rolled_back_fails_with_the_reason(use: Use):
    fleet = use(ScriptedCluster(deployment(rollout=rolling())))
    fleet.then = [deployment(rollout=rolled_back())]
    done = call("status", "chat", "--watch")
    assert done.exit_code == 1
    assert "9 of 50 against 1 of 900" in done.output


def test_on_a_terminal_it_is_one_picture_that_is_drawn_anew(use: Use, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    fleet = use(ScriptedCluster(deployment(rollout=rolling())))
    fleet.then = [deployment(rollout=rolled_back())]
    done = call("status", "chat", "--watch")
    assert done.exit_code == 1
    last = done.output.rpartition("chat in team-a: ")[2]
    assert last.startswith(f"nothing is rolling out, {STABLE} is stable")
    assert "Not what the spec asks for" in last


def test_watching_as_json_is_one_object_a_line(use: Use):
    fleet = use(ScriptedCluster(deployment(rollout=rolling())))
    fleet.then = [deployment(rollout=rolled_back())]
    done = call("status", "chat", "--watch", "-o", "json")
    first, last = map(json.loads, done.output.splitlines())
    assert (first["rollout"]["phase"], last["rollout"]["override"]["reason"]) == ("Step", "RolledBack")


def test_what_the_cluster_refuses_is_told_in_a_sentence(use: Use, monkeypatch: pytest.MonkeyPatch):
    fleet = use(ScriptedCluster(deployment(rollout=rolling())))

    async def refuse(*_: Any, **__: Any) -> None:
        raise cluster.refusal(status=403, said="", asked="patch llmdeployments", name="chat", namespace="team-a")

    monkeypatch.setattr(fleet, "annotate", refuse)
    done = call("promote", "chat")
    assert done.exit_code == 1
    assert done.stderr == "You may not patch llmdeployments in team-a: ask for that right.\n"


def test_an_answer_that_may_not_be_watched_is_told_as_asked_but_unknown(use: Use, monkeypatch: pytest.MonkeyPatch):
    fleet = use(ScriptedCluster(deployment(rollout=rolling())))

    async def refuse(_: str) -> AsyncIterator[Json]:
        raise cluster.CannotRead("You may not watch.")
        yield {}

    monkeypatch.setattr(fleet, "follow", refuse)
    done = call("promote", "chat")
    assert done.exit_code == 3
    assert "promote is asked for, but the answer cannot be read. You may not watch." in done.stderr
