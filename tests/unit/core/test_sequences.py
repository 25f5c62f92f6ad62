"""Every strategy x capacity, played to its end on the pure cluster: each change of weights and replicas, in order.

`50 % 1+2` is half of the traffic for the new revision, one replica of the old one and two of the new one; without a
percentage traffic follows the ready replicas. Whatever else a row ends in than the promotion, it waits there.
"""

from typing import Any

import pytest

STEPS = {"canary": {"steps": [{"weight": 20}, {"weight": 50}]}}
STRATEGIES: dict[str, dict[str, Any]] = {
    "RollingUpdate": {"strategy": "RollingUpdate"},
    "Canary": {"strategy": "Canary", **STEPS},
    "BlueGreen": {"strategy": "BlueGreen", "blueGreen": {"autoPromote": True}},
    "Recreate": {"strategy": "Recreate"},
}
ONE_BY_ONE_OF_ONE = "1+0, 1+1, 0+1"
ONE_BY_ONE = "3+0, 3+1, 2+1, 2+2, 1+2, 1+3, 0+3"
OLD_FIRST = "3+0, 2+0, 2+1, 1+1, 1+2, 0+2, 0+3"
STEPS_OF_ONE = "0 % 1+0, 0 % 1+1, 20 % 1+1, 50 % 1+1, 100 % 1+1, 100 % 0+1"
STEPS_OF_TWO = (
    "0 % 2+0, 0 % 2+1, 20 % 2+1, 50 % 2+1, 50 % 1+1, 50 % 1+2, 100 % 1+2, 100 % 0+2"  # the last one is kept for a while
)
STEPS_OF_THREE = "0 % 3+0, 0 % 3+1, 20 % 3+1, 33 % 3+1, 33 % 2+1, 33 % 2+2, 50 % 2+2, 66 % 2+2, 66 % 1+2, 66 % 1+3, 100 % 1+3, 100 % 0+3"
STEPS_OLD_FIRST = "0 % 3+0, 0 % 2+0, 0 % 2+1, 20 % 2+1, 33 % 2+1, 50 % 1+1, 50 % 1+2, 100 % 1+2, 100 % 0+2, 100 % 0+3"
SWITCH = "0 % 2+0, 0 % 2+2, 100 % 2+2, 100 % 0+2"
REPLACED = "1+0, 0+0, 0+1"
SEQUENCES = {
    # strategy, capacity, replicas, devices to spare: what is seen, and what it waits for in the end
    ("RollingUpdate", "Auto", 1, 1): (ONE_BY_ONE_OF_ONE, ""),
    ("RollingUpdate", "Auto", 3, 1): (ONE_BY_ONE, ""),
    ("RollingUpdate", "Auto", 3, 8): (ONE_BY_ONE, ""),
    ("RollingUpdate", "Auto", 3, 0): ("3+0", "WaitingForCapacity"),
    ("RollingUpdate", "Surge", 1, 1): (ONE_BY_ONE_OF_ONE, ""),
    ("RollingUpdate", "Surge", 3, 1): (ONE_BY_ONE, ""),
    ("RollingUpdate", "Surge", 3, 0): ("3+0, 3+1", "RevisionRollingOut"),
    ("RollingUpdate", "InPlace", 1, 0): (REPLACED, ""),
    ("RollingUpdate", "InPlace", 3, 0): (OLD_FIRST, ""),
    ("RollingUpdate", "InPlace", 3, 8): (OLD_FIRST, ""),
    ("Canary", "Auto", 1, 1): (STEPS_OF_ONE, ""),
    ("Canary", "Auto", 2, 1): (STEPS_OF_TWO, ""),
    ("Canary", "Auto", 2, 8): (STEPS_OF_TWO, ""),
    ("Canary", "Auto", 3, 1): (STEPS_OF_THREE, ""),
    ("Canary", "Auto", 3, 0): ("0 % 3+0", "WaitingForCapacity"),
    ("Canary", "Surge", 1, 1): (STEPS_OF_ONE, ""),
    ("Canary", "Surge", 2, 1): (STEPS_OF_TWO, ""),
    ("Canary", "Surge", 3, 8): (STEPS_OF_THREE, ""),
    ("Canary", "Surge", 3, 0): ("0 % 3+0, 0 % 3+1", "RevisionRollingOut"),
    ("Canary", "InPlace", 1, 0): (REPLACED, ""),
    ("Canary", "InPlace", 2, 0): (
        "0 % 2+0, 0 % 1+0, 0 % 1+1, 20 % 1+1, 50 % 1+1, 100 % 1+1, 100 % 0+1, 100 % 0+2",
        "",
    ),
    ("Canary", "InPlace", 3, 0): (STEPS_OLD_FIRST, ""),
    ("BlueGreen", "Auto", 1, 1): ("0 % 1+0, 0 % 1+1, 100 % 1+1, 100 % 0+1", ""),
    ("BlueGreen", "Auto", 2, 2): (SWITCH, ""),
    ("BlueGreen", "Auto", 2, 1): ("0 % 2+0", "WaitingForCapacity"),
    ("BlueGreen", "Surge", 2, 2): (SWITCH, ""),
    ("BlueGreen", "Surge", 2, 1): ("0 % 2+0, 0 % 2+2", "RevisionRollingOut"),
    ("BlueGreen", "InPlace", 1, 0): (REPLACED, ""),
    ("BlueGreen", "InPlace", 2, 2): (SWITCH, ""),
    ("BlueGreen", "InPlace", 2, 1): ("0 % 2+0", "WaitingForCapacity"),
    ("Recreate", "Auto", 2, 8): ("2+0, 0+0, 0+2", ""),
    ("Recreate", "Surge", 2, 8): ("2+0, 0+0, 0+2", ""),
    ("Recreate", "InPlace", 2, 0): ("2+0, 0+0, 0+2", ""),
}
ALLOWED = {
    # the same, where the user allows more
    ("RollingUpdate", "Auto", 3, 0): ({"maxUnavailable": 1}, OLD_FIRST),
    ("RollingUpdate", "Surge", 3, 8): ({"maxSurge": 2}, "3+0, 3+2, 1+2, 1+3, 0+3"),
    ("RollingUpdate", "InPlace", 4, 0): ({"maxUnavailable": 2}, "4+0, 2+0, 2+2, 0+2, 0+4"),
    ("Canary", "Auto", 3, 0): ({"maxUnavailable": 1}, STEPS_OLD_FIRST),
    ("BlueGreen", "Auto", 3, 8): (
        {"blueGreen": {"autoPromote": True, "previewReplicas": 1}},
        "0 % 3+0, 0 % 3+1, 0 % 3+3, 100 % 3+3, 100 % 0+3",
    ),
}
Case = tuple[str, str, int, int]


def started(judged: Any, case: Case, **more: Any) -> Any:
    strategy, capacity, replicas, spare = case
    rollout = {**STRATEGIES[strategy], "capacity": capacity, **more}
    fleet = judged(replicas=replicas, gpus=replicas + spare, rollout=rollout)
    fleet.old, fleet.new = fleet.update()
    return fleet


def seen(fleet: Any) -> str:
    """Let it run to its end; gives the sequence."""
    found: list[str] = []
    for weights, counts in fleet.history():
        share = f"{weights.get(fleet.new, 0)} % " if weights else ""
        look = f"{share}{counts.get(fleet.old, 0)}+{counts.get(fleet.new, 0)}"
        found += [look] if [look] != found[-1:] else []
    return ", ".join(found)


def promoted(fleet: Any) -> tuple[bool, ...]:
    """Whether the new one serves alone, and the way back is known."""
    alone = fleet.counts() == {fleet.new: fleet.spec["replicas"]}
    return alone, fleet.roles[fleet.new] == "stable", fleet.rollout["previous"] == fleet.old


@pytest.mark.parametrize("case", SEQUENCES, ids=lambda case: "-".join(map(str, case)))
def test_every_strategy_with_every_capacity(judged: Any, case: Case) -> None:
    fleet = started(judged, case)
    wanted, waits = SEQUENCES[case]
    assert seen(fleet) == wanted
    if waits:
        assert fleet.condition("Progressing")["reason"] == waits
        assert fleet.condition("CapacityAvailable")["status"] == "False"
    else:
        assert promoted(fleet) == (True, True, True)
    assert fleet.silent(seconds=0) == ((), {})


@pytest.mark.parametrize("case", ALLOWED, ids=lambda case: "-".join(map(str, case)))
def test_what_the_user_allows_beside_it(judged: Any, case: Case) -> None:
    more, wanted = ALLOWED[case]
    fleet = started(judged, case, **more)
    assert seen(fleet) == wanted
    assert promoted(fleet) == (True, True, True)


def test_copies_come_before_any_traffic_and_end_before_it(judged: Any) -> None:
    mirror = {"percent": 10, "minSeconds": 60}
    fleet = started(judged, ("Canary", "Auto", 2, 1), canary={**STEPS["canary"], "mirror": mirror})
    found: list[tuple[str, int, int]] = []
    fleet.turn(warm=False)
    while fleet.rollout.get("revision"):
        look = (fleet.rollout["phase"], fleet.rollout.get("mirror", 0), fleet.weights.get(fleet.new, 0))
        found += [look] * (look not in found)
        fleet.turn(seconds=5)
    assert found == [
        ("Provisioning", 0, 0),
        ("Mirror", 10, 0),
        ("Step", 10, 0),  # the last copies, until every Envoy has the next weight
        ("Step", 0, 20),
        ("Step", 0, 50),
        ("Promoting", 0, 50),
        ("Warming", 0, 50),
        ("Promoting", 0, 100),
    ]
    assert promoted(fleet)[1:] == (True, True)


def test_copies_last_as_long_as_asked_for(judged: Any) -> None:
    canary = {**STEPS["canary"], "mirror": {"percent": 10, "minSeconds": 600}}
    fleet = started(judged, ("Canary", "Auto", 2, 1), canary=canary)
    fleet.until(lambda: fleet.rollout.get("stepStartedAt"))
    begun = fleet.now
    assert fleet.rollout["phase"] == "Mirror"
    fleet.until(lambda: fleet.weights.get(fleet.new))
    assert 600 <= fleet.now - begun <= 630
