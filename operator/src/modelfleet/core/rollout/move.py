"""What a rollout's rules look at, what they answer, and the few ways to answer.

Under `machine.py` and `dwell.py`, which hold the rules. Must not choose between the answers.
"""

from dataclasses import dataclass, replace

from modelfleet.api.v1alpha1.rollout import Rollout
from modelfleet.core.judgement.verdict import StepVerdict
from modelfleet.core.plan import Reason
from modelfleet.core.rollout.memory import Memory, Override
from modelfleet.core.rollout.stages import ALL, Stage
from modelfleet.core.rollout.targets import Count, Targets


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the rules may look at.

    Attributes:
        now: seconds since the epoch.
        rollout: the user's words.
        memory: what was remembered.
        stages: those of this strategy, never empty; the last is Promote.
        revision: the new revision.
        stable: the stable one.
        spec_revision: what the spec asks for; another one than `revision` when someone went back.
        desired: replicas wanted in all.
        new: what runs of the new revision.
        targets: what the arithmetic asks for at this stage.
        may_miss: replicas that may be missing while nothing else can be done.
        confirmed: every Envoy has the weights that are in force.
        unheard: why that is not known, once it has taken too long; empty before.
        verdict: of the present stage; None where none is judged, or nothing was measured yet.
        no_data: why nothing could be measured; empty when something was.
        failure: why the new revision can never serve; empty while it may.
        open: whether the change window is open.
        score: of the evaluation; None while there is none.
        evaluation: what the evaluation says of itself, in words.
    """

    now: float
    rollout: Rollout
    memory: Memory
    stages: tuple[Stage, ...]
    revision: str
    stable: str
    spec_revision: str
    desired: int
    new: Count
    targets: Targets
    may_miss: int = 0
    confirmed: bool = True
    unheard: str = ""
    verdict: StepVerdict | None = None
    no_data: str = ""
    failure: str = ""
    open: bool = True
    score: float | None = None
    evaluation: str = ""

    @property
    def stage(self) -> Stage:
        """The present one."""
        return self.stages[min(self.memory.step, len(self.stages) - 1)]

    @property
    def last_step(self) -> int:
        """Index of the stage that promotes."""
        return len(self.stages) - 1

    @property
    def warm(self) -> bool:
        """Whether the new revision has the replicas of this stage."""
        return self.new.ready >= self.stage.new


@dataclass(frozen=True, kw_only=True)
class Move:
    """What comes out: the next memory, in words for status, and why.

    Attributes:
        memory: what to remember.
        phase: one word for people.
        message: why it stands where it stands.
        promoted: whether the new revision is the stable one from now on.
        reasons: decisions.
        again_in: seconds until time alone may change something.
    """

    memory: Memory
    phase: str
    message: str = ""
    promoted: bool = False
    reasons: tuple[Reason, ...] = ()
    again_in: float | None = None


def give_up(look: Look, *, message: str, cause: str = "RevisionFailed") -> Move | None:
    """Go back, or wait for a person where the user wants that; None when the person has spoken already."""
    memory = look.memory
    if look.rollout.on_failure == "Pause":
        if memory.paused == "Failed":
            return held(look, hold="Failed", message=message)
        if memory.go or memory.full:
            return None
        return paused(look, why="Failed", message=message)
    return abort(look.memory, stable=look.stable, spec_revision=look.spec_revision, now=look.now,
                 reason="RolledBack", message=message, cause=cause)  # fmt: skip


def abort(
    memory: Memory, *, stable: str, spec_revision: str, now: float, reason: str, message: str, cause: str
) -> Move:
    """Take the traffic away at once, and serve stable until the spec changes."""
    override = Override(spec_revision=spec_revision, revision=stable, reason=reason, message=message)
    told = Reason(
        kind="Rollout", reason=reason, message=f"{cause}: {message}",
        before=memory.revision, after=stable, warning=True,
    )  # fmt: skip
    ended = replace(
        unheld(memory), weight=0, mirror=0, step=0, reached_at=0.0, paused="", go=False, full=False,
        ended_at=now, weighed_at=now, override=override,
    )  # fmt: skip
    return Move(memory=ended, phase="Aborting", message=message, reasons=(told,))


def advance(look: Look, *, why: str, step: int | None = None) -> Move:
    """Leave this stage."""
    after = look.memory.step + 1 if step is None else step
    memory = replace(unheld(look.memory), step=after, reached_at=0.0, paused="", go=False)
    following = look.stages[min(after, look.last_step)]
    told = Reason(kind="Rollout", reason="StepPassed", message=why, before=word(look.stage), after=word(following))
    return Move(memory=memory, phase=following.kind, message=why, reasons=(told,), again_in=0.0)


def word(stage: Stage) -> str:
    """Name a stage in a decision."""
    return f"{stage.kind} {stage.weight} %" if stage.weight and stage.weight < ALL else stage.kind


def name(look: Look) -> str:
    """Name the present stage for people."""
    names = {"Promote": "Promoting", "Weight": "Step", "Evaluation": "Evaluating", "Pause": "Paused"}
    return names.get(look.stage.kind, look.stage.kind)


def paused(look: Look, *, why: str, message: str) -> Move:
    """Wait for a person, and tell why once."""
    told = Reason(
        kind="Rollout", reason="RolloutPaused", message=f"{why}: {message}", after=look.revision, warning=True
    )
    move = held(look, hold=why, message=message)
    return replace(move, memory=replace(move.memory, paused=why), reasons=(told,))


def held(look: Look, *, hold: str, message: str) -> Move:
    """Stay, and remember since when for this reason."""
    memory = look.memory
    since = memory.hold_at if memory.hold == hold and memory.hold_at else look.now
    phase = "Paused" if hold == "ManualPause" or memory.paused else "Hold"
    return Move(memory=replace(memory, hold=hold, hold_at=since), phase=phase, message=message)


def unheld(memory: Memory) -> Memory:
    """Forget a hold that is over."""
    return replace(memory, hold="", hold_at=0.0)
