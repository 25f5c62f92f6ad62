"""Sessions stay where they are: on one revision while weights stand, and never back and forth when they move."""

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from modelfleet.core.routing.model import ApiKey, Revision, Stickiness
from tests.gateway.engines import Engine, serving
from tests.gateway.gateway import KEY, Gateway, revision, served

SESSIONS = 50
TENANTS = tuple(ApiKey(tenant=f"tenant-{number}", key=f"key-{number}") for number in range(SESSIONS))
STICKY = {
    "Header": Stickiness(by="Header", name="x-session-id"),
    "Cookie": Stickiness(by="Cookie", name="session"),
    "ApiKey": Stickiness(by="ApiKey"),
}
PATH = (20, 50, 100, 20, 0)
"""Percent of the new revision: a rollout that goes up all the way, then is rolled back."""


def request(by: str, session: int) -> dict[str, Any]:
    """What tells one session from another."""
    if by == "ApiKey":
        return {"key": TENANTS[session].key}
    return {"headers": {"x-session-id": f"s{session}"} if by == "Header" else {"Cookie": f"session=s{session}"}}


async def placed(gate: Gateway, by: str) -> tuple[str, ...]:
    """Ask three times in every session; returns the revision that each is on."""
    found = []
    for session in range(SESSIONS):
        answers = [await gate.chat("chat", **request(by, session)) for _ in range(3)]
        assert {status for status, *_ in answers} == {200}
        (one,) = {answered for *_, answered in answers}
        found.append(one)
    return tuple(found)


async def walk(gate: Gateway, by: str, steps: Iterable[tuple[Revision, ...]]) -> list[tuple[str, ...]]:
    found = []
    for revisions in steps:
        model = served("chat", *revisions, stickiness=STICKY[by])
        await gate.apply(model, keys=(KEY, *TENANTS), access="AnyKey")
        found.append(await placed(gate, by))
    return found


@pytest.mark.parametrize("new", ["r1", "r9"], ids=["the new one's name is first", "the new one's name is last"])
@pytest.mark.parametrize("by", STICKY)
async def test_a_session_moves_once_to_the_new_revision_and_back_with_a_rollback(gate: Gateway, by: str, new: str):
    stable, canary = Engine(name="stable"), Engine(name="canary")
    async with serving(stable, canary):
        steps = (
            tuple(sorted([revision("r5", stable, weight=100 - at), revision(new, canary, weight=at)], key=_name))
            for at in PATH
        )
        found = await walk(gate, by, steps)
    on_new = [{session for session in range(SESSIONS) if places[session] == new} for places in found]
    assert 0 < len(on_new[0]) < len(on_new[1]) < SESSIONS, "both revisions have sessions"
    assert on_new[0] < on_new[1] < on_new[2], "who was moved to the new one stays there while its weight rises"
    assert len(on_new[2]) == SESSIONS
    assert on_new[3] == on_new[0], "and a falling weight brings back those that came last"
    assert on_new[4] == set()


async def test_sessions_do_not_shuffle_when_weights_follow_the_replicas(gate: Gateway):
    """As in a RollingUpdate: the sum of the weights changes with every replica."""
    old, new = (tuple(Engine(name=f"{name}{number}") for number in range(4)) for name in ("old", "new"))
    async with serving(*old, *new):
        counts = ((4, 0), (4, 1), (3, 1), (3, 2), (2, 3), (1, 4), (0, 4))
        found = await walk(gate, "Header", ((revision("r1", *old[:a]), revision("r2", *new[:b])) for a, b in counts))
    for before, after in itertools.pairwise(found):
        moved = {(was, now) for was, now in zip(before, after, strict=True) if was != now}
        assert moved <= {("r1", "r2")}, found


@pytest.mark.parametrize("by", ["Header", "Cookie"])
async def test_requests_without_a_session_are_drawn_anew_each_time(gate: Gateway, by: str):
    stable, canary = Engine(name="stable"), Engine(name="canary")
    async with serving(stable, canary):
        revisions = revision("r1", stable, weight=80), revision("r2", canary, weight=20)
        await gate.apply(served("chat", *revisions, stickiness=STICKY[by]))
        answered = Counter([(await gate.chat("chat"))[2] for _ in range(200)])
    # 40 on average; fewer than 10 or more than 80 is rarer than one in a thousand million.
    assert answered.keys() == {"r1", "r2"}, answered
    assert 10 <= answered["r2"] <= 80, answered


def _name(one: Revision) -> str:
    return one.name
