"""Which revision each try of a request goes to, over every mix of weights and replicas."""

import itertools

import pytest

from modelfleet.core.routing.model import Endpoint, Revision
from modelfleet.core.routing.tries import RETRIES, SCALE, Stretches, tries


def revision(name: str, weight: int | None, replicas: int = 1) -> Revision:
    return Revision(
        name=name, weight=weight, endpoints=tuple(Endpoint(address=f"10.0.0.{n}") for n in range(1, replicas + 1))
    )


def at(stretches: Stretches, point: int) -> str:
    end = 0
    for name, length in stretches:
        end += length
        if point < end:
            return name
    raise AssertionError(f"{point} is on none of {stretches}")


@pytest.mark.parametrize("weights", [(1, 99), (20, 80), (50, 50), (1, 1, 1), (5, 30, 65), (7, 0, 93), (100, 0)])
@pytest.mark.parametrize("replicas", [(1, 1, 1), (2, 1, 3), (3, 2, 1)])
def test_every_try_covers_the_whole_scale_and_leaves_a_revision_that_may_be_dead(
    weights: tuple[int, ...], replicas: tuple[int, ...]
):
    revisions = [
        revision(f"r{n}", weight, count) for n, (weight, count) in enumerate(zip(weights, replicas, strict=False))
    ]
    found = tries(revisions)
    assert len(found) == 1 + RETRIES
    assert {sum(length for _, length in stretches) for stretches in found} == {SCALE}
    shares = {name: length / SCALE for name, length in found[0]}
    assert shares == pytest.approx({f"r{n}": w / sum(weights) for n, w in enumerate(weights) if w}, abs=1 / SCALE)
    for point in (*range(0, SCALE, SCALE // 997), SCALE - 1):
        first, *again, last = (at(stretches, point) for stretches in found)
        own = next(r for r in revisions if r.name == first)
        if len(shares) == 1:
            assert {*again, last} == {first}
            continue
        stayed = {one == first for one in again}
        assert stayed == {len(own.endpoints) > 1}, "what is full burdens no other, where it has another replica"
        assert last != first
        assert {*again, last} <= shares.keys(), "never one that was given no traffic"


def test_the_share_of_one_that_is_dead_goes_to_the_others_in_proportion():
    *_, last = tries([revision("a", 60), revision("b", 20), revision("c", 20)])
    of_b = [(name, length) for name, length in last[2:4]]
    assert of_b == [("a", 150_000), ("c", 50_000)]


def test_without_any_weight_there_is_nothing_to_try():
    assert tries([]) == ()
    assert tries([revision("a", None, 0)]) == ()


def test_a_weight_that_rises_takes_sessions_and_gives_none_away():
    steps = [tries([revision("a", 100 - new), revision("b", new)])[0] for new in (1, 5, 20, 50, 99, 100)]
    for before, after in itertools.pairwise(steps):
        moved = {(at(before, point), at(after, point)) for point in range(0, SCALE, 1009)}
        assert moved <= {("a", "a"), ("b", "b"), ("a", "b")}
