"""Recreate, and what goes in place with one replica: nothing serves for a while, and there is a way back."""

import pytest

from tests.unit.core.cluster import words
from tests.unit.core.staged_cluster import StagedCluster

GAPS = {
    "Recreate": (2, {"strategy": "Recreate"}),
    "InPlace": (1, {"capacity": "InPlace"}),
    "Canary in place": (1, {"strategy": "Canary", "capacity": "InPlace"}),
    "BlueGreen in place": (1, {"strategy": "BlueGreen", "capacity": "InPlace"}),
}


@pytest.fixture(params=GAPS)
def fleet(request):
    replicas, rollout = GAPS[request.param]
    cluster = StagedCluster(spec=words(replicas=replicas, rollout=rollout), gpus=replicas)
    cluster.history()
    return cluster


def test_the_old_ones_end_before_the_new_ones_begin(fleet):
    replicas = fleet.spec["replicas"]
    old, new = fleet.update()
    assert [counts for _, counts in fleet.history()] == [{old: replicas}, {}, {new: replicas}]
    assert fleet.weights == {}
    assert fleet.rollout["previous"] == old


def test_an_abort_in_the_gap_brings_the_old_ones_back(fleet):
    replicas = fleet.spec["replicas"]
    old, new = fleet.update()
    fleet.until(lambda: fleet.counts() == {new: replicas}, warm=False)
    fleet.act_on("abort 1")
    fleet.history()
    assert fleet.counts() == {old: replicas}
    assert fleet.condition("Degraded")["reason"] == "Aborted"
    assert fleet.silent(seconds=4000) == ((), {})


def test_what_cannot_start_ends_nothing(fleet):
    replicas = fleet.spec["replicas"]
    old = fleet.revision
    fleet.change(engine={"args": ["--seed=1"]})
    fleet.extra["rejected"] = {fleet.revision: "spec.template: no"}
    fleet.history()
    assert fleet.counts() == {old: replicas}
    assert fleet.condition("Valid")["reason"] == "TemplateInvalid"
