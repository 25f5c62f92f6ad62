from dataclasses import replace

import pytest

from modelfleet.core.judgement import ArmBlock, Block
from modelfleet.core.judgement.config import default_config, evidence_needed
from modelfleet.core.judgement.load import load, matched_from

from .windows import block


def blocks(*started: tuple[float, float], canary_replicas: float = 1) -> list[Block]:
    return [
        Block(
            end=15.0 * i,
            canary=ArmBlock(started=c, replicas=canary_replicas, counts={}),
            stable=ArmBlock(started=s, replicas=3, counts={}),
        )
        for i, (c, s) in enumerate(started)
    ]


@pytest.mark.parametrize(
    ("started", "may_pass", "may_fail"),
    [((1000, 3000), True, True), ((500, 3000), False, True), ((2000, 3000), True, False), ((5, 30), True, True)],
    ids=["like", "half", "double", "too few to tell"],
)
def test_the_load_gate(started, may_pass, may_fail):
    found = load(blocks(started))
    assert (found.may_pass, found.may_fail) == (may_pass, may_fail)


@pytest.mark.parametrize(
    ("carried", "may_fail"),
    [((1500, 3000), False), ((1000, 3000), True), ((400, 3000), True), ((1000, 2000), True), ((None, None), True)],
    ids=["stable's retries too", "its own", "less than its own", "stable's are less than its own", "not counted"],
)
def test_the_load_gate_looks_at_what_each_arm_took_on(carried, may_fail):
    """A canary of 1000 requests beside three stable replicas of 3000."""
    arms = zip((1000, 3000), (1, 3), carried, strict=True)
    canary, stable = (ArmBlock(started=n, replicas=r, counts={}, carried=c) for n, r, c in arms)
    found = load([Block(end=15.0, canary=canary, stable=stable)])
    assert (found.may_pass, found.may_fail) == (True, may_fail)
    assert found.measured == (1.5 if carried == (1500, 3000) else 1.0)


def test_more_replicas_make_like_load_of_more_weight():
    found = load(blocks((3000, 3000), canary_replicas=3))
    assert found.ratio == found.measured == 1.0


def test_a_route_that_took_effect_late_spoils_only_what_was_before_it():
    some = blocks(*[(0, 400)] * 10, *[(100, 300)] * 20)
    first = matched_from(blocks=some, weight=0.25)
    assert first is not None
    assert 0 < first <= 10


@pytest.mark.parametrize("share", [0.0, 0.05, 0.6, 1.0])
def test_a_wrong_split_never_counts(share):
    assert matched_from(blocks=blocks(*[(400 * share, 400 * (1 - share))] * 20), weight=0.25) is None


def test_too_few_requests_are_no_wrong_split():
    assert matched_from(blocks=blocks((0, 3), (0, 5)), weight=0.25) == 0


def test_steps_and_windows_share_the_error_budget():
    three, six = (replace(default_config(), judged_steps=n) for n in (3, 6))
    assert evidence_needed(config=three, windows=1) == 20
    assert evidence_needed(config=six, windows=1) == evidence_needed(config=three, windows=6) == 40


@pytest.mark.parametrize("wrong", [{"max_drop": {"errors": 0.0}}, {"limits": {"errors": 1.5}}, {"interval_seconds": 0}])
def test_a_configuration_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="is not"):
        default_config(**wrong)


def test_the_test_windows_are_of_like_load():
    assert load([block(0)]).measured == 1.0
