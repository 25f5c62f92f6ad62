"""How many examples a property gets that is slower than the others. Used by tests only.

A fixed number would hold in the nightly run as well, which is there to look at ten times as many.
"""

from hypothesis import settings


def portion(percent: int) -> int:
    """So many of the examples of the profile in force: `ci` has 100, `nightly` 1000."""
    return max(1, settings().max_examples * percent // 100)
