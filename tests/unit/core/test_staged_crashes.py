"""A canary and a blue-green rollout whose operator dies between any two writes: the same end, no promise broken.

As `test_crashes.py`, with weights: the write of the status, which sets them, is one that may be lost as well.
"""

import copy
import itertools
from typing import Any

import pytest

from modelfleet.core.decide import decide
from modelfleet.core.plan import stages
from tests.unit.core.staged_cluster import FAIL, StagedCluster
from tests.unit.core.staged_promises import Promises, facts

PASSES = 120
STEPS: dict[str, Any] = {"canary": {"steps": [{"weight": 20}, {"weight": 50}]}, "scaleDownDelaySeconds": 60}
SHAPES = {
    "Canary": (2, 3, STEPS),
    "Canary without a spare device": (2, 2, STEPS | {"maxUnavailable": 1}),
    "Canary in place": (2, 2, STEPS | {"capacity": "InPlace"}),
    "BlueGreen": (2, 4, {"strategy": "BlueGreen", "blueGreen": {"autoPromote": True}, "scaleDownDelaySeconds": 60}),
    "Canary after copies": (2, 3, STEPS | {"canary": {**STEPS["canary"], "mirror": {"percent": 10, "minSeconds": 20}}}),
    "Canary that fails": (2, 3, STEPS | {"abortScaleDownDelaySeconds": 5}),
}


class Play:
    """One rollout, checked after every write; it dies at some of them."""

    def __init__(self, begun, *, dies_at, eager):
        self.cluster: StagedCluster = copy.deepcopy(begun)
        self.promises = Promises(self.cluster)
        self.dies_at, self.eager, self.writes = dies_at, eager, 0

    def to_the_end(self):
        still = 0
        for _ in range(PASSES):
            seen = self.writes, self.cluster.shape()
            self.live()
            self.world()
            self.cluster.now += 5
            still = still + 1 if seen == (self.writes, self.cluster.shape()) else 0
            if still > 15:
                return self
        raise AssertionError(f"no end: {self.cluster.shape()} {self.cluster.rollout}")

    def live(self):
        plan = decide(self.cluster.snapshot())
        for action in itertools.chain(*stages(plan.actions)):
            seen = self.cluster.shape(), set(self.cluster.objects), set(self.cluster.stored)
            before = facts(self.cluster)
            if not self.cluster.act(action):
                return
            self.promises.hold(before, whole=False)
            if seen != (self.cluster.shape(), set(self.cluster.objects), set(self.cluster.stored)):
                self.writes += 1
                if self.writes in self.dies_at:
                    return
                if self.eager:
                    self.world()
        if dict(plan.status) != self.cluster.status:
            self.cluster.status = dict(plan.status)
            self.writes += 1

    def world(self):
        self.cluster.controllers()
        self.cluster.warm()

    def end(self):
        cluster = self.cluster
        said = {key: cluster.rollout.get(key) for key in ("previous", "override", "phase", "revision", "weight")}
        pods = sorted((p.revision, p.ready, p.in_rotation) for p in cluster.pods.values())
        return cluster.weights, cluster.counts(), pods, sorted(cluster.objects), sorted(cluster.stored), said


@pytest.fixture(params=SHAPES)
def begun(request, judged):
    replicas, gpus, rollout = SHAPES[request.param]
    fleet = judged(replicas=replicas, gpus=gpus, rollout=rollout)
    fleet.update()
    if "fails" in request.param:
        fleet.says = FAIL
    return fleet


@pytest.mark.parametrize("eager", [False, True], ids=["after a pass", "after every write"])
def test_dead_at_any_one_write(begun, eager):
    undisturbed = Play(begun, dies_at=(), eager=eager).to_the_end()
    assert undisturbed.writes > 10
    for number in range(1, undisturbed.writes + 1):
        disturbed = Play(begun, dies_at={number}, eager=eager).to_the_end()
        assert disturbed.end() == undisturbed.end(), f"dead at write {number}"


@pytest.mark.parametrize("turn", [0, 1])
def test_dead_at_every_other_write(begun, turn):
    disturbed = Play(begun, dies_at=range(turn, 1000, 2), eager=True).to_the_end()
    assert disturbed.end() == Play(begun, dies_at=(), eager=True).to_the_end().end()
