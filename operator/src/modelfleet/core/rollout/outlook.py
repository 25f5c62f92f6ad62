"""What a rollout will do next, and how long it takes at least: one sentence for people. Nothing in it ticks."""

from collections.abc import Sequence

from modelfleet.core.rollout.stages import ALL, Stage
from modelfleet.core.rollout.way import Way, seconds


def outlook(
    plan: Sequence[Stage],
    *,
    step: int,
    running: int,
    start_seconds: float | None,
    judged_seconds: float,
    way: str = "",
    fixed: int | str = "Proportional",
) -> str:
    """Word the stages that are left, the way that replicas take, and the least time for all of it.

    Args:
        plan: all stages.
        step: how many are done.
        running: replicas of the new revision that exist.
        start_seconds: what the last start of a replica took; None when none was seen.
        judged_seconds: least time of a judged step.
        way: which way the missing replicas come.
        fixed: canary.replicas, which a stage may have no room for.

    >>> plan = (Stage(kind="Weight", weight=20, new=1), Stage(kind="Pause", weight=20, new=1),
    ...         Stage(kind="Promote", weight=100, new=2))
    >>> outlook(plan, step=0, running=0, start_seconds=95, judged_seconds=300, way="surge")
    '20 % → pause → 100 %; surge; 2 replicas to start, about 95 s each as the last start took; at least 8 min 10 s and a word of yours'
    >>> outlook(plan, step=2, running=2, start_seconds=95, judged_seconds=300)
    '100 %'
    >>> outlook(plan[:1], step=0, running=1, start_seconds=95, judged_seconds=0, fixed=3)
    '20 %; 1 of canary.replicas 3 at 20 %: rollout.maxSurge leaves room for no more beside stable'
    """
    left = plan[step:]
    words = [" → ".join(_word(stage) for stage in left), *_cut(left, fixed=fixed)]
    missing = max(0, max((stage.new for stage in left), default=0) - running)
    if missing:
        words += [way] if way else []
        words.append(_starts(missing, start_seconds=start_seconds))
    # Replicas of one stage start side by side.
    starts = len({stage.new for stage in left if stage.new > running})
    least = starts * (start_seconds or 0) + sum(_seconds(stage, judged=judged_seconds) for stage in left)
    person = any(stage.kind == "Pause" and not stage.seconds for stage in left)
    if least or person:
        words.append(f"at least {_time(least)}{' and a word of yours' if person else ''}")
    return "; ".join(words)


def replaced(*, missing: int, way: Way, start_seconds: float | None) -> str:
    """Word a revision that is replaced replica by replica.

    >>> replaced(missing=3, way=Way(words="one by one", at_once=2), start_seconds=95)
    'one by one; 3 replicas to start, about 95 s each as the last start took; about 3 min 10 s in all'
    >>> replaced(missing=0, way=Way(words="surge", at_once=1), start_seconds=95)
    'every new replica is ready; the old ones end'
    """
    if not missing:
        return "every new replica is ready; the old ones end"
    words = [way.words, _starts(missing, start_seconds=start_seconds)]
    if start_seconds:
        total = seconds(missing=missing, at_once=way.at_once, start_seconds=start_seconds)
        words.append(f"about {_time(total)} in all")
    return "; ".join(words)


def _starts(missing: int, *, start_seconds: float | None) -> str:
    took = f", about {start_seconds:.0f} s each as the last start took" if start_seconds else ""
    return f"{missing} replica{'s' if missing > 1 else ''} to start{took}"


def _cut(left: Sequence[Stage], *, fixed: int | str) -> list[str]:
    """Say at which stage the user's number of replicas does not fit, the present one first."""
    short = [stage for stage in left if stage.kind == "Weight" and isinstance(fixed, int) and stage.new < fixed]
    why = "rollout.maxSurge leaves room for no more beside stable"
    return [f"{one.new} of canary.replicas {fixed} at {one.weight} %: {why}" for one in short[:1]]


def _word(stage: Stage) -> str:
    if stage.kind in {"Weight", "Promote"}:
        return f"{stage.weight or ALL} %"
    return f"mirror {stage.mirror} %" if stage.kind == "Mirror" else stage.kind.lower()


def _seconds(stage: Stage, *, judged: float) -> float:
    return max(judged, stage.seconds) if stage.kind in {"Weight", "Trial"} else float(stage.seconds)


def _time(seconds: float) -> str:
    """Word a duration.

    >>> _time(50), _time(490)
    ('50 s', '8 min 10 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
