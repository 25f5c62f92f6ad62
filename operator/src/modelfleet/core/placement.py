"""What replicas wait for on their way to ready, and what to do about the ones that no node takes.

Beside `report` and `progress`, which put it into the status. Must not decide whether a rollout goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from modelfleet.core.failures import ADVICE
from modelfleet.core.world import Replica, Snapshot

UNSCHEDULABLE = "Unschedulable"

_STAGES = {
    "Preparing": "getting volumes and image",
    "Pulling": "pulling the image",
    "Loading": "loading the model",
}
_TOLD = ("Pulling", "Loading")
"""Stages that may take minutes: also told as an Event."""
_ADVICE = {
    "persistentvolumeclaim": "create that claim, or correct spec.model.uri (or spec.template)",
    "had volume": "the claim's volume is bound to other nodes; see kubectl describe pvc",
    "affinity/selector": "check spec.accelerator.product (or what spec.template selects) against the nodes' labels",
    "were unschedulable": "a node is cordoned: kubectl uncordon it, or add one",
    "taint": "free a node of its taint, or tolerate it in spec.template",
    "insufficient": "lower spec.resources.requests, or add a node with more room",
}
"""What the scheduler says → what a person should do, in the order in which it is said."""
_OTHERWISE = "free or add nodes, or change what a replica asks for"


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """Why the scheduler finds no node for a replica."""

    device: bool
    """Whether an accelerator is what is missing."""
    message: str


def stages(replicas: Sequence[Replica]) -> str:
    """Count what those that are not ready wait for, as far as Kubernetes has told.

    >>> new = Replica(name="a", uid="", resource_version="", revision="r", ready=False, in_rotation=True)
    >>> stages([new])
    ''
    >>> from dataclasses import replace
    >>> stages([replace(new, stage="Loading"), replace(new, stage="Loading"), replace(new, waiting_reason=UNSCHEDULABLE)])
    '1 without a node, 2 loading the model'
    """
    counts = {"without a node": sum(r.waiting_reason == UNSCHEDULABLE for r in replicas)}
    counts |= {words: sum(r.stage == stage for r in replicas) for stage, words in _STAGES.items()}
    return ", ".join(f"{count} {words}" for words, count in counts.items() if count)


def begins(said: str, *, before: str) -> bool:
    """Whether a message with the words of `stages` tells of pulling or loading, and the one before it did not.

    >>> begins("0 of 2 replicas ready: 1 loading the model", before="0 of 2 replicas ready: 2 pulling the image")
    True
    >>> begins("1 of 2 replicas ready: 1 loading the model", before="0 of 2 replicas ready: 2 loading the model")
    False
    """
    return any(words in said and words not in before for words in (_STAGES[stage] for stage in _TOLD))


def obstacle(snapshot: Snapshot) -> Obstacle | None:
    """Tell what the scheduler says of the first replica, by name, that it cannot place; None when there is none.

    A GPU is only said to be missing when the scheduler names it: a claim or memory may be what it misses.
    """
    waiting = [r for r in snapshot.replicas if r.waiting_reason == UNSCHEDULABLE and not r.terminating and not r.failed]
    if snapshot.spec is None or not waiting:
        return None
    said = min(waiting, key=lambda r: r.name).message
    device = snapshot.spec.accelerator.resource
    missing = bool(snapshot.spec.devices_per_replica) and (device in said or not said)
    rest = said.replace(f"Insufficient {device}", "").lower()
    ways = [ADVICE["InsufficientGPU"]] if missing else []
    ways += [advice for words, advice in _ADVICE.items() if words in rest]
    return Obstacle(
        device=missing,
        message=f"{said or 'no node takes a replica'}: {'; '.join(ways) or _OTHERWISE}",
    )
