"""How a write that the API server refuses is told.

Must not decide what is left undone: `shell/refused.py` does.
"""

from collections.abc import Sequence

from modelfleet.core.failures import Failure
from modelfleet.core.world import Refusal

FIRST_WORDS, LAST_WORDS = 300, 200
"""Of the server's words: what to do must stay in a condition's message. They may repeat a whole template in between."""
NAMED = 3
REASON = "ObjectRefused"
ADVICE = "raise the quota, correct the policy or grant the operator the right that is named; it is tried again"


def failure(refused: Sequence[Refusal]) -> Failure | None:
    """Tell the first refusal in the server's words, and what else is refused by its name."""
    if not refused:
        return None
    first = refused[0]
    _, *others = dict.fromkeys(f"{one.kind} {one.name}" for one in refused)
    named = others[:NAMED]
    more = len(others) - len(named)
    also = f"; also {', '.join(named)}{f' and {more} more' if more else ''}" if named else ""
    words = first.message
    if len(words) > FIRST_WORDS + LAST_WORDS:
        words = f"{words[:FIRST_WORDS]} … {words[-LAST_WORDS:]}"
    message = f"Kubernetes refuses {first.kind} {first.name}: {words}{also}; {ADVICE}"
    return Failure(reason=REASON, message=message)
