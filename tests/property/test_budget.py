"""A budget holds in every rollout, whatever its strategy and capacity, and a larger one lets it go on."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.property.effort import portion
from tests.unit.core.cluster import words
from tests.unit.core.staged_cluster import StagedCluster, scripted, sized
from tests.unit.core.staged_promises import facts, used

EVENTS = st.lists(
    st.sampled_from(["turn", "turn", "turn", "cold", "kill", "unready", "spec", "wider", "abort"]), max_size=25
)

ENOUGH = 12
"""Devices: two sets of the five replicas that there may be, and a surge. Only the budget is scarce."""


@st.composite
def fleets(draw: st.DrawFn, strategy: str) -> StagedCluster:
    replicas = draw(st.integers(1, 3))
    rollout: dict[str, Any] = {
        "strategy": strategy,
        "capacity": draw(st.sampled_from(["Auto", "Surge", "InPlace"])),
        "maxUnavailable": draw(st.integers(0, 1)),
        "maxSurge": draw(st.integers(1, 2)),
        "scaleDownDelaySeconds": draw(st.sampled_from([0, 60])),
    }
    if rollout["strategy"] == "Canary":
        rollout["canary"] = {"steps": [{"weight": 50}]}
    if rollout["strategy"] == "BlueGreen":
        rollout["blueGreen"] = {"autoPromote": True}
    budget = replicas + draw(st.integers(0, 2))
    spec = words(**sized(replicas, budget=budget), rollout=rollout)
    return StagedCluster(spec=spec, gpus=ENOUGH, drain=draw(st.integers(0, 2)))


def happen(cluster: StagedCluster, event: str, *, number: int) -> None:
    match event:
        case "kill":
            cluster.kill(number)
        case "unready":
            cluster.unready(number)
        case "spec":
            cluster.update(seed=number % 3)
        case "wider":
            assert cluster.budget is not None
            cluster.change(**sized(min(cluster.desired + 1, cluster.budget), budget=cluster.budget))
        case "abort":
            cluster.act_on(f"abort id-{number}")
        case _:
            passes(cluster, warm=event == "turn")


def passes(cluster: StagedCluster, *, warm: bool = True) -> None:
    """One pass, which asks for nothing beyond the budget, and what the cluster does after it."""
    before = facts(cluster)
    cluster.reconcile()
    after = facts(cluster)
    assert cluster.budget is not None
    assert after.used <= max(before.used, cluster.budget), ("I7", cluster.budget, before, after)
    cluster.controllers()
    if warm:
        cluster.warm()
    cluster.now += 10


@pytest.mark.parametrize("strategy", ["Canary", "BlueGreen", "RollingUpdate", "Recreate"])
@settings(max_examples=portion(30), suppress_health_check=list(HealthCheck))
@given(data=st.data(), events=EVENTS)
def test_no_rollout_has_more_devices_than_its_budget_and_a_larger_one_ends_it(
    strategy: str, data: st.DataObject, events: list[str]
) -> None:
    cluster = data.draw(fleets(strategy))
    with scripted():
        for _ in range(5):
            passes(cluster)
        cluster.update(seed=9)
        for number, event in enumerate(events):
            happen(cluster, event, number=number)
        cluster.annotations = {}
        desired = cluster.desired
        cluster.change(**sized(desired, budget=desired * 2 + 2))
        cluster.update(seed=100)  # which ends an abort
        for _ in range(60):
            passes(cluster)
        assert cluster.counts() == {cluster.revision: desired}, (cluster.counts(), cluster.rollout)
        assert used(cluster) == desired == cluster.ready()
