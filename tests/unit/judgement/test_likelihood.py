from math import comb, log

import pytest

from modelfleet.core.judgement.bounds import surely_above, surely_below
from modelfleet.core.judgement.likelihood import Sample, evidence, log_likelihood, log_ratio
from modelfleet.core.judgement.spread import Pair, design_effect, replica_effect

VECTORS = [
    # canary bad, canary requests, stable bad, stable requests, allowed drop, log ratio, log evidence
    (5, 100, 15, 300, 0.05, -1.4675, -1.9781),
    (12, 100, 15, 300, 0.05, 2.4257, 1.9747),
    (0, 300, 0, 900, 0.01, -3.0151, -3.5250),  # exactly 300 ln 0.99
    (0, 300, 2, 900, 0.01, -3.0202, -3.5301),
    (4, 150, 1, 450, 0.01, 2.4839, 2.6365),
    (60, 200, 60, 600, 0.05, 9.8824, 18.4654),
]


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_published_vectors(vector):
    canary_bad, canary_all, stable_bad, stable_all, drop, ratio, ln_e = vector
    canary, stable = Sample(canary_bad, canary_all), Sample(stable_bad, stable_all)
    assert log_ratio(canary=canary, stable=stable, drop=drop) == pytest.approx(ratio, abs=1e-4)
    assert log(evidence(canary=canary, stable=stable, max_drop=drop, spread=1)) == pytest.approx(ln_e, abs=1e-4)


@pytest.mark.parametrize("allowance", [0.0, 0.02])
@pytest.mark.parametrize(("canary", "stable"), [((9, 80), (11, 240)), ((0, 50), (5, 50)), ((50, 50), (0, 200))])
def test_the_likeliest_ratio_is_the_best_of_a_fine_grid(canary, stable, allowance):
    arms, drop = {"canary": Sample(*canary), "stable": Sample(*stable)}, 0.05

    def best(shift):
        grid = (i / 20_000 for i in range(int(20_000 * (1 - shift)) + 1))
        return max(
            log_likelihood(sample=arms["stable"], ratio=p) + log_likelihood(sample=arms["canary"], ratio=p + shift)
            for p in grid
        )

    assert log_ratio(**arms, drop=drop, allowance=allowance) == pytest.approx(best(drop) - best(allowance), abs=1e-4)


def test_an_arm_without_requests_says_nothing():
    assert evidence(canary=Sample(0, 0), stable=Sample(3, 50), max_drop=0.05, spread=1) == pytest.approx(1.0)


def test_proof_beyond_any_float_is_still_a_number():
    assert evidence(canary=Sample(1e9, 1e9), stable=Sample(0, 1e9), max_drop=0.05, spread=1) < float("inf")


@pytest.mark.parametrize(
    ("limit", "least"),
    [(0.05, {5: 4, 10: 5, 20: 6, 50: 9, 100: 14}), (0.1, {5: 4, 10: 6, 20: 8, 50: 14})],
)
def test_the_guard_needs_just_so_many(limit, least):
    found = {n: next(x for x in range(n + 1) if surely_above(bad=x, total=n, limit=limit)) for n in least}
    assert found == least


@pytest.mark.parametrize("total", [1, 7, 60, 400])
@pytest.mark.parametrize("limit", [0.01, 0.3, 0.9])
def test_the_bounds_are_exact(total, limit):
    """Compared with the plain sum of binomial probabilities, in whole numbers."""
    density = [comb(total, k) * limit**k * (1 - limit) ** (total - k) for k in range(total + 1)]
    for bad in range(total + 1):
        above, below = sum(density[bad:]), sum(density[: bad + 1])
        assert surely_above(bad=bad, total=total, limit=limit) == (above < 0.001 and bad > limit * total)
        assert surely_below(bad=bad, total=total, limit=limit) == (below < 0.01 and bad < limit * total)


def test_parts_of_requests_round_to_caution():
    assert not surely_above(bad=4.9, total=10, limit=0.05)
    assert surely_above(bad=5.0, total=10, limit=0.05)
    assert not surely_below(bad=0.1, total=90, limit=0.05)


def spread_of(pairs):
    canary = Sample(sum(p.canary_bad for p in pairs), sum(p.canary_total for p in pairs))
    stable = Sample(sum(p.stable_bad for p in pairs), sum(p.stable_total for p in pairs))
    return design_effect(canary=canary, stable=stable, pairs=pairs, prior=1.0, least=1.0)


def test_bad_requests_that_come_together_spread_wider_than_the_same_number_spaced_out():
    spaced = [Pair(5, 100, 15, 300)] * 40
    in_turn = [Pair(10 * (i % 2), 100, 15, 300) for i in range(40)]
    together = [Pair(10 * (i < 20), 100, 15, 300) for i in range(40)]
    assert spread_of(spaced) == 1.0
    assert spread_of(in_turn) < spread_of(together)
    assert spread_of(together) > 5


def test_replicas_that_differ_widen_the_spread_of_a_lone_canary_most():
    arms = {"canary": Sample(50, 1000), "stable": Sample(150, 3000)}
    shares = [(20, 1000), (50, 1000), (80, 1000)]
    lone = replica_effect(**arms, shares=shares, canary_replicas=1)
    three = replica_effect(**arms, shares=shares, canary_replicas=3)
    assert lone == pytest.approx(0.03**2 * (1 + 1 / 3) / (0.05 * 0.95 * (1 / 1000 + 1 / 3000)), rel=0.01)
    assert three == pytest.approx(lone / 2, rel=0.01)
    assert replica_effect(**arms, shares=shares[:1], canary_replicas=1) == 0.0
