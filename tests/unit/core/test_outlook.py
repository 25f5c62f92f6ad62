"""What `status.rollout.plan` promises people: the way that devices allow, and about how long it takes."""

import pytest

from tests.unit.core.cluster import words
from tests.unit.core.staged_cluster import StagedCluster

START = 90
CANARY = {"canary": {"steps": [{"weight": 50}, {"pause": {}}]}, "analysis": {"minSeconds": 300}}
AT_LEAST = "at least 8 min 0 s and a word of yours"
TWO_STARTS = "2 replicas to start, about 90 s each as the last start took"


def begun(*, gpus: int, replicas: int = 2, **rollout) -> StagedCluster:
    """A fleet whose replicas took 90 s to start, when it has just begun to change."""
    fleet = StagedCluster(spec=words(replicas=replicas, rollout=rollout), gpus=gpus)
    fleet.turn(warm=False, seconds=START)
    fleet.warm()
    fleet.settle()
    fleet.update()
    fleet.turn(warm=False, seconds=1)
    return fleet


@pytest.mark.parametrize(
    ("gpus", "rollout", "plan"),
    [
        (3, {}, f"surge: up to 1 replica beyond the wish; {TWO_STARTS}; about 3 min 0 s in all"),
        (8, {"maxSurge": 2}, f"surge: up to 2 replicas beyond the wish; {TWO_STARTS}; about 1 min 30 s in all"),
        (2, {"capacity": "Surge"}, f"surge: up to 1 replica beyond the wish; {TWO_STARTS}; about 3 min 0 s in all"),
        (2, {"maxUnavailable": 1}, f"one by one: 1 replica missing at a time; {TWO_STARTS}; about 3 min 0 s in all"),
        (
            2,
            {"capacity": "InPlace"},
            f"in place: 1 old replica at a time ends before its successor starts; {TWO_STARTS}; about 3 min 0 s in all",
        ),
        (2, {}, f"waits for a device; {TWO_STARTS}; about 3 min 0 s in all"),
        (
            2,
            {"strategy": "Recreate"},
            f"recreate: every old replica ends before a new one starts; {TWO_STARTS}; about 1 min 30 s in all",
        ),
        (
            3,
            {"strategy": "Canary", **CANARY},
            f"50 % → pause → 100 %; surge: up to 1 replica beyond the wish; {TWO_STARTS}; {AT_LEAST}",
        ),
        (
            2,
            {"strategy": "Canary", **CANARY},
            f"50 % → pause → 100 %; waits for a device; {TWO_STARTS}; {AT_LEAST}",
        ),
        (
            4,
            {"strategy": "BlueGreen", "blueGreen": {"autoPromote": True}},
            f"preview → 100 %; a whole second set beside the first; {TWO_STARTS}; at least 1 min 30 s",
        ),
        (
            4,
            {
                "strategy": "BlueGreen",
                "blueGreen": {"autoPromote": True},
                "analysis": {"metrics": [{"name": "ttft", "minRatio": 0.9}]},
            },
            f"preview → trial → 100 %; a whole second set beside the first; {TWO_STARTS}; at least 6 min 30 s",
        ),
    ],
    ids=lambda value: value.get("strategy", "RollingUpdate") if isinstance(value, dict) else str(value)[:30],
)
def test_every_strategy_says_which_way_and_how_long(gpus, rollout, plan):
    assert begun(gpus=gpus, **rollout).rollout["plan"] == plan


def test_the_plan_shrinks_and_does_not_tick():
    fleet = begun(gpus=3)
    seen = set()
    for _ in range(4):
        fleet.turn(warm=False, seconds=START)
        seen.add(fleet.rollout["plan"])
    assert len(seen) == 1, seen
    fleet.until(lambda: "1 replica to start" in fleet.rollout.get("plan", ""))
    fleet.history()
    assert "plan" not in fleet.rollout


def test_with_the_only_replica_gone_the_plan_of_before_still_tells_the_gap():
    fleet = begun(gpus=1, replicas=1, capacity="InPlace")
    plan = fleet.rollout["plan"]
    assert "about 1 min 30 s in all" in plan
    fleet.until(lambda: not any(pod.ready for pod in fleet.pods.values()), warm=False)
    fleet.turn(warm=False)
    assert fleet.rollout["plan"] == plan
