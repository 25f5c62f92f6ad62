"""Blue-green on the pure cluster: a whole second set, one switch, an instant way back."""

import pytest


@pytest.fixture
def fleet(judged):
    def make(*, gpus=8, replicas=2, capacity="Auto", **options):
        rollout = {"strategy": "BlueGreen", "capacity": capacity, "scaleDownDelaySeconds": 600}
        return judged(gpus=gpus, replicas=replicas, rollout=rollout | ({"blueGreen": options} if options else {}))

    return make


@pytest.mark.parametrize("capacity", ["Auto", "Surge"])
def test_the_preview_waits_for_a_word_and_then_everything_switches_at_once(fleet, capacity):
    fleet = fleet(capacity=capacity)
    old, new = fleet.update()
    assert fleet.history() == [({old: 100}, {old: 2}), ({old: 100}, {old: 2, new: 2})]
    assert (fleet.roles[new], fleet.rollout["hold"]) == ("preview", "ManualPause")
    assert fleet.silent(seconds=4000) == ((), {})
    fleet.act_on("promote 1")
    assert fleet.history() == [({old: 100}, {old: 2, new: 2}), ({new: 100}, {old: 2, new: 2})]
    fleet.now += 600
    assert fleet.history()[-1] == ({new: 100}, {new: 2})


def test_auto_promote_needs_no_word(fleet):
    fleet = fleet(autoPromote=True)
    old, new = fleet.update()
    assert [weights for weights, _ in fleet.history()] == [{old: 100}, {old: 100}, {new: 100}]


def test_a_small_preview_grows_before_the_switch(fleet):
    fleet = fleet(replicas=3, autoPromote=True, previewReplicas=1)
    old, new = fleet.update()
    assert fleet.history() == [
        ({old: 100}, {old: 3}),
        ({old: 100}, {old: 3, new: 1}),
        ({old: 100}, {old: 3, new: 3}),
        ({new: 100}, {old: 3, new: 3}),
    ]


@pytest.mark.parametrize("replicas", [2, 3, 4])
def test_with_devices_for_the_small_preview_only_traffic_frees_the_others(fleet, replicas):
    fleet = fleet(replicas=replicas, gpus=replicas + 1, autoPromote=True, previewReplicas=1)
    _, new = fleet.update()
    seen = fleet.history()
    assert (fleet.weights, fleet.counts()[new]) == ({new: 100}, replicas)
    assert min(sum(counts.values()) for _, counts in seen) >= replicas


def test_the_whole_preview_or_none_of_it(fleet):
    fleet = fleet(gpus=3)
    old, new = fleet.update()
    fleet.history()
    assert fleet.counts() == {old: 2}
    assert fleet.rollout["hold"] == "InsufficientCapacity"
    fleet.gpus = 4
    fleet.reconcile()
    assert fleet.counts() == {old: 2, new: 2}


def test_scaling_out_beside_a_preview_does_not_wait_for_all_at_once(fleet):
    fleet = fleet(gpus=5)
    old, new = fleet.update()
    fleet.history()
    fleet.change(replicas=4)
    fleet.history()
    assert fleet.counts() == {old: 3, new: 2}


def test_the_way_back_is_one_change_of_weights_while_the_old_set_is_warm(fleet):
    fleet = fleet(autoPromote=True)
    old, _new = fleet.update()
    fleet.history()
    warm = set(fleet.pods)
    fleet.act_on(f"rollback-to {old} 1")
    assert [weights for weights, _ in fleet.history()] == [{old: 100}]
    assert set(fleet.pods) == warm
    assert fleet.condition("Degraded")["status"] == "False"
    fleet.now += 700
    assert fleet.history()[-1] == ({old: 100}, {old: 2})


def test_the_old_set_gives_its_devices_first_when_stable_needs_them(fleet):
    fleet = fleet(gpus=4, autoPromote=True)
    old, new = fleet.update()
    fleet.history()
    assert fleet.counts() == {old: 2, new: 2}
    fleet.change(replicas=3)
    seen = fleet.history()
    assert fleet.counts() == {new: 3}
    assert all(p.scheduled for p in fleet.pods.values())
    assert [counts for _, counts in seen] == [{old: 2, new: 2}, {new: 2}, {new: 3}]


def test_going_back_to_a_cold_set_does_not_need_room_for_two(fleet):
    fleet = fleet(gpus=4, autoPromote=True)
    old, new = fleet.update()
    fleet.history()
    fleet.now += 700
    fleet.history()
    assert fleet.counts() == {new: 2}
    fleet.gpus = 3
    fleet.act_on(f"rollback-to {old} 1")
    fleet.history()
    assert (fleet.weights, fleet.counts().get(old)) == ({old: 100}, 2)


def test_an_abort_of_a_preview_leaves_stable_untouched(fleet):
    fleet = fleet()
    old, _new = fleet.update()
    fleet.history()
    serving = {name for name, pod in fleet.pods.items() if pod.revision == old}
    fleet.act_on("abort 1")
    fleet.history()
    assert set(fleet.pods) == serving
    assert fleet.condition("Degraded")["reason"] == "Aborted"


def test_a_new_spec_beside_a_preview_takes_its_place(fleet):
    fleet = fleet(gpus=4)
    old, dropped = fleet.update()
    fleet.until(lambda: fleet.counts() == {old: 2, dropped: 2} and fleet.rollout.get("hold") == "ManualPause")
    _, newest = fleet.update(seed=2)
    seen = fleet.history()
    assert all(weights == {old: 100} for weights, _ in seen), "users see nothing of either"
    assert [counts for _, counts in seen] == [{old: 2, dropped: 2}, {old: 2}, {old: 2, newest: 2}]
    assert (fleet.roles[newest], fleet.rollout["hold"]) == ("preview", "ManualPause")
    fleet.act_on(f"promote {dropped} 1")
    fleet.history()
    assert fleet.rollout["lastAction"]["result"] == "Stale", "it was meant for the one of before"
    fleet.act_on("promote 2")
    fleet.history()
    assert fleet.weights == {newest: 100}


def test_a_revert_beside_a_preview_ends_it(fleet):
    fleet = fleet()
    old, new = fleet.update()
    fleet.history()
    serving = {name for name, pod in fleet.pods.items() if pod.revision == old}
    fleet.change(engine=None)
    seen = fleet.history()
    assert all(weights == {old: 100} for weights, _ in seen)
    assert (fleet.counts(), set(fleet.pods)) == ({old: 2}, serving)
    assert fleet.condition("Degraded")["status"] == "False", "the spec asks for what is served"
    assert new not in fleet.counts()
    assert fleet.silent(seconds=4000) == ((), {})


def test_a_revert_while_the_switch_is_under_way_is_one_change_back(fleet):
    fleet = fleet(autoPromote=True)
    old, new = fleet.update()
    fleet.until(lambda: fleet.weights == {new: 100} and fleet.roles[new] == "preview")
    fleet.change(engine=None)
    assert [weights for weights, _ in fleet.history()][-1] == {old: 100}
    assert fleet.counts() == {old: 2}
