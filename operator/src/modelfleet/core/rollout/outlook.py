"""What a rollout will do next, and how long it takes at least: one sentence for people. Nothing in it ticks."""

from collections.abc import Sequence

from modelfleet.core.rollout.stages import ALL, Stage


def outlook(
    plan: Sequence[Stage], *, step: int, running: int, start_seconds: float | None, judged_seconds: float
) -> str:
    """Word the stages that are left, and the least time for them.

    Args:
        plan: all stages.
        step: how many are done.
        running: replicas of the new revision that exist.
        start_seconds: what the last start of a replica took; None when none was seen.
        judged_seconds: least time of a judged step.

    >>> plan = (Stage(kind="Weight", weight=20, new=1), Stage(kind="Pause", weight=20, new=1),
    ...         Stage(kind="Promote", weight=100, new=2))
    >>> outlook(plan, step=0, running=0, start_seconds=95, judged_seconds=300)
    '20 % → pause → 100 %; 2 replicas to start, about 95 s each as the last start took; at least 8 min 10 s and a word of yours'
    >>> outlook(plan, step=2, running=2, start_seconds=95, judged_seconds=300)
    '100 %'
    """
    left = plan[step:]
    words = [" → ".join(_word(stage) for stage in left)]
    missing = max(0, max((stage.new for stage in left), default=0) - running)
    if missing:
        took = f", about {start_seconds:.0f} s each as the last start took" if start_seconds else ""
        words.append(f"{missing} replica{'s' if missing > 1 else ''} to start{took}")
    if any(stage.kind in {"Weight", "Mirror", "Pause"} for stage in left):
        # Replicas of one stage start side by side.
        starts = len({stage.new for stage in left if stage.new > running})
        least = starts * (start_seconds or 0) + sum(_seconds(stage, judged=judged_seconds) for stage in left)
        person = any(stage.kind == "Pause" and not stage.seconds for stage in left)
        words.append(f"at least {_time(least)}{' and a word of yours' if person else ''}")
    return "; ".join(words)


def _word(stage: Stage) -> str:
    if stage.kind in {"Weight", "Promote"}:
        return f"{stage.weight or ALL} %"
    return f"mirror {stage.mirror} %" if stage.kind == "Mirror" else stage.kind.lower()


def _seconds(stage: Stage, *, judged: float) -> float:
    return max(judged, stage.seconds) if stage.kind == "Weight" else float(stage.seconds)


def _time(seconds: float) -> str:
    """Word a duration.

    >>> _time(50), _time(490)
    ('50 s', '8 min 10 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
