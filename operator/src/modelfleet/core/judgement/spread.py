"""How much wider counts vary than those of independent requests would: the design effect.

Requests of one busy minute are slow together, so a hundred of them say less than a hundred independent ones. Measured
from block to block with its autocorrelation, started from a prior. Knows nothing of verdicts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import variance
from typing import Final

from modelfleet.core.judgement.likelihood import Sample

PRIOR_BLOCKS: Final = 20.0
LAGS: Final = 4
_PRIOR_REQUESTS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Bad and all events of both arms in one block."""

    canary_bad: float
    canary_total: float
    stable_bad: float
    stable_total: float


def design_effect(*, canary: Sample, stable: Sample, pairs: Sequence[Pair], prior: float, least: float) -> float:
    """Weigh the measured variance of the difference against that of independent requests.

    Without blocks it is the prior:

    >>> design_effect(canary=Sample(5, 100), stable=Sample(15, 300), pairs=(), prior=2.0, least=1.0)
    2.0
    """
    if canary.units <= 0 or stable.units <= 0:
        return max(least, prior)
    pooled = _pooled(canary=canary, stable=stable)
    expected = sum(_binomial_variance(sample=s, pooled=pooled) for s in (canary, stable))
    blocks = len(pairs)
    measured = _variance(pairs) / expected
    return max(least, (PRIOR_BLOCKS * prior + blocks * measured) / (PRIOR_BLOCKS + blocks))


def replica_effect(
    *, canary: Sample, stable: Sample, shares: Sequence[tuple[float, float]], canary_replicas: float
) -> float:
    """Answer the design effect that replicas' own differences alone explain; 0 where fewer than two can be compared.

    One slow node under the only canary replica looks like a slow revision.
    """
    ratios = [bad / total for bad, total in shares if total > 0]
    if len(ratios) < 2 or canary_replicas <= 0 or canary.units <= 0 or stable.units <= 0:  # noqa: PLR2004 - a variance needs two
        return 0.0
    pooled = _pooled(canary=canary, stable=stable)
    between = variance(ratios) * (1 / canary_replicas + 1 / len(ratios))
    return between / (pooled * (1 - pooled) * (1 / canary.units + 1 / stable.units))


def _pooled(*, canary: Sample, stable: Sample) -> float:
    """Answer the ratio of both arms together, kept off 0 and 1 by half a request."""
    return (canary.bad + stable.bad + 0.5) / (canary.units + stable.units + 1)


def _binomial_variance(*, sample: Sample, pooled: float) -> float:
    """Answer the variance of the arm's ratio; few requests are drawn to the pooled ratio, so that it is never 0."""
    ratio = (sample.bad + _PRIOR_REQUESTS * pooled) / (sample.units + _PRIOR_REQUESTS)
    return ratio * (1 - ratio) / sample.units


def _variance(pairs: Sequence[Pair]) -> float:
    """Answer the variance of the difference of ratios, from the blocks' residuals, with Bartlett's weights.

    Half of the plain sum is a floor: negative autocorrelation in few blocks is mostly chance.
    """
    blocks = len(pairs)
    canary_total = sum(p.canary_total for p in pairs)
    stable_total = sum(p.stable_total for p in pairs)
    if blocks < 2 or canary_total <= 0 or stable_total <= 0:  # noqa: PLR2004 - a variance needs two
        return 0.0
    canary_ratio = sum(p.canary_bad for p in pairs) / canary_total
    stable_ratio = sum(p.stable_bad for p in pairs) / stable_total
    residuals = [
        (p.canary_bad - canary_ratio * p.canary_total) / canary_total
        - (p.stable_bad - stable_ratio * p.stable_total) / stable_total
        for p in pairs
    ]
    plain = sum(e * e for e in residuals)
    correlated = plain + 2 * sum(
        (1 - lag / (LAGS + 1)) * sum(a * b for a, b in zip(residuals[lag:], residuals, strict=False))
        for lag in range(1, LAGS + 1)
    )
    return blocks / (blocks - 1) * max(plain / 2, correlated)
