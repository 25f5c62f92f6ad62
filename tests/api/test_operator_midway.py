"""What comes between the steps of a canary: other specs, other sizes, nodes that go and come, closed windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.api.fleet import pending
from tests.api.rollouts import Rollouts, revision_of, rollouts

pytestmark = pytest.mark.story


@pytest.fixture(scope="module")
def fleet(control_plane):
    with rollouts(plane=control_plane, namespace="midway") as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def operator(fleet, tmp_path_factory):
    with fleet.operator(folder=tmp_path_factory.mktemp("operator")) as operator:
        yield operator


def test_a_newer_revision_takes_the_place_of_the_canary(fleet: Rollouts):
    old, dropped = fleet.begin("newer")
    mark = fleet.mark()
    fleet.change("newer", length=1024)
    fleet.reach("newer", lambda: fleet.weights("newer").keys() - {old, dropped}, what="traffic for the newest")
    newest = next(iter(fleet.weights("newer").keys() - {old, dropped}))
    assert dropped not in fleet.weights("newer")
    fleet.reach_promotion("newer", newest)
    mine = [[pod for pod in state if pod["metadata"]["name"].startswith("newer-")] for state in fleet.history(mark)]
    assert max(len({revision_of(pod) for pod in state} - {old}) for state in mine) == 1, "one canary at a time"
    assert fleet.rollout("newer")["previous"] == old


def test_a_git_revert_ends_a_canary_without_a_restart(fleet: Rollouts):
    old, new = fleet.begin("reverted")
    before = fleet.pods_of("reverted", old)
    fleet.patch("llmdeployments", "reverted", {"spec": {"engine": None}})
    fleet.reach("reverted", lambda: fleet.weights("reverted") == {old: 100}, what="all traffic for stable")
    fleet.reach("reverted", lambda: fleet.revisions_of_pods("reverted") == {old}, what="the end of the canary's pods")
    fleet.await_settled("reverted")
    assert fleet.pods_of("reverted", old) == before
    assert fleet.condition("Degraded", "reverted")[0] == "False", "what Git asks for is served"
    assert new not in fleet.weights("reverted")


def test_kubectl_scale_in_the_middle_is_no_new_rollout(fleet: Rollouts):
    old, new = fleet.begin("scaled")
    fleet.plane.kubectl("scale", "llmdeployment/scaled", "--replicas=4", "-n", fleet.namespace)
    fleet.reach("scaled", lambda: len(fleet.pods("scaled")) >= 4, what="more replicas")
    assert fleet.serving("scaled") == old
    fleet.reach_promotion("scaled", new)
    fleet.await_settled("scaled", replicas=4)
    assert fleet.weights("scaled") == {new: 100}


def test_without_a_spare_device_it_waits_and_goes_on_when_one_appears(fleet: Rollouts):
    accelerator = fleet.add_node("full", gpus=2, product="GPU-spare")
    old = fleet.serve("spare", accelerator=accelerator)
    fleet.change("spare")
    fleet.reach("spare", lambda: fleet.hold("spare") == "InsufficientCapacity", what="the hold for want of a device")
    assert fleet.condition("Progressing", "spare") == ("True", "WaitingForCapacity")
    assert fleet.revisions_of_pods("spare") == {old}, "nothing is asked for that no node can hold"
    assert fleet.weights("spare") == {old: 100}
    fleet.add_node("more", gpus=1, product="GPU-spare")
    fleet.reach("spare", lambda: fleet.serving("spare") not in {"", old}, what="the promotion")
    assert not any(map(pending, fleet.pods("spare")))


def test_a_canary_whose_node_dies_has_no_traffic_until_it_is_back(fleet: Rollouts):
    accelerator = fleet.add_node("stable", gpus=2, product="GPU-dies")
    steps = [{"weight": 20}, {"pause": {}}, {"weight": 50}]
    old = fleet.serve("dies", accelerator=accelerator, canary={"steps": steps})
    fleet.add_node("canary", gpus=1, product="GPU-dies")
    before = fleet.pods_of("dies", old)
    fleet.change("dies")
    fleet.reach("dies", lambda: fleet.hold("dies") == "ManualPause", what="the pause at 20 %")
    new = fleet.rollout("dies")["revision"]
    fleet.lose_node("canary")
    fleet.reach("dies", lambda: fleet.weights("dies") == {old: 100}, what="all traffic for stable")
    assert fleet.pods_of("dies", old) == before
    fleet.add_node("again", gpus=1, product="GPU-dies")
    fleet.reach("dies", lambda: fleet.weights("dies") == {old: 80, new: 20}, what="the canary's traffic again")
    assert fleet.act("dies", "promote 1")[0] == "Done"
    fleet.reach("dies", lambda: fleet.serving("dies") == new, what="the promotion")


def window(*, opened: timedelta, minutes: int) -> dict[str, object]:
    """Opens once a day, last so long ago (or, negative, next in so long)."""
    at = datetime.now(tz=UTC) - opened
    return {"timezone": "UTC", "cron": f"{at.minute} {at.hour} * * *", "durationMinutes": minutes}


@pytest.mark.parametrize(
    ("name", "opened"),
    [
        ("window-over", timedelta(hours=1)),
        ("window-ahead", timedelta(hours=-2)),
    ],
)
def test_nothing_new_starts_while_the_change_window_is_closed(fleet: Rollouts, name, opened):
    old = fleet.serve(name, window=window(opened=opened, minutes=30))
    fleet.change(name)
    fleet.reach(name, lambda: fleet.hold(name) == "Window", what="the hold")
    assert fleet.revisions_of_pods(name) == {old}
    fleet.patch(
        "llmdeployments", name, {"spec": {"rollout": {"window": window(opened=timedelta(hours=1), minutes=180)}}}
    )
    fleet.reach(name, lambda: fleet.serving(name) not in {"", old}, what="the promotion")


def test_a_window_that_closes_in_the_middle_holds_the_step_but_no_abort(fleet: Rollouts):
    old, _ = fleet.begin("closing", canary={"steps": [{"weight": 20}, {"pause": {}}]})
    closed = window(opened=timedelta(hours=1), minutes=30)
    fleet.patch("llmdeployments", "closing", {"spec": {"rollout": {"window": closed}}})
    fleet.reach("closing", lambda: fleet.hold("closing") == "Window", what="the hold")
    assert fleet.weights("closing")[old] == 80
    assert fleet.act("closing", "abort 1")[0] == "Done"
    assert fleet.weights("closing") == {old: 100}
