"""Where a rollout stands in its list of stages, also in one that was edited under way.

Beside `stages.py`, which makes the list from the user's words. Must not look at what runs.
"""

from collections.abc import Sequence
from dataclasses import replace

from modelfleet.api.v1alpha1.rollout import Rollout
from modelfleet.core.rollout.memory import Memory
from modelfleet.core.rollout.stages import Stage, replicas


def position(plan: Sequence[Stage], *, step: int, word: str, weight: int) -> int:
    """Find the present stage, also in a list that was edited meanwhile: none is skipped that was not passed.

    Args:
        plan: the stages as they are now.
        step: index of the present one in the list of before.
        word: its name then; empty for the first one.
        weight: percent of the traffic in force.

    >>> from modelfleet.core.rollout.stages import stages
    >>> plan = stages(Rollout(strategy="Canary"), desired=4)
    >>> position(plan, step=2, word="Weight 50 %", weight=50), position(plan, step=1, word="Weight 50 %", weight=25)
    (2, 2)
    >>> position(plan, step=3, word="Weight 70 %", weight=30)
    1
    """
    step = min(step, len(plan) - 1)
    if not word or plan[step].word == word:
        return step
    same = [i for i, stage in enumerate(plan) if stage.word == word]
    passed = [i for i, stage in enumerate(plan) if stage.kind == "Weight" and stage.weight <= weight]
    return same[0] if same else max(passed, default=0)


def present(
    memory: Memory, *, plan: tuple[Stage, ...], desired: int, rollout: Rollout
) -> tuple[Memory, tuple[Stage, ...]]:
    """Find the present stage; where the list was edited it may be another one than before, and begins anew."""
    step = position(plan, step=memory.step, word=memory.stage, weight=memory.weight)
    if memory.stage and plan[step].word != memory.stage:
        memory = replace(memory, stage=plan[step].word, reached_at=0.0, go=False)
    stage = at_least(plan[step], weight=memory.weight, desired=desired, rollout=rollout)
    return replace(memory, step=step), (*plan[:step], stage, *plan[step + 1 :])


def at_least(stage: Stage, *, weight: int, desired: int, rollout: Rollout) -> Stage:
    """Raise a stage to the weight that is in force: an edited list does not take traffic back.

    >>> at_least(Stage(kind="Weight", weight=20, new=1), weight=50, desired=4, rollout=Rollout()).new
    2
    """
    if weight <= stage.weight:
        return stage
    return replace(stage, weight=weight, new=max(stage.new, replicas(desired=desired, weight=weight, rollout=rollout)))
