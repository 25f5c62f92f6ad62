"""Twenty rollouts at once for few spare devices, good and bad ones, and an operator that dies in the middle."""

from __future__ import annotations

import time

import pytest

from modelfleet.core.names import revision_hash
from tests.api.chronicle import Chronicle, State, broken
from tests.api.rollouts import ROLLOUT, STANDSTILL_SECONDS, Rollouts, rollouts

pytestmark = pytest.mark.story

NAMES = [f"chat-{number:02}" for number in range(20)]
BAD = NAMES[3::4]
REPLICAS, SPARE = 2, 6
DEVICES = REPLICAS * len(NAMES) + SPARE
STEPS = {"canary": {"steps": [{"weight": 50}]}, "scaleDownDelaySeconds": 0, "abortScaleDownDelaySeconds": 0}
"""One step: twenty at once show who gets which device; how a canary climbs is shown by itself, in test_operator_canary."""


def test_twenty_rollouts_at_once_share_the_spare_devices(control_plane, tmp_path):
    with rollouts(plane=control_plane, namespace="twenty", rate=100) as fleet:
        accelerator = fleet.add_node("pool", gpus=DEVICES, product="GPU-twenty")
        with fleet.operator(folder=tmp_path, user="first") as first:
            for name in NAMES:
                fleet.apply(name, accelerator=accelerator, rollout={**ROLLOUT, **STEPS})
            for name in NAMES:
                fleet.await_settled(name, seconds=STANDSTILL_SECONDS)
            old = {name: fleet.serving(name) for name in NAMES}
            with Chronicle(fleet=fleet) as chronicle:
                begun = time.monotonic()
                change_all(fleet)
                fleet.reach_together(NAMES, lambda: len(moving(fleet)) > SPARE / 2, what="the first canaries' traffic")
                first.kill()
                with fleet.operator(folder=tmp_path, user="second"):
                    fleet.reach_together(NAMES, lambda: len(ended(fleet, old)) == len(NAMES), what="every end")
                took = time.monotonic() - begun
        print(f"{len(NAMES)} rollouts, {SPARE} spare devices: {took:.0f} s")  # noqa: T201 - for who reads the log
        check(fleet, list(chronicle.states), old)


def change_all(fleet: Rollouts) -> None:
    for name in NAMES:
        fleet.change(name)
        if name in BAD:
            fault = fleet.traffic.slow if name == BAD[0] else fleet.traffic.failing
            fault[revision_hash(spec=fleet.get("llmdeployments", name)["spec"], annotations={})] = 0.5


def moving(fleet: Rollouts) -> list[str]:
    """Which have a canary with traffic."""
    return [name for name in NAMES if len(fleet.weights(name)) > 1]


def ended(fleet: Rollouts, old: dict[str, str]) -> list[str]:
    """Which are promoted or rolled back, with all that belongs to it."""
    return [
        name
        for name in NAMES
        if (fleet.serving(name) != old[name] or fleet.condition("Degraded", name)[0] == "True")
        and fleet.revisions_of_pods(name) == {fleet.serving(name)}
        and len(fleet.pods(name)) == REPLICAS
        and fleet.condition("Ready", name)[0] == "True"
    ]


def check(fleet: Rollouts, states: list[State], old: dict[str, str]) -> None:
    """Every one ended right, and on the way no more was asked for than there is."""
    for name in NAMES:
        good = name not in BAD
        assert (fleet.serving(name) != old[name]) == good, fleet.picture()
        assert fleet.condition("Degraded", name)[1] == ("AsExpected" if good else "RolledBack")
    # A pod counts from the moment in which it is asked for to its end.
    fullest = max(states, key=lambda state: len(devices(state)))
    assert len(devices(fullest)) <= DEVICES, "\n".join(
        [*sorted(devices(fullest)[:-1]), "newest:", devices(fullest)[-1]]
    )
    assert len(devices(fullest)) > REPLICAS * len(NAMES), "the spare ones were used"
    for name in NAMES:
        assert broken(iter(states), name=name, desired=REPLICAS) == [], name


def devices(state: State) -> list[str]:
    """Pods that hold a device or wait for one, and what each is doing; the newest is the last."""
    return [
        f"{name} since {pod['metadata']['creationTimestamp']}"
        + (f", ends since {pod['metadata']['deletionTimestamp']}" if "deletionTimestamp" in pod["metadata"] else "")
        + ("" if pod["spec"].get("nodeName") else ", on no node")
        for name, pod in state.pods.items()
        if name.startswith("chat-")
    ]
