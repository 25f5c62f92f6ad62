"""How much better "the canary is worse by so much" explains two counts than "both are the same".

The lowest layer: binomial likelihoods of effective counts. Knows nothing of metrics, blocks or time.
"""

from dataclasses import dataclass
from math import exp, log
from typing import Final

ALTERNATIVES: Final = ((0.6, 1.0), (0.25, 3.0), (0.15, 8.0))
"""Weight and size, in allowed drops, of the regressions that the evidence is a mixture of: small ones are likeliest."""
LARGEST_ALTERNATIVE: Final = 0.8
_TINY: Final = 1e-12
_HALVINGS: Final = 40
_LARGEST_EXPONENT: Final = 300.0  # e^300 is proof enough, and far from overflow


@dataclass(frozen=True, slots=True)
class Sample:
    """Effective counts of one arm: bad ones among independent units; neither need be whole."""

    bad: float
    units: float

    @property
    def ratio(self) -> float:
        """Share of bad ones; 0 without units."""
        return self.bad / self.units if self.units > 0 else 0.0


def log_likelihood(*, sample: Sample, ratio: float) -> float:
    """Answer ln P(sample | ratio) without the part that does not depend on the ratio."""
    p = min(max(ratio, _TINY), 1 - _TINY)
    return sample.bad * log(p) + (sample.units - sample.bad) * log(1 - p)


def log_ratio(*, canary: Sample, stable: Sample, drop: float, allowance: float = 0.0) -> float:
    """Compare "worse by `drop`" with "the same", or worse by the allowance at most: above 0 speaks for worse.

    >>> round(log_ratio(canary=Sample(12, 100), stable=Sample(15, 300), drop=0.05), 4)
    2.4257
    >>> round(log_ratio(canary=Sample(0, 300), stable=Sample(0, 900), drop=0.01), 4)
    -3.0151
    """
    if canary.units <= 0 or stable.units <= 0:
        return 0.0
    return _best(canary=canary, stable=stable, drop=drop) - _best(canary=canary, stable=stable, drop=allowance)


def evidence(*, canary: Sample, stable: Sample, max_drop: float, spread: float, allowance: float = 0.0) -> float:
    """Answer the evidence for "worse", a mean over several sizes of worse; 1 when nothing is known.

    >>> round(log(evidence(canary=Sample(60, 200), stable=Sample(60, 600), max_drop=0.05, spread=1)), 4)
    18.4654
    """
    total = 0.0
    for weight, times in ALTERNATIVES:
        drop = min(times * max_drop, LARGEST_ALTERNATIVE)
        found = log_ratio(canary=canary, stable=stable, drop=drop, allowance=allowance)
        total += weight * exp(min(found / spread, _LARGEST_EXPONENT))
    return total


def _best(*, canary: Sample, stable: Sample, drop: float) -> float:
    """Answer the log likelihood of both arms when the canary's ratio is `drop` above stable's."""
    if drop <= 0:
        p = (canary.bad + stable.bad) / (canary.units + stable.units)
    else:
        p = _likeliest(canary=canary, stable=stable, drop=drop)
    return log_likelihood(sample=stable, ratio=p) + log_likelihood(sample=canary, ratio=p + drop)


def _likeliest(*, canary: Sample, stable: Sample, drop: float) -> float:
    """Find stable's ratio that explains both arms best when the canary's is `drop` higher.

    The likelihood is concave in it, and the best lies between what each arm alone would say: halve that range by the
    sign of the slope.
    """
    ends = (min(max(stable.ratio, 0.0), 1 - drop), min(max(canary.ratio - drop, 0.0), 1 - drop))
    low, high = min(ends), max(ends)
    for _ in range(_HALVINGS):
        if high - low <= _TINY:
            break
        p = (low + high) / 2
        q = p + drop
        slope = (
            stable.bad / p
            - (stable.units - stable.bad) / (1 - p)
            + canary.bad / q
            - (canary.units - canary.bad) / max(1 - q, _TINY)
        )
        if slope > 0:
            low = p
        else:
            high = p
    return (low + high) / 2
