"""A rollout whose operator dies at every single write: the end is the same, and nothing is lost on the way.

Exhaustive, not random: every write of every plan of a whole rollout is the last one once, then any two, then all of
them; writes that are under way together land in every order. An operator holds nothing here that the cluster does not
show: each pass is decided from a Snapshot alone.
"""

import copy
import itertools
from collections.abc import Collection, Sequence

import pytest

from modelfleet.core.decide import decide
from modelfleet.core.plan import Action, Create, Scale, stages
from tests.unit.core.cluster import Cluster, running, words

PASSES = 80
ORDERS = 6
"""Of up to three writes that are under way together, all; of four, the most there are, each one first and each one last."""
SHAPES = {
    "Auto": (2, 3, {"capacity": "Auto"}),
    "Auto without a spare device": (2, 2, {"capacity": "Auto", "maxUnavailable": 1}),
    "Auto in larger steps": (3, 8, {"capacity": "Auto", "maxSurge": 2, "maxUnavailable": 1}),
    "Surge": (2, 3, {"capacity": "Surge"}),
    "InPlace": (2, 2, {"capacity": "InPlace"}),
    "InPlace with one replica": (1, 1, {"capacity": "InPlace"}),
}
"""Replicas, devices, and how the rollout may go."""
OTHER = {"model": {"uri": "hf://org/other"}}
NEW = "a new one"
CHANGES = {
    "another model": OTHER,
    "fewer replicas too": OTHER | {"replicas": 1},
    "more replicas too": OTHER | {"replicas": 4},
}


class Play:
    """One rollout, checked after every write and after everything that the cluster does by itself."""

    def __init__(self, *, begun: Cluster, dies_at: Collection[int], eager: bool, turn: int) -> None:
        self.cluster = copy.deepcopy(begun)
        self.dies_at, self.eager, self.turn = dies_at, eager, turn
        self.writes: list[str] = []
        spec = self.cluster.parsed
        rollout, desired = spec.rollout, spec.replicas or 0
        in_place = rollout.capacity == "InPlace"
        before = sum(w.replicas for w in begun.workloads.values())
        loss = max(1, rollout.max_unavailable) if in_place else rollout.max_unavailable
        self.floor = min(desired, before) - loss
        self.most = max(before, desired + (0 if in_place else rollout.max_surge))

    def to_the_end(self) -> None:
        for _ in range(PASSES):
            writes, shape = len(self.writes), self.cluster.shape()
            self.live()
            self.world()
            self.cluster.now += 1
            if (writes, shape) == (len(self.writes), self.cluster.shape()):
                return
        raise AssertionError(f"no end after {PASSES} passes: {self.cluster.shape()} {self.writes}")

    def live(self) -> None:
        """One pass of an operator, cut short where it dies; the next one knows nothing of it."""
        plan = decide(self.cluster.snapshot())
        for action in itertools.chain(*(ordered(stage, turn=self.turn) for stage in stages(plan.actions))):
            seen = self.cluster.shape(), set(self.cluster.objects), set(self.cluster.stored)
            if not self.cluster.act(action):
                assert self.eager, f"{type(action).__name__} met something else than it was decided on"
                return
            if seen != (self.cluster.shape(), set(self.cluster.objects), set(self.cluster.stored)):
                self.wrote(described(action))
                if len(self.writes) in self.dies_at:
                    return
        if plan.status and dict(plan.status) != self.cluster.status:
            self.cluster.status = dict(plan.status)
            self.wrote("status")

    def wrote(self, what: str) -> None:
        self.writes.append(what)
        self.check()
        if self.eager:
            self.world()

    def world(self) -> None:
        self.cluster.controllers()
        self.check()
        self.cluster.warm()

    def check(self) -> None:
        cluster, last = self.cluster, self.writes[-3:]
        assert cluster.ready() >= self.floor, (last, cluster.shape())
        assert sum(w.replicas for w in cluster.workloads.values()) <= self.most, (last, cluster.shape())


def end(cluster: Cluster) -> object:
    """What must be the same in the end: everything but when it was and what was said on the way."""
    said = {key: value for key, value in cluster.status.items() if key not in ("decisions", "rollout")}
    conditions = [{k: v for k, v in one.items() if k != "lastTransitionTime"} for one in said.pop("conditions")]
    return (
        sorted((w.name, w.replicas) for w in cluster.workloads.values()),
        sorted(cluster.stored),
        sorted(cluster.objects),
        sorted((p.revision, p.ready, p.in_rotation, p.scheduled) for p in cluster.pods.values()),
        said,
        conditions,
    )


def ordered(stage: Sequence[Action], *, turn: int) -> Sequence[Action]:
    """One of the orders in which the writes of a stage may land."""
    orders = list(itertools.permutations(stage))
    return orders[turn * 5 % len(orders)]


def described(action: Action) -> str:
    match action:
        case Create():
            return f"Create {action.manifest['kind']} {action.manifest['metadata']['name']}"
        case Scale():
            return f"Scale {action.name} to {action.replicas}"
        case _:
            return type(action).__name__


def play(begun: Cluster, *, dies_at: Collection[int] = (), eager: bool = False, turn: int = 0) -> Play:
    played = Play(begun=begun, dies_at=dies_at, eager=eager, turn=turn)
    played.to_the_end()
    return played


def begun(shape: str, change: str = "another model") -> Cluster:
    """A fleet that was just asked for, or that serves and was asked for something else."""
    replicas, gpus, rollout = SHAPES[shape]
    if change == NEW:
        return Cluster(spec=words(replicas=replicas, rollout=rollout), gpus=gpus)
    cluster = running(replicas=replicas, gpus=max(gpus, 5 if "more" in change else 0), rollout=rollout)
    cluster.change(**CHANGES[change])
    return cluster


each_shape = pytest.mark.parametrize("shape", SHAPES)
each_change = pytest.mark.parametrize("change", [NEW, *CHANGES])


@each_change
@each_shape
def test_dead_at_any_one_write(shape, change):
    start = begun(shape, change)
    seen: list[list[str]] = []
    for turn in range(ORDERS):
        undisturbed = play(start, turn=turn)
        if undisturbed.writes not in seen:
            seen.append(undisturbed.writes)
            dead_at_each(start, undisturbed, turn=turn)
    assert len(seen) > 1
    assert all(len(writes) > 5 for writes in seen)


@each_shape
def test_dead_at_any_one_write_while_the_cluster_acts_at_once(shape):
    start = begun(shape)
    dead_at_each(start, play(start, eager=True), eager=True)


def dead_at_each(start: Cluster, undisturbed: Play, **how) -> None:
    for number in range(1, len(undisturbed.writes) + 1):
        disturbed = play(start, dies_at={number}, **how)
        assert end(disturbed.cluster) == end(undisturbed.cluster), f"dead at write {number}: {disturbed.writes}"


@pytest.mark.parametrize("eager", [False, True], ids=["after a pass", "after every write"])
@each_change
@each_shape
def test_dead_at_every_write(shape, change, eager):
    start = begun(shape, change)
    disturbed = play(start, dies_at=range(1000), eager=eager)
    assert end(disturbed.cluster) == end(play(start, eager=eager).cluster), disturbed.writes


@pytest.mark.parametrize("shape", ["Auto", "InPlace"])
def test_dead_at_any_two_writes(shape):
    start = begun(shape)
    undisturbed = play(start)
    for pair in itertools.combinations(range(1, len(undisturbed.writes) + 2), 2):
        disturbed = play(start, dies_at=pair)
        assert end(disturbed.cluster) == end(undisturbed.cluster), f"dead at writes {pair}: {disturbed.writes}"
