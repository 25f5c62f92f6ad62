"""When the gateway is asked what its Envoys have taken in: only while somebody waits for it, and never twice at once."""

import asyncio
from typing import Any

import pytest

from modelfleet.core.routing.router import Reports
from modelfleet.core.world import Replica
from modelfleet.shell.envoys import FRESH_SECONDS, Envoys

UID = "u1"


class Gateway:
    """One Envoy that applies `weights`."""

    def __init__(self, clock: "Clock") -> None:
        self.clock, self.weights, self.asked = clock, {"a": 100}, 0

    async def fetch(self) -> Reports:
        self.asked += 1
        await asyncio.sleep(0)
        model = {"digest": "d", "requested": dict(self.weights), "endpoints": {}}
        reply: dict[str, Any] = {"models": {UID: model}, "envoys": {"e": {"confirmed": {UID: "d"}, "rejections": {}}}}
        return Reports(observed_at=self.clock.now, envoys=("e",), replies=(reply,))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gateway(clock: Clock) -> Gateway:
    return Gateway(clock)


@pytest.fixture
def envoys(gateway: Gateway, clock: Clock) -> Envoys:
    return Envoys(source=gateway, clock=clock)


def leaving(*, since: float) -> Replica:
    return Replica(
        name="p", uid="p", resource_version="1", revision="a", ready=True, in_rotation=False, out_since=since
    )


def test_nobody_is_asked_for_nothing(envoys):
    assert not envoys.must_ask([], uid=UID, weights=None)
    assert not Envoys().must_ask([leaving(since=1.0)], uid=UID, weights={"a": 100})


async def test_weights_are_asked_for_until_every_envoy_has_them(envoys, gateway, clock):
    wanted = {"a": 80, "b": 20}
    assert envoys.must_ask([], uid=UID, weights=wanted)
    await envoys.ask()
    assert not envoys.must_ask([], uid=UID, weights=wanted), "the answer is fresh"
    clock.now += FRESH_SECONDS + 0.1
    assert envoys.must_ask([], uid=UID, weights=wanted)
    gateway.weights = wanted
    await envoys.ask()
    clock.now += 60
    assert not envoys.must_ask([], uid=UID, weights={**wanted, "c": 0}), "a revision without traffic needs no entry"
    assert envoys.must_ask([], uid="another", weights=wanted)


async def test_a_replica_that_left_after_the_last_answer_needs_a_new_one(envoys, clock):
    await envoys.ask()
    clock.now += 0.1
    assert envoys.must_ask([leaving(since=clock.now)], uid=UID)
    await envoys.ask()
    assert not envoys.must_ask([leaving(since=clock.now)], uid=UID)


async def test_passes_that_ask_in_the_same_moment_share_an_answer(envoys, gateway):
    await asyncio.gather(*(envoys.ask() for _ in range(20)))
    assert gateway.asked == 1
