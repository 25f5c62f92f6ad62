"""The arithmetic of a share: how many replicas the new and the stable revision should have next, each with its own goal.

Beside `targets.py`, which knows only one goal: everything to the new one. Pure numbers in, pure numbers out; one call is
one step, derived from what is observed. With `desired` D, `max_surge` s and `max_unavailable` u:

* a revision below its goal gets a device before one above it gives any, stable before new;
* replicas in all never exceed D + s by our asking (InPlace: D), or both goals where a whole second set is wanted;
* ready replicas in all never fall below D by our doing (D - u when no device is free; InPlace: D - max(1, u));
* stable never falls below `least`: something routes to it.
"""

from dataclasses import dataclass, replace

from modelfleet.core.rollout.targets import UNLIMITED, Capacity, Count, Targets


@dataclass(frozen=True, kw_only=True)
class Share:
    """One look at two revisions that share the traffic.

    Attributes:
        desired: replicas wanted in all.
        new: the new revision.
        old: the stable one.
        goal_new: replicas that the new one should have at this step.
        goal_old: replicas that stable should have at this step.
        least: replicas that stable keeps in any case.
        extra: replicas of other revisions, which still hold devices.
        whole: a second set beside the first one; it begins all at once or not at all.
        free: replicas that free devices could hold; None when that is unknown.
        limit: replicas that budget and quotas still allow; `free` is never above it.
        limit_old: the same in replicas of the stable one; None where both have the same devices.
        free_old: as `free`, where `limit_old` is given.
        claim_expired: as `targets.Inputs.claim_expired`.
    """

    desired: int
    new: Count
    old: Count
    goal_new: int
    goal_old: int
    least: int = 1
    extra: int = 0
    whole: bool = False
    max_surge: int = 1
    max_unavailable: int = 0
    capacity: Capacity = "Auto"
    free: int | None = UNLIMITED
    limit: int = UNLIMITED
    limit_old: int | None = None
    free_old: int | None = UNLIMITED
    claim_expired: bool = False

    @property
    def for_old(self) -> "Share":
        """The same, with devices counted in replicas of the stable revision."""
        return self if self.limit_old is None else replace(self, limit=self.limit_old, free=self.free_old)

    @property
    def at_once(self) -> bool:
        """Whether it is all replicas of the new one or none now."""
        return self.whole and not self.new.replicas


def next_share(look: Share) -> Targets:
    """Take one step.

    A fifth of the traffic for a canary of two: it gets one replica beside them.

    >>> two, none = Count(replicas=2, ready=2), Count(replicas=0, ready=0)
    >>> next_share(Share(desired=2, new=none, old=two, goal_new=1, goal_old=2))
    Targets(new=1, old=2, hold='')

    Half of it: stable gives one, for the canary is ready.

    >>> next_share(Share(desired=2, new=Count(replicas=1, ready=1), old=two, goal_new=1, goal_old=1))
    Targets(new=1, old=1, hold='')

    No device is free and nothing may be missing: it waits. One may be missing: stable gives first.

    >>> next_share(Share(desired=2, new=none, old=two, goal_new=1, goal_old=2, free=0))
    Targets(new=0, old=2, hold='InsufficientCapacity')
    >>> next_share(Share(desired=2, new=none, old=two, goal_new=1, goal_old=2, free=0, max_unavailable=1))
    Targets(new=0, old=1, hold='')

    The load grew meanwhile: stable comes first.

    >>> next_share(Share(desired=4, new=Count(replicas=1, ready=1), old=two, goal_new=1, goal_old=4, free=1))
    Targets(new=1, old=3, hold='')
    """
    pressed = _pressed(look)
    more_old = _granted(pressed.for_old, wanted=pressed.goal_old - look.old.replicas)
    more_new = _granted(pressed, wanted=look.goal_new - look.new.replicas, already=more_old, at_once=look.at_once)
    if more_old and look.limit_old is not None:
        more_new = 0  # what stable leaves is seen when it has them
    given_back = look.claim_expired and look.new.unscheduled > 0
    new = look.new.replicas + more_new - (look.new.unscheduled if given_back else 0)
    if look.new.replicas > look.goal_new:
        new = min(new, max(look.goal_new, look.desired - look.old.ready))
    old = look.old.replicas + more_old - _given_by_old(pressed, surging=more_new > 0 or look.new.starting)
    moving = look.new.starting or look.old.starting or look.extra or look.old.leaving or (new, old) != _asked(look)
    lacking = new < look.goal_new or look.new.unschedulable or old < pressed.goal_old
    claiming = look.capacity == "Surge" and look.new.unscheduled > 0
    short = look if new < look.goal_new else look.for_old
    stuck = lacking and not moving and not claiming and _without_devices(short)
    return Targets(new=new, old=old, hold="InsufficientCapacity" if stuck or given_back else "")


def _without_devices(look: Share) -> bool:
    """Whether it is devices that are missing: otherwise traffic has to move first."""
    surge = 0 if look.capacity == "InPlace" else look.max_surge
    wanted = look.goal_new if look.at_once else 1
    free = UNLIMITED if look.capacity == "Surge" or look.free is None else look.free
    short = min(free, look.limit) < max(1, wanted)
    return short or not surge or look.claim_expired or look.new.unschedulable > 0


def _asked(look: Share) -> tuple[int, int]:
    return look.new.replicas, look.old.replicas


def _pressed(look: Share) -> Share:
    """Lower stable's goal where not both goals can be had at once, as far as replicas may be missing meanwhile."""
    missing = _missing(look)
    if look.whole or look.capacity == "Surge" or not missing:
        return look
    surge = 0 if look.capacity == "InPlace" else look.max_surge
    # Where nodes cannot be read, a replica for which the scheduler found none tells that nothing is free.
    unknown = 0 if look.new.unschedulable or look.claim_expired or not surge else UNLIMITED
    free = min(unknown if look.free is None else look.free, look.limit)
    placed = look.new.replicas - look.new.unscheduled + look.old.replicas - look.old.unscheduled
    room = min(look.desired + surge, placed + free)
    return replace(look, goal_old=min(look.goal_old, max(look.least, look.goal_old - missing, room - look.goal_new)))


def _missing(look: Share) -> int:
    return max(1, look.max_unavailable) if look.capacity == "InPlace" else look.max_unavailable


def _granted(look: Share, *, wanted: int, already: int = 0, at_once: bool = False) -> int:
    """Answer how many more replicas one revision may ask for now."""
    blind = look.capacity == "Surge" or look.free is None
    if wanted <= 0 or (blind and look.claim_expired):
        return 0
    surge = 0 if look.capacity == "InPlace" else look.max_surge
    most = look.goal_new + look.goal_old if look.whole else look.desired + surge
    room = min(most - look.new.replicas - look.old.replicas - look.extra, look.limit) - already
    if at_once and look.limit - already < wanted:
        return 0
    if look.capacity != "Surge":
        # Where nodes cannot be read, the scheduler is the judge, asked with one replica at a time.
        waiting = look.new.unscheduled + look.old.unscheduled
        free = int(not waiting) if look.free is None else max(0, look.free)
        if at_once and look.free is not None and free - already < wanted:
            return 0
        room = min(room, free - already)
    return max(0, min(wanted, room))


def _given_by_old(look: Share, *, surging: bool) -> int:
    """Answer how many replicas stable gives now: those that do not serve first, then what the others carry."""
    new_ready = min(look.new.ready, look.goal_new)
    in_need = new_ready < look.goal_new and not look.whole and (look.capacity == "InPlace" or not surging)
    floor = look.desired - (_missing(look) if in_need else 0)
    spare = max(0, new_ready + look.old.ready - max(0, floor))
    unready = look.old.replicas - look.old.ready
    most = min(look.old.replicas - look.goal_old, look.old.replicas - look.least)
    return max(0, min(most, spare + unready))
