"""The arithmetic of a rolling update over one Deployment per revision.

Pure numbers in, pure numbers out; one call is one step, derived from what is observed, never from what was planned.

With `desired` D, `max_surge` s and `max_unavailable` u, at every step:

* ready(old) + ready(new) never falls below D - u by our doing (InPlace: D - max(1, u));
* replicas(old) + replicas(new) never exceeds D + s (InPlace: D);
* capacity Auto asks for a replica only where an accelerator is free for it, so it never leaves a Pending pod;
* no capacity asks for more than `limit` replicas more.
"""

from dataclasses import dataclass, field
from typing import Literal

UNLIMITED = 1_000_000
"""More replicas than anyone has: no accelerator limits them."""

Capacity = Literal["Auto", "Surge", "InPlace"]


@dataclass(frozen=True, kw_only=True)
class Count:
    """Replicas of one revision.

    Attributes:
        replicas: asked for.
        ready: warm.
        unscheduled: without a node.
        unschedulable: of these, those for which the scheduler found none.
        leaving: no longer asked for, but still on their devices.
    """

    replicas: int
    ready: int
    unscheduled: int = 0
    unschedulable: int = 0
    leaving: int = 0

    @property
    def starting(self) -> bool:
        """Whether a replica becomes ready by itself, or never."""
        return self.replicas - self.unschedulable > self.ready


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """One look at a rollout. `free` counts replicas that free accelerators could hold; None when that is unknown.

    `limit` counts those that budget and quotas still allow; `free` is never above it.
    """

    desired: int
    new: Count
    old: Count
    max_surge: int = 1
    max_unavailable: int = 0
    capacity: Capacity = "Auto"
    free: int | None = UNLIMITED
    limit: int = UNLIMITED
    claim_expired: bool = False
    """Whether a replica has had no node for longer than `capacityTimeoutSeconds`, or its claim was given back lately."""


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Replicas that the new and all old revisions together should have now, and what holds the rollout up."""

    new: int
    old: int
    hold: str = ""
    short: str = field(default="", repr=False)
    """The revision that a hold is about; empty for the one that is rolled out."""


def next_targets(inputs: Inputs) -> Targets:
    """Take one step.

    A spare accelerator is there, so the new replica comes first:

    >>> next_targets(Inputs(desired=2, new=Count(replicas=0, ready=0), old=Count(replicas=2, ready=2)))
    Targets(new=1, old=2, hold='')

    It is ready, so an old one may go:

    >>> next_targets(Inputs(desired=2, new=Count(replicas=1, ready=1), old=Count(replicas=2, ready=2)))
    Targets(new=1, old=1, hold='')

    No spare accelerator and nothing may be missing, so the rollout waits and says so:

    >>> next_targets(Inputs(desired=1, new=Count(replicas=0, ready=0), old=Count(replicas=1, ready=1), free=0))
    Targets(new=0, old=1, hold='InsufficientCapacity')

    In place, the old one goes first:

    >>> one = Count(replicas=1, ready=1)
    >>> next_targets(Inputs(desired=1, new=Count(replicas=0, ready=0), old=one, free=0, capacity="InPlace"))
    Targets(new=0, old=0, hold='')

    Its devices are free when it is gone, not when it was told to go:

    >>> gone = Count(replicas=0, ready=0, leaving=1)
    >>> next_targets(Inputs(desired=1, new=Count(replicas=0, ready=0), old=gone, free=0, capacity="InPlace"))
    Targets(new=0, old=0, hold='')
    """
    if inputs.old.replicas == 0:
        return _alone(inputs)
    new = _raise_new(inputs)
    old = _lower_old(inputs, surging=new > inputs.new.replicas)
    stuck = new == inputs.new.replicas and old == inputs.old.replicas
    waits_for_ready = inputs.new.replicas - inputs.new.unscheduled > inputs.new.ready
    given_back = inputs.capacity == "Surge" and inputs.claim_expired
    claiming = inputs.capacity == "Surge" and inputs.new.unscheduled > 0
    drains = inputs.old.leaving > 0
    held = given_back or (stuck and not waits_for_ready and not claiming and not drains)
    hold = "InsufficientCapacity" if held and new < inputs.desired else ""
    return Targets(new=new, old=old, hold=hold)


def _alone(inputs: Inputs) -> Targets:
    """Nothing of before is left to give or to keep: what is wanted is asked for, as far as that is allowed."""
    if inputs.old.leaving and inputs.capacity != "Surge":
        return Targets(new=_raise_new(inputs), old=0)
    new = min(inputs.desired, inputs.new.replicas + inputs.limit)
    # What leaves gives its share back by itself.
    stuck = new == inputs.new.replicas < inputs.desired and not inputs.old.leaving and not inputs.new.leaving
    return Targets(new=new, old=0, hold="InsufficientCapacity" if stuck else "")


def _raise_new(inputs: Inputs) -> int:
    surge = 0 if inputs.capacity == "InPlace" else inputs.max_surge
    allowed = inputs.desired + surge - inputs.old.replicas
    now = inputs.new.replicas
    if inputs.capacity == "Surge":
        if inputs.claim_expired:
            return now - inputs.new.unscheduled
        return min(inputs.desired, max(now, min(allowed, now + inputs.limit)))
    # Where nodes cannot be read, the scheduler is the judge, asked with one replica at a time.
    room = int(not inputs.new.unscheduled) if inputs.free is None else max(0, inputs.free)
    return min(inputs.desired, max(now, min(allowed, now + room)))


def _lower_old(inputs: Inputs, *, surging: bool) -> int:
    missing_allowed = inputs.max_unavailable
    if inputs.capacity == "InPlace":
        missing_allowed = max(1, missing_allowed)
    elif inputs.capacity == "Surge" or surging:
        missing_allowed = 0 if inputs.max_surge else missing_allowed
    floor = max(0, inputs.desired - missing_allowed)
    spare = max(0, inputs.new.ready + inputs.old.ready - floor)
    unready = inputs.old.replicas - inputs.old.ready
    return inputs.old.replicas - unready - min(spare, inputs.old.ready)
