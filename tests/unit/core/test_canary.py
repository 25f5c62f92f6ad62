"""Canary on the pure cluster: exact sequences, one test per promise."""

STEPS = {"canary": {"steps": [{"weight": 20}, {"weight": 50}]}}


def test_a_good_canary_is_promoted_step_by_step(judged):
    fleet = judged(rollout=STEPS)
    old = fleet.revision
    fleet.change(engine={"args": ["--seed=1"]})
    new = fleet.revision
    assert fleet.history() == [
        ({old: 100}, {old: 2}),
        ({old: 100}, {old: 2, new: 1}),
        ({old: 80, new: 20}, {old: 2, new: 1}),
        ({old: 50, new: 50}, {old: 2, new: 1}),
        ({old: 50, new: 50}, {old: 1, new: 1}),
        ({old: 50, new: 50}, {old: 1, new: 2}),
        ({new: 100}, {old: 1, new: 2}),
        ({new: 100}, {new: 2}),
    ]
    assert fleet.roles[new] == "stable"
    assert fleet.rollout["previous"] == old
