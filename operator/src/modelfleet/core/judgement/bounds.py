"""Absolute limits: is a share above a limit, or below it, beyond doubt?

Exact binomial bounds. Knows nothing of stable; the caller says which counts.
"""

from math import ceil, exp, floor, lgamma, log, log1p
from typing import Final

DOUBT_ABOVE: Final = 0.001
"""A guard acts at once, so it must be sure: the lower 99.9 % bound."""
DOUBT_BELOW: Final = 0.01
"""Looked at on every pass without a correction, hence stricter than beta."""
_NEGLIGIBLE: Final = 1e-17


def surely_above(*, bad: float, total: float, limit: float) -> bool:
    """Tell whether the lower 99.9 % bound of bad/total lies above the limit; parts of requests round to caution.

    >>> [surely_above(bad=b, total=n, limit=0.05) for b, n in ((4, 5), (5, 10), (6, 20), (9, 50), (14, 100))]
    [True, True, True, True, True]
    >>> [surely_above(bad=b - 1, total=n, limit=0.05) for b, n in ((4, 5), (5, 10), (6, 20), (9, 50), (14, 100))]
    [False, False, False, False, False]
    """
    x, n = floor(bad + 1e-9), ceil(total - 1e-9)
    return n > 0 and x > limit * n and _tail(bad=x, total=n, ratio=limit) < DOUBT_ABOVE


def surely_below(*, bad: float, total: float, limit: float) -> bool:
    """Tell whether the upper 99 % bound of bad/total lies below the limit.

    >>> surely_below(bad=0, total=89, limit=0.05), surely_below(bad=0, total=90, limit=0.05)
    (False, True)
    """
    x, n = ceil(bad - 1e-9), floor(total + 1e-9)
    # P(at most x bad of n | limit) is P(at least n - x good | 1 - limit).
    return n > 0 and x < limit * n and _tail(bad=n - x, total=n, ratio=1 - limit) < DOUBT_BELOW


def _tail(*, bad: int, total: int, ratio: float) -> float:
    """Answer P(at least `bad` of `total` | ratio), for bad > ratio * total: there the terms only fall."""
    if bad == 0:
        return 1.0
    choose = lgamma(total + 1) - lgamma(bad + 1) - lgamma(total - bad + 1)
    term = exp(choose + bad * log(ratio) + (total - bad) * log1p(-ratio))
    summed, odds = 0.0, ratio / (1 - ratio)
    for k in range(bad, total + 1):
        summed += term
        if term <= _NEGLIGIBLE * summed:
            break
        term *= odds * (total - k) / (k + 1)
    return summed
