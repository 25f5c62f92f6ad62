"""Where a rollout stands is told from status alone."""

from __future__ import annotations

from datetime import datetime

import pytest

from modelfleet.api.v1alpha1.status import AnalysisStatus, EvaluationStatus
from modelfleet.cli.explain import explain
from modelfleet.cli.rollout_view import ago, describe, headline
from tests.unit.cli.statuses import (
    CANARY,
    STABLE,
    condition,
    deployment,
    held,
    replica_by_replica,
    rolled_back,
    rolling,
)

NOW = datetime.fromisoformat("2026-01-01T12:04:30Z")
GOING_ON = condition("Progressing", "True", "RevisionRollingOut")
AT_REST = condition("Progressing", "False", "UpToDate")


def test_one_line_tells_the_step_the_weight_and_what_holds_it():
    assert headline(deployment(rollout=held())) == (
        f"chat in team-a: Canary to {CANARY}, Hold, step 2 of 3, weight 25 %, held by MinSamples"
    )


def test_an_evaluation_is_told_with_its_score():
    for score, told in ((None, "no score yet"), (0.93, "score 0.93")):
        evaluation = EvaluationStatus(job="chat-eval", score=score)
        said = describe(deployment(rollout=rolling(phase="Evaluating", evaluation=evaluation)), now=NOW)
        assert f"Evaluation: {told} (Job chat-eval)" in said.splitlines()


def test_the_whole_picture_has_replicas_hold_plan_numbers_and_the_last_action():
    told = describe(deployment(rollout=held()), now=NOW)
    for line in (
        f"  {STABLE}  stable  -       3 of 3",
        f"  {CANARY}  canary  25 %    0 of 1",
        "Now: 340 of 500 requests",
        "Held by: MinSamples since 2026-01-01T12:00:00Z (4 min)",
        "Next: 50 % in about 3 min",
        "Judgement: Inconclusive (MinSamples), 120 s count so far",
        "  latency has passed under like load, as 100 % needs",
        "  metric  verdict       canary             stable",
        "  ttft    Inconclusive  2.10 % bad of 340  1.80 % bad of 1020",
        "  errors  Pass          0.00 % bad of 340  0.10 % bad",
        "  my-own  NoData        -                  -",
        "  ttft: 0.021 against 0.018, needs 120 more",
        "Last action: 7 Refused: nothing is paused",
    ):
        assert line in told.splitlines(), told


def test_tokens_per_second_and_notes_are_told():
    analysis = AnalysisStatus(canary_tokens_per_second=120.5, stable_tokens_per_second=380, notes=("half a bound",))
    told = describe(deployment(rollout=rolling(analysis=analysis)), now=NOW).splitlines()
    assert "  tokens per second, which are not judged: canary 120.5, stable 380" in told
    assert "  Note: half a bound" in told


def test_one_that_waits_for_a_person_says_what_the_person_can_do():
    told = describe(deployment(rollout=rolling(phase="Paused", hold="ManualPause", paused="Manual")), now=NOW)
    assert "Waits for you: `rollout promote` goes to the next step, `rollout resume` on" in told


def test_a_pause_among_the_steps_is_left_by_promote_alone():
    told = describe(deployment(rollout=rolling(phase="Paused", hold="ManualPause")), now=NOW)
    assert "Waits for you: `rollout promote` goes to the next step" in told
    assert "resume" not in told


def test_without_a_rollout_the_stable_revision_is_named():
    told = describe(deployment(AT_REST), now=NOW)
    assert told.splitlines()[0] == f"chat in team-a: nothing is rolling out, {STABLE} is stable"


def test_an_update_without_steps_is_told_without_them():
    assert headline(replica_by_replica()) == f"chat in team-a: RollingUpdate to {CANARY}"


@pytest.mark.parametrize("phase", ["Step", "Suspended"])
def test_a_frozen_one_says_so_once(phase: str):
    obj = deployment(condition("Suspended", "True", "Suspended"), rollout=rolling(phase=phase))
    assert headline(obj).lower().count("suspended") == 1


def test_after_a_rollback_the_picture_says_what_serves_and_until_when():
    told = describe(deployment(rollout=rolled_back()), now=NOW)
    assert f"{STABLE} serves instead of {CANARY}, which the spec asks for" in told
    assert "errors: 9 of 50 against 1 of 900" in told
    assert "ends with the next change of the spec" in told


def test_explain_tells_of_position_hold_judgement_and_override():
    told = explain(deployment(GOING_ON, rollout=held()))
    assert f"  Canary to {CANARY}, Hold, step 2 of 3, weight 25 %, held by MinSamples" in told
    assert "  Judgement: Inconclusive (MinSamples)" in told
    assert f"  chat-{CANARY}  canary  0 of 1 ready, 25 % of the traffic" in told
    assert f"{STABLE} serves instead of {CANARY}" in explain(deployment(AT_REST, rollout=rolled_back()))


@pytest.mark.parametrize(
    ("stamp", "said"),
    [
        ("2026-01-01T12:04:00Z", "30 s"),
        ("2026-01-01T09:04:30Z", "3 h"),
        ("2025-12-30T12:00:00Z", "2 d"),
        ("2027-01-01T00:00:00Z", "0 s"),
    ],
)
def test_times_are_told_as_a_person_says_them(stamp: str, said: str):
    assert ago(stamp, now=NOW) == said
