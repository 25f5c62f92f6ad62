"""What others were burnt by, and the tests here that would show it again: one row per rule, each test found by its name.

A row that nothing else tests has its test in this file.
"""

import ast
from pathlib import Path
from typing import Any

import pytest

from modelfleet.api.v1alpha1.rollout import Rollout

TESTS = Path(__file__).parents[2]
SCARS = {
    "an abort is idempotent, always allowed, and takes the traffic at once": (
        "unit/core/test_abort.py::test_it_ends_at_stable",
        "unit/core/test_steering.py::test_an_abort_is_right_at_any_moment_and_idempotent",
        "unit/core/test_scars.py::test_a_rolled_back_canary_holds_its_devices_for_a_minute_at_most",
    ),
    "a new revision in mid-rollout waits until the last one has no traffic": (
        "unit/core/test_canary.py::test_a_new_spec_under_way_first_takes_the_traffic_back",
        "unit/core/test_blue_green.py::test_a_new_spec_beside_a_preview_takes_its_place",
        "api/test_operator_midway.py::test_a_newer_revision_takes_the_place_of_the_canary",
    ),
    "back to stable skips steps, no faster than stable grows": (
        "unit/core/test_canary.py::test_a_git_revert_under_way_moves_traffic_back_no_faster_than_stable_grows",
        "unit/core/test_blue_green.py::test_a_revert_beside_a_preview_ends_it",
    ),
    "a change of replicas is no new revision, and targets follow the weights": (
        "unit/core/test_canary.py::test_scaling_under_way_is_no_rollout",
        "unit/core/test_canary.py::test_argo_rollouts_4369_one_wish_for_both_revisions_is_split_by_weight",
        "unit/core/test_canary.py::test_stable_is_not_kept_whole_beside_the_canary",
    ),
    "a canary gets no more than its warm replicas carry": (
        "unit/core/test_canary.py::test_traffic_never_rises_above_what_warm_replicas_carry",
        "unit/core/test_holds.py::test_one_of_two_canary_replicas_dies",
        "unit/core/test_render.py::test_the_supervisor_answers_the_probes",
    ),
    "no GPU for a surge: the plan is to wait, and to say what is missing": (
        "unit/core/test_canary.py::test_argo_rollouts_430_without_a_spare_device_nothing_is_left_pending",
        "unit/core/test_canary.py::test_with_one_that_may_be_missing_it_goes_on_without_a_spare_device",
        "unit/core/test_canary.py::test_no_promotion_is_ever_stuck",
        "unit/core/test_allowance.py::test_a_quota_limits_as_free_nodes_do_and_is_named",
        "unit/core/test_allowance.py::test_a_canary_waits_for_its_budget_in_words_of_its_own",
    ),
    "a pending claim is a hold: it is given back, and made again": (
        "unit/core/test_holds.py::test_surge_gives_a_pending_claim_back_and_makes_it_again",
        "unit/core/test_holds.py::test_the_progress_deadline_stops_while_a_device_is_awaited",
        "unit/core/test_waiting.py::test_waiting_for_a_device_does_not_count_against_the_deadline",
    ),
    "a promotion swaps a pointer: nothing restarts, and the way back is instant": (
        "unit/core/test_canary.py::test_a_promotion_restarts_nothing",
        "unit/core/test_canary.py::test_a_revert_after_the_promotion_is_instant_while_the_old_one_is_warm",
        "unit/core/test_blue_green.py::test_the_old_set_gives_its_devices_first_when_stable_needs_them",
    ),
    "without metrics it holds, then pauses; a canary alone without any fails": (
        "unit/core/test_verdicts.py::test_without_data_it_holds_and_goes_on_when_they_are_back",
        "unit/core/test_verdicts.py::test_without_data_it_pauses_after_max_hold_seconds_and_never_rolls_back",
        "unit/judgement/test_step.py::test_canary_only_silence_fails_and_names_the_metric",
        "unit/judgement/test_step.py::test_an_idle_canary_is_not_a_silent_one",
    ),
    "NaN, nothing and too few samples never pass; an unknown metric is refused": (
        "property/test_judgement.py::test_missing_stale_or_nan_never_passes",
        "unit/judgement/test_step.py::test_few_samples_extend_and_then_end_inconclusive",
        "unit/core/test_problems.py::test_a_query_that_could_never_be_answered_is_refused",
        "api/test_llmdeployment_rollout.py::test_refused_with_a_message_that_says_what_to_do",
    ),
    "a bad stable leaves the absolute limits; a person may promote": (
        "unit/judgement/test_step.py::test_both_bad_holds_and_only_stable_bad_leaves_the_limit_as_judge",
        "unit/core/test_verdicts.py::test_what_holds_a_judgement_up_is_told",
        "unit/core/test_steering.py::test_promote_full_goes_to_the_end_without_verdicts",
    ),
    "what routes is read back, and the split is measured, before a sample counts": (
        "unit/core/test_holds.py::test_envoys_that_take_nothing_in_hold_it",
        "unit/core/test_holds.py::test_stable_keeps_its_replicas_until_every_envoy_sends_it_less",
        "unit/judgement/test_step.py::test_a_split_that_does_not_match_holds_whatever_the_samples_say",
        "api/test_operator_late_envoys.py::test_no_weight_is_raised_before_the_envoy_has_taken_the_last_one_in",
    ),
    "of two leaders one writes": (
        "api/test_operator_faults.py::test_a_leader_stopped_past_its_lease_lands_no_write",
        "api/test_operator_faults.py::test_a_write_that_a_stopped_leader_had_sent_does_not_land",
        "api/test_operator_rollout_kills.py::test_leaders_that_change_at_every_step_take_it_to_the_end",
    ),
    "a revert in Git is a rollback; aborted is Degraded though Git is followed": (
        "api/test_operator_midway.py::test_a_git_revert_ends_a_canary_without_a_restart",
        "argocd/test_played.py::test_a_bad_canary_ends_degraded_though_its_revision_is_what_git_asks_for",
        "argocd/test_played.py::test_after_a_revert_in_git_it_is_healthy_again",
    ),
    "with the operator away the gateway gives a dead canary's share to stable; it still counts against the canary": (
        "gateway/test_routing.py::test_a_revision_without_a_ready_endpoint_gets_nothing_and_its_share_goes_to_the_others",
        "gateway/test_faults.py::test_without_any_control_server_nothing_is_lost_not_even_when_a_pod_dies",
        "unit/judgement/test_step.py::test_a_canary_that_keeps_restarting_fails_unless_stable_does_too",
    ),
    "copies and evaluations come before any traffic, and wait for no replica that stable would have to give": (
        "unit/core/test_canary.py::test_what_comes_before_any_traffic_needs_no_replica_that_stable_would_have_to_give",
        "unit/core/test_scars.py::test_copies_of_a_canary_that_died_begin_anew",
    ),
}


@pytest.mark.parametrize("scar", SCARS)
def test_every_scar_has_its_tests(scar: str) -> None:
    for pointer in SCARS[scar]:
        path, _, name = pointer.partition("::")
        body = ast.parse((TESTS / path).read_text()).body
        named = {one.name for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in named, f"{pointer} is gone; name the test that shows it now"


def test_a_rolled_back_canary_holds_its_devices_for_a_minute_at_most() -> None:
    assert Rollout(strategy="Canary").abort_scale_down_delay_seconds <= 60
    with pytest.raises(ValueError, match="less than or equal to 60"):
        Rollout.model_validate({"strategy": "Canary", "abortScaleDownDelaySeconds": 61})


def test_copies_of_a_canary_that_died_begin_anew(judged: Any) -> None:
    mirror = {"percent": 10, "minSeconds": 300}
    fleet = judged(rollout={"canary": {"steps": [{"weight": 20}], "mirror": mirror}})
    _, new = fleet.update()
    fleet.until(lambda: fleet.rollout.get("stepStartedAt"))
    (canary,) = (pod for pod in fleet.pods.values() if pod.revision == new)
    fleet.unready(sorted(fleet.pods).index(canary.name))
    fleet.turn(seconds=1, warm=False)
    assert "mirror" not in fleet.rollout, "nobody is there to take them"
    fleet.now += 600
    fleet.turn()
    fleet.until(lambda: fleet.rollout.get("stepStartedAt"))
    begun = fleet.now
    fleet.until(lambda: fleet.weights.get(new))
    assert fleet.now - begun >= 290, "a time without anybody compares nothing"
