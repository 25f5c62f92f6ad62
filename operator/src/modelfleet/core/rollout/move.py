"""What a rollout's rules look at, what they answer, and the few ways to answer.

Under `machine.py` and `dwell.py`, which hold the rules. Must not choose between the answers.
"""

from dataclasses import dataclass, field, replace

from modelfleet.api.v1alpha1.rollout import Rollout
from modelfleet.core.evaluation import Evaluated
from modelfleet.core.judgement.verdict import StepVerdict
from modelfleet.core.plan import Action, Reason
from modelfleet.core.rollout.memory import Memory, Override
from modelfleet.core.rollout.stages import Stage, carried
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
        old_ready: warm replicas of the stable one.
        targets: what the arithmetic asks for at this stage.
        may_miss: replicas that may be missing while nothing else can be done.
        confirmed: every Envoy has the weights that are in force.
        unheard: why that is not known, once it has taken too long; empty before.
        verdict: of the present stage; None where none is judged, or nothing was measured yet.
        no_data: why nothing could be measured; empty when something was.
        compared: what copied requests show; it is told, and decides nothing.
        lack: which devices are missing where some are.
        failure: why the new revision can never serve; empty while it may.
        open: whether the change window is open.
        opens_in: seconds until it opens; None when it is open, or never opens.
        evaluated: what came of the evaluation.
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
    old_ready: int = 0
    may_miss: int = 0
    confirmed: bool = True
    unheard: str = ""
    verdict: StepVerdict | None = None
    no_data: str = ""
    compared: StepVerdict | None = None
    lack: str = "no device is free"
    failure: str = ""
    open: bool = True
    opens_in: float | None = None
    evaluated: Evaluated = field(default_factory=Evaluated)

    @property
    def stage(self) -> Stage:
        """The present one, no further than devices allow: what is stuck below its weight is judged there."""
        stage = self.stages[min(self.memory.step, self.last_step)]
        if stage.kind == "Weight" and self.targets.hold and self.suffices and self.new.ready < stage.new:
            return replace(stage, weight=min(stage.weight, self.possible), new=self.new.ready)
        return stage

    @property
    def last_step(self) -> int:
        """Index of the stage that promotes."""
        return len(self.stages) - 1

    @property
    def warm(self) -> bool:
        """Whether the new revision has the replicas of this stage."""
        return self.new.ready >= self.stage.new

    @property
    def suffices(self) -> bool:
        """Whether the new revision could have everything while no more can be missing than may be."""
        return self.new.ready >= max(1, self.desired - self.may_miss)

    @property
    def possible(self) -> int:
        """Percent of the traffic that the new revision carries; where replicas are missing everywhere, its part."""
        warm = min(self.desired, self.new.ready + self.old_ready)
        return carried(desired=max(1, warm), warm=self.new.ready)


@dataclass(frozen=True, kw_only=True)
class Move:
    """What comes out: the next memory, in words for status, and why.

    Attributes:
        memory: what to remember.
        phase: one word for people.
        message: why it stands where it stands.
        promoted: whether the new revision is the stable one from now on.
        actions: what this stage itself needs written; replicas and traffic are not its business.
        reasons: decisions.
        again_in: seconds until time alone may change something.
    """

    memory: Memory
    phase: str
    message: str = ""
    promoted: bool = False
    actions: tuple[Action, ...] = ()
    reasons: tuple[Reason, ...] = ()
    again_in: float | None = None


def give_up(look: Look, *, message: str, cause: str = "RevisionFailed") -> Move:
    """Go back, or wait for a person where the user wants that."""
    if look.rollout.on_failure == "Pause":
        return paused(look, why="Failed", message=message)
    return abort(look.memory, stable=look.stable, spec_revision=look.spec_revision, now=look.now,
                 reason="RolledBack", message=message, cause=cause)  # fmt: skip


def abort(
    memory: Memory, *, stable: str, spec_revision: str, now: float, reason: str, message: str, cause: str
) -> Move:
    """Take the traffic away at once, and serve stable until the spec changes."""
    override = None
    if stable != spec_revision:
        override = Override(spec_revision=spec_revision, revision=stable, reason=reason, message=message)
    told = Reason(
        kind="Rollout", reason=reason, message=f"{cause}: {message}",
        before=memory.revision, after=stable, warning=True,
    )  # fmt: skip
    ended = replace(
        unheld(memory), weight=0, mirror=0, step=0, stage="", reached_at=0.0, paused="", go=False, full=False,
        ended_at=now, weighed_at=now, override=override,
    )  # fmt: skip
    return Move(memory=ended, phase="Aborting", message=message, reasons=(told,))


def advance(look: Look, *, why: str, step: int | None = None) -> Move:
    """Leave this stage."""
    after = look.memory.step + 1 if step is None else step
    following = look.stages[min(after, look.last_step)]
    memory = replace(unheld(look.memory), step=after, stage=following.word, reached_at=0.0, paused="", go=False)
    told = Reason(kind="Rollout", reason="StepPassed", message=why, before=look.stage.word, after=following.word)
    phase = name(replace(look, memory=memory))
    return Move(memory=memory, phase=phase, message=why, reasons=(told,), again_in=0.0)


def name(look: Look) -> str:
    """Name the present stage for people."""
    names = {
        "Promote": "Promoting",
        "Weight": "Step",
        "Evaluation": "Evaluating",
        "Pause": "Paused",
        "Trial": "Preview",
    }
    return names.get(look.stage.kind, look.stage.kind)


def paused(look: Look, *, why: str, message: str) -> Move:
    """Wait for a person, whatever one said before, and tell why once."""
    told = Reason(
        kind="Rollout", reason="RolloutPaused", message=f"{why}: {message}", after=look.revision, warning=True
    )
    memory = replace(look.memory, paused=why, cause=message, go=False, full=False)
    return replace(still_paused(replace(look, memory=memory)), reasons=() if look.memory.paused == why else (told,))


def still_paused(look: Look) -> Move:
    """Wait on for a person, and go on saying why."""
    memory = look.memory
    hold = memory.paused if memory.paused in {"NoData", "Inconclusive", "Failed"} else "ManualPause"
    cause = f": {memory.cause}" if memory.cause else ""
    return held(look, hold=hold, message=f"paused ({memory.paused}){cause}; promote, resume or abort ends it")


def held(look: Look, *, hold: str, message: str) -> Move:
    """Stay, and remember since when for this reason."""
    memory = look.memory
    since = memory.hold_at if memory.hold == hold and memory.hold_at else look.now
    phase = "Paused" if hold == "ManualPause" or memory.paused else "Hold"
    return Move(memory=replace(memory, hold=hold, hold_at=since), phase=phase, message=message)


def unheld(memory: Memory) -> Memory:
    """Forget a hold that is over."""
    return replace(memory, hold="", hold_at=0.0)
