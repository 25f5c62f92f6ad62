"""Where a rollout is headed: which revision is to be served, which one serves, and what a person asked for.

The spec's revision is the goal, unless an abort, a rollback or rollback-to named another until the spec changes. Must not
move anything.
"""

from dataclasses import dataclass, replace

from modelfleet.core.plan import Reason
from modelfleet.core.rollout.actions import Action, BadAction
from modelfleet.core.rollout.memory import Answer, Memory, Override, Result
from modelfleet.core.rollout.move import abort
from modelfleet.core.rollout.stages import ALL


@dataclass(frozen=True, kw_only=True)
class Course:
    """Where it is headed.

    Attributes:
        spec_revision: what the spec asks for.
        target: what is to be served.
        stable: what serves.
        memory: what is remembered, the latest action included.
        reasons: what an action changed.
    """

    spec_revision: str
    target: str
    stable: str
    memory: Memory
    reasons: tuple[Reason, ...] = ()

    @property
    def rolling(self) -> bool:
        """Whether another revision than the stable one is to be served."""
        return self.target != self.stable

    @property
    def returning(self) -> bool:
        """Whether the target has served before: it needs no steps and no judgement."""
        memory = self.memory
        return self.target == memory.previous or bool(memory.override and memory.override.revision == self.target)

    def weights(self, memory: Memory) -> dict[str, int]:
        """Give the percent of the traffic of each revision that has any, by what is remembered."""
        if not memory.revision or memory.revision == self.stable:
            return {self.stable: ALL}
        return {self.stable: ALL - memory.weight, memory.revision: memory.weight}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What `plot` looks at.

    Attributes:
        spec_revision: what the spec asks for.
        stable: what serves.
        memory: what is remembered.
        action: what the annotation says.
        known: revisions whose template exists.
        ready: revisions of which a replica is ready.
        staged: whether the strategy has steps.
        suspended: whether the LLMDeployment is.
        regretted: why the last switch is to be taken back; empty while it is not.
        now: seconds since the epoch.
    """

    spec_revision: str
    stable: str
    memory: Memory
    action: Action | BadAction | None
    known: frozenset[str]
    ready: frozenset[str]
    staged: bool
    suspended: bool
    regretted: str = ""
    now: float


def plot(at: Standing) -> Course:
    """Answer the goal, after the action if it is a new one."""
    memory = at.memory
    override = memory.override
    if override and (override.spec_revision != at.spec_revision or override.revision not in at.known):
        memory = replace(memory, override=None)
    known_id = memory.answer.id if memory.answer else ""
    if at.action is None or at.action.id == known_id:
        return _switched_back(at, memory=memory) if at.regretted else _course(at, memory=memory)
    starting = at.staged and _course(at, memory=memory).rolling and memory.revision != _target(at, memory)
    changed, result, message, reasons = _act(at, memory=memory, action=at.action, starting=starting)
    changed = replace(changed, answer=Answer(id=at.action.id, result=result, message=message))
    return _course(at, memory=changed, reasons=reasons)


def _switched_back(at: Standing, *, memory: Memory) -> Course:
    """Serve what served before the switch, until the spec changes."""
    override = Override(
        spec_revision=at.spec_revision, revision=memory.previous, reason="RolledBack", message=at.regretted
    )
    told = Reason(
        kind="Rollout", reason="RolledBack", message=f"after the switch: {at.regretted}",
        before=at.stable, after=memory.previous, warning=True,
    )  # fmt: skip
    return _course(at, memory=replace(memory, override=override, watching=False), reasons=(told,))


def _target(at: Standing, memory: Memory) -> str:
    return memory.override.revision if memory.override else at.spec_revision


def _course(at: Standing, *, memory: Memory, reasons: tuple[Reason, ...] = ()) -> Course:
    return Course(
        spec_revision=at.spec_revision, target=_target(at, memory), stable=at.stable, memory=memory, reasons=reasons
    )


_Acted = tuple[Memory, Result, str, tuple[Reason, ...]]


def _act(at: Standing, *, memory: Memory, action: Action | BadAction, starting: bool) -> _Acted:
    rolling = _target(at, memory) if _target(at, memory) != at.stable else ""
    if isinstance(action, BadAction):
        return memory, "Refused", action.message, ()
    if action.verb == "rollback-to":
        return _roll_back(at, memory=memory, to=action.revision or "")
    if action.verb == "abort":
        return _abort(at, memory=memory, rolling=rolling)
    result, message = _out_of_place(at, action=action, rolling=rolling, starting=starting)
    return (memory, result, message, ()) if result else _steer(memory, verb=action.verb)


def _out_of_place(at: Standing, *, action: Action, rolling: str, starting: bool) -> tuple[Result | None, str]:
    """Say why a step cannot be steered now; None when it can."""
    if at.suspended:
        return "Refused", "suspended; set spec.suspend: false first, or abort"
    if starting or (rolling and action.revision not in (None, rolling)):
        return "Stale", f"it was meant for another rollout than that of {rolling}"
    if not rolling:
        return "Refused", "nothing is rolling out"
    if not at.staged:
        return "Refused", "this strategy has no steps; abort and rollback-to work"
    if action.verb in {"promote", "promote-full"} and at.memory.paused == "Failed" and rolling not in at.ready:
        message = f"no replica of revision {rolling} is ready, so it cannot go on"
        return "Refused", f"{message}; resume waits for one once more, abort goes back to {at.stable}"
    return None, ""


def _steer(memory: Memory, *, verb: str) -> _Acted:
    free = replace(memory, paused="", hold="", hold_at=0.0)
    match verb:
        case "pause":
            return replace(memory, paused="Manual", cause=""), "Done", "paused", ()
        case "resume":
            again = memory.paused in {"Failed", "Inconclusive"} or memory.hold == "Evaluation"
            if again:
                free = replace(free, reached_at=0.0)  # the same window, or Job, would only say the same again
            return free, "Done", "resumed" if memory.paused or again else "it was not paused", ()
        case "promote":
            return replace(free, go=True), "Done", "goes to the next step", ()
        case _:
            return replace(free, full=True), "Done", "goes to 100 %", ()


def _roll_back(at: Standing, *, memory: Memory, to: str) -> _Acted:
    if to not in at.known:
        return memory, "Refused", f"there is no revision {to}; those kept: {', '.join(sorted(at.known)) or 'none'}", ()
    message = f"rollback-to {to}: holds until the spec changes"
    override = None
    if to != at.spec_revision:
        override = Override(spec_revision=at.spec_revision, revision=to, reason="RollbackTo", message=message)
    told = Reason(kind="Rollout", reason="RollbackTo", message="asked for by hand", before=at.stable, after=to)
    free = replace(memory, override=override, paused="", go=False, full=False, ended_at=0.0)
    return free, "Done", message, (told,)


def _abort(at: Standing, *, memory: Memory, rolling: str) -> _Acted:
    if not rolling and not memory.weight:
        return memory, "Done", "nothing is rolling out", ()
    move = abort(
        replace(memory, revision=memory.revision or rolling),
        stable=at.stable, spec_revision=at.spec_revision, now=at.now,
        reason="Aborted", message="aborted by hand", cause="abort",
    )  # fmt: skip
    return move.memory, "Done", f"back to {at.stable}", move.reasons
