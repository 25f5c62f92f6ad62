"""One look at a staged rollout (canary, blue-green, going back): ordered rules, the first that applies wins.

Takes what is remembered, what runs and what was measured; answers what to remember next and why. What a pass does to
replicas rests on what was remembered *before* it, so a crash between any two writes changes nothing. Must not write
manifests or choose pods.
"""

from collections.abc import Callable
from dataclasses import replace

from modelfleet.core.plan import Reason
from modelfleet.core.rollout.dwell import dwell
from modelfleet.core.rollout.memory import Memory
from modelfleet.core.rollout.move import Look, Move, advance, give_up, held, name, still_paused, unheld
from modelfleet.core.rollout.stages import ALL

ASK_AGAIN_SECONDS = 5.0
"""Between two questions to Envoys that have kept silent for long."""


def proceed(look: Look) -> Move:
    """Take one step, or say what is awaited."""
    for rule in _RULES:
        if move := rule(look):
            return move
    raise AssertionError("the last rule always applies")


def _fails(look: Look) -> Move | None:
    """The new revision can never serve, or is worse than stable."""
    verdict, memory = look.verdict, look.memory
    # A person may go on despite a verdict, but no word makes replicas serve.
    overruled = look.rollout.on_failure == "Pause" and (memory.go or memory.full)
    move = None
    if look.failure:
        move = give_up(look, message=look.failure)
    elif verdict is not None and verdict.outcome == "Fail" and not overruled:
        move = give_up(look, message=verdict.message, cause=verdict.reason)
    # Who waits for a person keeps no more traffic than warm replicas carry.
    return (_loses_replicas(look) if move and move.memory.paused else None) or move


def _closed(look: Look) -> Move | None:
    if look.open:
        return None
    return replace(held(look, hold="Window", message="the change window is closed"), again_in=look.opens_in)


def _loses_replicas(look: Look) -> Move | None:
    """Replicas are gone: the traffic is what the others carry, and the window begins anew when they are back.

    So do the copies, which go to nobody meanwhile.
    """
    if look.memory.mirror and not look.warm:
        return _weigh(look, weight=look.memory.weight)
    enough = look.suffices if look.memory.weight == ALL else look.warm
    if enough or look.possible >= look.memory.weight:
        return None
    return _weigh(look, weight=look.possible)


def _waits_for_replicas(look: Look) -> Move | None:
    """Its replicas are not warm yet.

    Traffic follows those that are where this alone frees a device: stable may then give one. To a whole second set
    it goes at once, as long as devices allow.
    """
    if look.warm or look.memory.weight == ALL:
        return None
    ready, stage, memory = look.new.ready, look.stage, look.memory
    grows = look.targets.new > look.new.replicas or look.new.replicas > ready
    possible = min(stage.weight, look.possible)
    if stage.kind == "Promote" and not grows and look.suffices:
        possible = ALL  # what is missing gets the devices that stable gives up
    follows = not grows or (stage.kind == "Promote" and not stage.whole)
    if look.confirmed and possible > memory.weight and follows:
        return _weigh(look, weight=possible)
    if not look.confirmed:
        return _waits_for_envoys(look)
    message = f"{ready} of {stage.new} replicas of revision {look.revision} are ready"
    if look.targets.hold:
        return held(look, hold="InsufficientCapacity", message=f"{message}, and {look.lack}")
    return Move(memory=unheld(memory), phase="Warming" if look.new.replicas else "Provisioning", message=message)


def _weighs(look: Look) -> Move | None:
    """Give the stage its traffic, or its copies."""
    stage, memory = look.stage, look.memory
    if memory.weight < stage.weight or memory.mirror != stage.mirror:
        return _weigh(look, weight=max(memory.weight, stage.weight), mirror=stage.mirror)
    return None


def _weigh(look: Look, *, weight: int, mirror: int = 0) -> Move:
    memory = replace(unheld(look.memory), weight=weight, mirror=mirror, weighed_at=look.now, reached_at=0.0)
    told = Reason(
        kind="Rollout", reason="WeightSet", message=f"{look.new.ready} replicas of revision {look.revision} are warm",
        before=f"{look.memory.weight} %", after=f"{weight} %",
    )  # fmt: skip
    reasons = (told,) if weight != look.memory.weight else ()
    return Move(memory=memory, phase=name(look), message=f"{weight} % for the new revision", reasons=reasons)


def _waits_for_envoys(look: Look) -> Move | None:
    if look.confirmed:
        return None
    if look.unheard:
        return replace(held(look, hold="RouterUnverified", message=look.unheard), again_in=ASK_AGAIN_SECONDS)
    return Move(memory=look.memory, phase=name(look), message="the gateway takes in the weights", again_in=0.5)


def _arrives(look: Look) -> Move | None:
    """Everything of this stage stands: its time begins."""
    if look.stage.kind == "Promote":
        return _promote(look)
    if look.memory.reached_at:
        return None
    windows = look.memory.windows + int(look.stage.kind == "Weight")
    memory = replace(unheld(look.memory), reached_at=look.now, windows=windows, analysis={})
    return Move(memory=memory, phase=name(look), message="begun", again_in=0.0)


def _promote(look: Look) -> Move:
    override = look.memory.override
    regretted = override is not None and override.reason == "RolledBack"  # a switch that is taken back
    memory = Memory(
        previous="" if regretted else look.stable,
        ended_at=look.now if regretted else 0.0,
        promoted_at=look.now,
        watching=look.stage.whole,
        weighed_at=look.now,
        override=override,
        answer=look.memory.answer,
    )
    told = Reason(
        kind="Rollout", reason="Promoted", message=f"revision {look.revision} has all the traffic",
        before=look.stable, after=look.revision,
    )  # fmt: skip
    return Move(memory=memory, phase="Draining", promoted=True, reasons=(told,), again_in=0.0)


def _is_told_to(look: Look) -> Move | None:
    """A person said to go on."""
    if look.memory.full:
        return advance(look, why="promote-full", step=look.last_step)
    return advance(look, why="promote") if look.memory.go else None


def _is_paused(look: Look) -> Move | None:
    return still_paused(look) if look.memory.paused else None


_RULES: tuple[Callable[[Look], Move | None], ...] = (
    _fails,
    _loses_replicas,
    _closed,
    _is_paused,
    _waits_for_replicas,
    _waits_for_envoys,
    _weighs,
    _arrives,
    _is_told_to,
    dwell,
)
