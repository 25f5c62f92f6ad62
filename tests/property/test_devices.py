"""A revision with other devices per replica: the budget holds, and who serves stays until others do."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelfleet.core.allowance import held
from tests.property.effort import portion
from tests.unit.core.cluster import words
from tests.unit.core.staged_cluster import StagedCluster, scripted

STRATEGIES: dict[str, dict[str, Any]] = {
    "Canary": {"canary": {"steps": [{"weight": 50}]}},
    "BlueGreen": {"blueGreen": {"autoPromote": True}},
    "RollingUpdate": {},
}
SIZES = st.sampled_from([1, 2, 4])


@st.composite
def fleets(draw: st.DrawFn, strategy: str) -> StagedCluster:
    replicas, each = draw(st.integers(2, 5)), draw(SIZES)
    rollout = {
        "strategy": strategy,
        **STRATEGIES[strategy],
        "capacity": draw(st.sampled_from(["Auto", "Surge", "InPlace"])),
        "maxUnavailable": draw(st.integers(0, 1)),
        "maxSurge": draw(st.integers(1, 2)),
        "scaleDownDelaySeconds": draw(st.sampled_from([0, 60])),
    }
    scaling = {
        "minReplicas": replicas,
        "maxReplicas": 8,
        "maxGPUs": max(4, replicas * each + draw(st.integers(0, 5))),
        "metrics": [{"type": "QueueDepth", "target": 5}],
    }
    spec = words(replicas=None, scaling=scaling, accelerator={"count": each}, rollout=rollout)
    return StagedCluster(spec=spec, gpus=80, drain=draw(st.integers(0, 2)))


def passes(cluster: StagedCluster, *, number: int) -> int:
    """Run so many passes within the budget; gives the fewest that served."""
    fewest = cluster.ready()
    for _ in range(number):
        before = held(cluster.snapshot())
        cluster.reconcile()
        budget = cluster.spec["scaling"]["maxGPUs"]
        assert held(cluster.snapshot()) <= max(before, budget), ("I7", budget, before, cluster.counts())
        cluster.controllers()
        cluster.warm()
        cluster.now += 10
        fewest = min(fewest, cluster.ready())
    return fewest


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=portion(15), suppress_health_check=list(HealthCheck))
@given(data=st.data(), size=SIZES, aborted=st.booleans())
def test_no_revision_of_another_size_breaks_the_budget_or_takes_who_serves(
    strategy: str, data: st.DataObject, size: int, *, aborted: bool
) -> None:
    cluster = data.draw(fleets(strategy))
    with scripted():
        passes(cluster, number=8)
        served, rollout = cluster.ready(), cluster.parsed.rollout
        # Nothing tells that fewer replicas would do.
        cluster.change(scaling=cluster.spec["scaling"] | {"minReplicas": 1}, accelerator={"count": size})
        fewest = passes(cluster, number=40)
        over = list(cluster.counts()) == [cluster.revision]
        assert over or fewest >= served - max(int(rollout.capacity == "InPlace"), rollout.max_unavailable), fewest
        assert over or cluster.condition("CapacityAvailable")["status"] == "False", (cluster.counts(), cluster.rollout)
        if aborted:
            cluster.act_on("abort 1")
            passes(cluster, number=10)
        cluster.annotations = {}
        cluster.change(scaling=cluster.spec["scaling"] | {"maxGPUs": 100}, model={"uri": "hf://org/other"})
        passes(cluster, number=60)
        assert list(cluster.counts()) == [cluster.revision], (cluster.counts(), cluster.rollout)
