"""How a rollout ends, or ends early: one revision is to have everything, others still run.

After a promotion the old one stays warm for a while; after an abort its traffic goes at once; when the user goes back in
the middle, it goes no faster than the stable revision can take it. Pure numbers in, pure numbers out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from modelfleet.api.v1alpha1.rollout import Rollout
from modelfleet.core.rollout.memory import Memory
from modelfleet.core.rollout.stages import ALL, carried, share
from modelfleet.core.rollout.targets import UNLIMITED, Count, Inputs, Targets, next_targets

ASK_ENVOYS_SECONDS = 0.5
"""Between two looks while Envoys take in that a revision has no traffic any more."""


@dataclass(frozen=True, kw_only=True)
class Settling:
    """One look.

    Attributes:
        now: seconds since the epoch.
        rollout: the user's words.
        memory: what is remembered.
        desired: replicas wanted in all.
        stable: what runs of the revision that is to have everything.
        others: what runs of each other revision.
        weights: percent that is in force for each other revision.
        confirmed: every Envoy has these weights, or was given enough time.
        free: replicas that free devices could hold; None when that is unknown.
        limit: replicas that budget and quotas still allow; `free` is never above it.
        claim_expired: as `targets.Inputs.claim_expired`.
    """

    now: float
    rollout: Rollout
    memory: Memory
    desired: int
    stable: Count
    others: Mapping[str, Count] = field(default_factory=dict)
    weights: Mapping[str, int] = field(default_factory=dict)
    confirmed: bool = True
    free: int | None = UNLIMITED
    limit: int = UNLIMITED
    claim_expired: bool = False


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What comes out.

    Attributes:
        memory: what to remember.
        targets: replicas of the one that is to have everything, and of the others that may get requests.
        kept: replicas of each other revision that gets none.
        phase: one word for people; empty when it is over.
        message: why.
        again_in: seconds until time alone changes something.
    """

    memory: Memory
    targets: Targets
    kept: Mapping[str, int] = field(default_factory=dict)
    phase: str = ""
    message: str = ""
    again_in: float | None = None


def settle(at: Settling) -> Settled:
    """Take one step."""
    memory = replace(_weigh(at), hold="", hold_at=0.0, paused="", go=False, full=False)
    serving = {name: one for name, one in at.others.items() if at.weights.get(name) or not at.confirmed}
    left = {name: _seconds_left(at, name=name) for name in at.others if name not in serving}
    lacking = at.desired - at.stable.replicas
    short = lacking > 0 and min(UNLIMITED if at.free is None else at.free, at.limit) < lacking
    kept = {name: at.others[name].replicas if left[name] > 0 and not short else 0 for name in left}
    if memory.revision and not memory.weight and not serving:
        memory = replace(memory, revision="", step=0, stage="", reached_at=0.0)
    way_back = memory.previous in serving or kept.get(memory.previous, 0) > 0
    memory = replace(memory, watching=memory.watching and way_back)
    waits = [left[name] for name, replicas in kept.items() if replicas]
    waits += [] if at.confirmed else [ASK_ENVOYS_SECONDS]
    return Settled(
        memory=memory,
        targets=_targets(at, serving=serving, kept=kept),
        kept=kept,
        phase=_phase(at),
        message=_message(at, memory=memory, kept=kept),
        again_in=min(waits, default=None),
    )


def _targets(at: Settling, *, serving: Mapping[str, Count], kept: Mapping[str, int]) -> Targets:
    """Ask for replicas; who still gets requests keeps what they need, and devices are free when who leaves is gone."""
    going = sum(one.leaving + one.replicas - kept[name] for name, one in at.others.items() if name in kept)
    old = Count(
        replicas=sum(one.replicas for one in serving.values()),
        ready=sum(one.ready for one in serving.values()),
        leaving=sum(one.leaving for one in serving.values()) + going,
    )
    found = next_targets(
        Inputs(
            desired=at.desired,
            new=at.stable,
            old=old,
            max_surge=at.rollout.max_surge,
            max_unavailable=at.rollout.max_unavailable,
            capacity=at.rollout.capacity,
            free=at.free,
            limit=at.limit,
            claim_expired=at.claim_expired,
        )
    )
    surge = 0 if at.rollout.capacity == "InPlace" else at.rollout.max_surge
    most = max(at.stable.replicas, at.desired + surge - old.replicas - old.leaving)
    needed = sum(_needed(at, name=name) for name in serving)
    return replace(found, new=min(found.new, most), old=max(found.old, needed))


def _weigh(at: Settling) -> Memory:
    """Answer the memory with the weight that the one which leaves may still have."""
    memory = at.memory
    leaves = at.others.get(memory.revision, Count(replicas=0, ready=0))
    # Where replicas are missing everywhere, each revision has its part of what is there.
    warm = max(1, min(at.desired, at.stable.ready + leaves.ready))
    may_miss = max(int(at.rollout.capacity == "InPlace"), at.rollout.max_unavailable) if at.stable.ready else 0
    most = ALL - carried(desired=warm, warm=at.stable.ready + may_miss)
    most = 0 if memory.ended_at else min(most, carried(desired=warm, warm=leaves.ready))
    if memory.weight <= most and not memory.mirror:
        return memory
    return replace(memory, weight=min(memory.weight, most), mirror=0, weighed_at=at.now, reached_at=0.0)


def _needed(at: Settling, *, name: str) -> int:
    """Count the replicas that a revision keeps for the requests that Envoys still send it."""
    have = at.others[name].replicas
    return min(have, share(desired=at.desired, weight=ALL - at.weights.get(name, 0))) if at.confirmed else have


def _seconds_left(at: Settling, *, name: str) -> float:
    """Count the seconds for which a revision without traffic stays warm."""
    memory, rollout = at.memory, at.rollout
    if memory.promoted_at and name == memory.previous and rollout.capacity != "InPlace":
        return memory.promoted_at + rollout.scale_down_delay_seconds - at.now
    if memory.ended_at:
        return memory.ended_at + rollout.abort_scale_down_delay_seconds - at.now
    return 0.0


def _phase(at: Settling) -> str:
    if not any(one.replicas or one.leaving for one in at.others.values()):
        return ""
    return "Aborting" if at.memory.ended_at or at.memory.weight else "Draining"


def _message(at: Settling, *, memory: Memory, kept: Mapping[str, int]) -> str:
    if memory.weight:
        return f"{memory.weight} % of the traffic go back as replicas of the stable revision become ready"
    if not at.confirmed:
        return "the gateway takes in the weights"
    warm = [name for name, replicas in kept.items() if replicas]
    if not warm:
        return ""
    since, delay = at.memory.promoted_at, at.rollout.scale_down_delay_seconds
    if at.memory.ended_at >= since:
        return (
            f"revision {warm[0]} keeps its replicas without traffic for {at.rollout.abort_scale_down_delay_seconds} s"
        )
    # Nobody is there to ask while there is no verdict, or one without data.
    judged = memory.analysis.get("verdict", "NoData") != "NoData"
    watched = judged and memory.watching and at.rollout.on_failure == "Rollback"
    more = "; a broken limit switches back by itself" if watched else ""
    return f"revision {warm[0]} stays warm for {delay} s after the promotion: rollback-to is instant meanwhile{more}"
