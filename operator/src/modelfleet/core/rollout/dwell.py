"""What ends a stage that stands: a time, a person, a score, a verdict.

Beside `machine.py`, which brings a rollout there. Missing data never ends one: it holds, and at last pauses.
"""

from dataclasses import replace

from modelfleet.core.plan import Reason
from modelfleet.core.rollout.move import Look, Move, advance, give_up, held, name, paused, unheld


def dwell(look: Look) -> Move:
    """By kind: what ends this stage."""
    spent = look.now - look.memory.reached_at
    match look.stage.kind:
        case "Preview":
            return advance(look, why="the preview is ready")
        case "Evaluation":
            return _evaluate(look)
        case "Pause":
            if not look.stage.seconds:
                return held(look, hold="ManualPause", message="waits for promote")
            return _after(look, spent=spent, why="the pause is over")
        case "Mirror":
            return _after(look, spent=spent, why="the copies were compared")
        case _:
            return _judge(look, spent=spent)


def _after(look: Look, *, spent: float, why: str) -> Move:
    left = look.stage.seconds - spent
    if left <= 0:
        return advance(look, why=why)
    return Move(memory=unheld(look.memory), phase=name(look), message=f"{look.stage.seconds} s in all", again_in=left)


def _evaluate(look: Look) -> Move:
    evaluation = look.rollout.analysis.evaluation
    if evaluation is None:
        return advance(look, why="no evaluation is asked for any more")
    found = look.evaluated
    look = replace(look, memory=replace(look.memory, evaluation=found.remembered))
    if found.problem:
        return replace(held(look, hold="Evaluation", message=found.problem), again_in=found.again_in)
    if found.score is None:
        running = Move(memory=unheld(look.memory), phase=name(look), message="the evaluation runs")
        return replace(running, actions=found.starts, reasons=found.reasons)
    if found.score >= evaluation.min_score:
        move = advance(look, why=f"evaluation score {found.score:g} is at least {evaluation.min_score:g}")
        return replace(move, reasons=tuple(replace(one, reason="EvaluationPassed") for one in move.reasons))
    message = f"evaluation score {found.score:g} is below {evaluation.min_score:g}"
    move = give_up(look, message=message, cause="EvaluationFailed")
    told = Reason(kind="Rollout", reason="EvaluationFailed", message=message, after=look.revision, warning=True)
    return replace(move, reasons=(told, *move.reasons))


def _judge(look: Look, *, spent: float) -> Move:
    verdict, memory = look.verdict, look.memory
    if look.no_data or (verdict is not None and verdict.outcome == "NoData"):
        return _without_data(look, message=look.no_data or (verdict.message if verdict else ""))
    if verdict is None:
        return Move(memory=unheld(memory), phase=name(look), message="waits for the first samples")
    if verdict.outcome == "Pass":
        proven = memory.latency_proven or verdict.latency_proven
        return _after(replace(look, memory=replace(memory, latency_proven=proven)), spent=spent, why=verdict.message)
    if verdict.final:
        return _undecided(look, enough=verdict.enough_samples, message=verdict.message)
    if verdict.hold:
        return held(look, hold=verdict.hold, message=verdict.message)
    return Move(memory=unheld(memory), phase=name(look), message=verdict.message)


def _undecided(look: Look, *, enough: bool, message: str) -> Move:
    """The test will not decide here; 100 % needs a Pass all the same."""
    if look.rollout.on_inconclusive == "Continue" and enough and not look.stage.last:
        return advance(look, why=f"undecided with enough samples: {message}")
    return paused(look, why="Inconclusive", message=message)


def _without_data(look: Look, *, message: str) -> Move:
    limit, memory = look.rollout.max_hold_seconds, look.memory
    since = memory.hold_at if memory.hold == "NoData" else look.now
    if look.now - since >= limit:
        return paused(look, why="NoData", message=f"no data for {limit} s: {message}")
    return replace(held(look, hold="NoData", message=message), again_in=limit - (look.now - since))
