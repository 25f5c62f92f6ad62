"""`modelfleet rollout undo` and `history`: where a person goes back to."""

from __future__ import annotations

from typing import Any

import pytest

from modelfleet.api.v1alpha1.status import RolloutStatus
from tests.unit.cli.scripted_cluster import ScriptedCluster, Use, call
from tests.unit.cli.statuses import CANARY, HISTORY, OLDEST, STABLE, deployment, replica_by_replica, rolling, stored

Json = dict[str, Any]


def test_undo_goes_to_the_revision_before(use: Use):
    fleet = use(ScriptedCluster(deployment(rollout=RolloutStatus(previous=OLDEST))))
    assert call("undo", "chat").exit_code == 0
    assert (fleet.asked.verb, fleet.asked.revision) == ("rollback-to", OLDEST)


@pytest.mark.parametrize("obj", [deployment(rollout=rolling()), replica_by_replica()], ids=["canary", "rolling update"])
def test_undo_in_the_middle_of_a_rollout_goes_to_what_serves(use: Use, obj: Json):
    fleet = use(ScriptedCluster(obj))
    assert call("undo", "chat").exit_code == 0
    assert fleet.asked.revision == STABLE


@pytest.mark.parametrize("word", [OLDEST, "1", f"chat-{OLDEST}"])
def test_undo_takes_a_hash_a_number_or_a_name(use: Use, word: str):
    fleet = use(ScriptedCluster(deployment()))
    assert call("undo", "chat", "--to", word).exit_code == 0
    assert fleet.asked.revision == OLDEST


def test_undo_to_what_is_not_there_lists_what_is(use: Use):
    fleet = use(ScriptedCluster(deployment()))
    done = call("undo", "chat", "--to", "9")
    assert done.exit_code == 1
    assert "chat has no revision 9" in done.stderr
    assert all(f"{number}       {revision}" in done.stderr for number, revision in ((1, OLDEST), (2, STABLE)))
    assert fleet.written == []


def test_undo_of_the_first_revision_says_that_there_is_none_before(use: Use):
    use(ScriptedCluster(deployment(), revisions=(stored(STABLE, number=1),)))
    done = call("undo", "chat")
    assert done.exit_code == 1
    assert "no revision before this one is known" in done.stderr


def test_undo_to_a_revision_that_is_forgotten_says_so(use: Use):
    use(ScriptedCluster(deployment(rollout=RolloutStatus(previous=OLDEST)), revisions=(stored(STABLE, number=2),)))
    assert f"the revision before, {OLDEST}, is stored no more" in call("undo", "chat").stderr


def test_history_is_newest_first_and_marks_where_undo_goes(use: Use):
    foreign = stored("9999999999", number=9, uid="uid-of-an-earlier-chat")
    use(ScriptedCluster(deployment(rollout=RolloutStatus(previous=OLDEST)), revisions=(*HISTORY, foreign)))
    done = call("history", "chat")
    head, *lines = done.output.splitlines()
    assert head.split() == ["number", "revision", "age", "role", "ready", "rendering"]
    assert [line.split()[:2] for line in lines] == [["3", CANARY], ["2", STABLE], ["1", OLDEST]]
    assert "stable  3 of 3  4" in lines[1]
    assert [line for line in lines if "undo goes here" in line] == [lines[2]]
