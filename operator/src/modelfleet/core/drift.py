"""Does a live object still say what was rendered? Tolerates what the API server adds, notices what people change.

Must not decide what follows from a difference.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

QUANTITY_MAPS = frozenset({"requests", "limits"})
SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
}  # fmt: skip


def holds(desired: Any, live: Any, *, field: str = "") -> bool:
    """Tell whether `live` says everything that `desired` says; maps may say more, lists may not.

    >>> holds({"a": 1}, {"a": 1, "default": 2})
    True
    >>> holds({"args": ["x"]}, {"args": ["x", "y"]})
    False
    >>> holds({"limits": {"cpu": "1000m"}}, {"limits": {"cpu": "1"}})
    True
    """
    return bool(desired == live) or _holds(desired, live, field=field)  # equal is the usual case, and the cheap one


def _holds(desired: Any, live: Any, *, field: str) -> bool:
    if isinstance(desired, Mapping):
        if not isinstance(live, Mapping):
            return not desired and live is None
        if field in QUANTITY_MAPS:
            return all(key in live and quantity(value) == quantity(live[key]) for key, value in desired.items())
        return all(holds(value, live.get(key), field=key) for key, value in desired.items())
    if isinstance(desired, Sequence) and not isinstance(desired, str):
        if not isinstance(live, Sequence) or isinstance(live, str):
            return not desired and live is None
        return len(desired) == len(live) and all(holds(a, b) for a, b in zip(desired, live, strict=True))
    return False


def edited(desired: Any, live: Any, *, again: Any, field: str = "") -> bool:
    """Tell whether somebody changed what `live` says: applied `again`, `desired` would say somewhere what it says no more.

    What the API server or a webhook makes of `desired` is no edit, even where it makes something else of it by now.

    >>> edited({"image": "a", "tty": False}, {"image": "a"}, again={"image": "a"})
    False
    >>> edited({"image": "a", "tty": False}, {"image": "b"}, again={"image": "a"})
    True
    >>> edited({"image": "a"}, {"image": "mirror/a"}, again={"image": "other-mirror/a"})
    False
    """
    if holds(desired, live, field=field):
        return False
    maps = all(isinstance(one, Mapping) for one in (desired, live, again))
    if maps and field not in QUANTITY_MAPS:
        return any(edited(value, live.get(key), again=again.get(key), field=key) for key, value in desired.items())
    lists = all(isinstance(one, Sequence) and not isinstance(one, str) for one in (desired, live, again))
    if lists and len(desired) == len(live) == len(again):
        return any(edited(a, b, again=c) for a, b, c in zip(desired, live, again, strict=True))
    return holds(desired, again, field=field)


def quantity(value: Any) -> Decimal | str:
    """Read a Kubernetes quantity; text that is none stays text.

    >>> quantity("1Gi") == quantity(1073741824)
    True
    """
    text = str(value)
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzKMGTPE")
    suffix = text[len(digits) :]
    try:
        return Decimal(digits) * SUFFIXES[suffix]
    except (InvalidOperation, KeyError):
        return text


def count(value: Any) -> int:
    """Read how many devices a quantity says; none where it is no number.

    >>> count("1k"), count("2"), count("some")
    (1000, 2, 0)
    """
    found = quantity(value)
    return int(found) if isinstance(found, Decimal) and found.is_finite() else 0
