"""Tells from the status of an LLMDeployment where its rollout stands.

Sits in the CLI and is pure: a dictionary and the time in, text out. It must not ask the cluster, and it must not guess:
what it says stands in the object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from modelfleet.api.v1alpha1.analysis import BUILT_IN
from modelfleet.cli.advice import ADVICE
from modelfleet.core import conditions as c

Json = Mapping[str, Any]

MINUTE, HOUR, DAY = 60, 3600, 86_400


def rollout_of(obj: Json) -> Json:
    """Find what status says of the rollout; empty when it says nothing."""
    found: Json = (obj.get("status") or {}).get("rollout") or {}
    return found


def behind(obj: Json) -> str:
    """Say that the operator has not acted on the newest spec; empty when it has."""
    generation = obj["metadata"].get("generation", 0)
    observed = (obj.get("status") or {}).get("observedGeneration", 0)
    if observed >= generation:
        return ""
    return f"The operator has not acted on the newest spec yet: it has seen generation {observed} of {generation}."


def serving(status: Json) -> str:
    """Name the revision that is stable; empty when there is none yet."""
    return _with_role(status, "stable")


def taking_over(status: Json) -> str:
    """Name the revision that is on its way to become the stable one; empty when none is."""
    rollout: Json = status.get("rollout") or {}
    named = rollout.get("revision") if rollout.get("phase") else ""
    target = str(named or _with_role(status, "new", "canary", "preview"))
    return "" if target == serving(status) else target


def _with_role(status: Json, *roles: str) -> str:
    return next((str(r.get("hash", "")) for r in status.get("revisions") or () if r.get("role") in roles), "")


def headline(obj: Json) -> str:
    """Where it stands, in one line."""
    meta, status = obj["metadata"], obj.get("status") or {}
    stable = serving(status)
    idle = f"nothing is rolling out{f', {stable} is stable' if stable else ''}"
    return f"{meta['name']} in {meta.get('namespace', 'default')}: {position(status) or idle}{_frozen(status)}"


def position(status: Json) -> str:
    """Name what takes over and how far it is; empty when nothing is rolling out.

    >>> rollout = {"strategy": "Canary", "revision": "b2", "phase": "Step", "step": 1, "steps": 4, "weight": 25}
    >>> position({"rollout": rollout})
    'Canary to b2, Step, step 2 of 4, weight 25 %'
    """
    rollout, target = status.get("rollout") or {}, taking_over(status)
    if not rollout.get("phase") and not target:
        return ""
    parts = [rollout.get("strategy", "Rollout") + (f" to {target}" if target else "")]
    parts += [str(rollout["phase"])] if rollout.get("phase") else []
    if rollout.get("steps"):
        parts.append(f"step {min(rollout.get('step', 0) + 1, rollout['steps'])} of {rollout['steps']}")
        parts.append(f"weight {rollout.get('weight', 0)} %")
    if rollout.get("hold"):
        parts.append(f"held by {rollout['hold']}")
    return ", ".join(parts)


def _frozen(status: Json) -> str:
    said_already = (status.get("rollout") or {}).get("phase") == c.SUSPENDED
    return ", suspended" if suspended(status) and not said_already else ""


def suspended(status: Json) -> bool:
    """Whether the user froze it."""
    return c.find(status, c.SUSPENDED).get("status") == "True"


def instead(override: Json) -> str:
    """Word an override."""
    why = f": {override['message']}" if override.get("message") else ""
    return (
        f"{override.get('revision', '?')} serves instead of {override.get('specRevision', '?')}, which the spec asks for"
        f" ({override.get('reason', '?')}{why}). This ends with the next change of the spec."
    )


def describe(obj: Json, *, now: datetime) -> str:
    """Tell everything about the rollout in several lines."""
    rollout = rollout_of(obj)
    sections = (
        [headline(obj), *filter(None, [behind(obj)])],
        list(_revisions(obj)),
        list(standing(rollout, now=now)),
        list(judgement(rollout)),
        list(_asked(rollout)),
    )
    return "\n\n".join("\n".join(section) for section in sections if section)


def standing(rollout: Json, *, now: datetime | None = None) -> Iterator[str]:
    """Why it stands where it stands, and what comes next; with `now` also how long ago things were."""
    if rollout.get("message"):
        yield f"Now: {rollout['message']}"
    if rollout.get("hold"):
        yield f"Held by: {rollout['hold']}{_since(rollout.get('holdStartedAt'), now=now)}"
        if advice := ADVICE.get(rollout["hold"]):
            yield f"What to do: {advice}"
    elif rollout.get("stepStartedAt"):
        yield f"At this step{_since(rollout['stepStartedAt'], now=now)}"
    if rollout.get("paused") or rollout.get("hold") == "ManualPause":
        resume = ", `rollout resume` on" if rollout.get("paused") else ""
        yield f"Waits for you: `rollout promote` goes to the next step{resume}, `rollout abort` back"
    if rollout.get("full"):
        yield "promote-full was asked for: goes to 100 % without further steps and verdicts"
    if rollout.get("plan"):
        yield f"Next: {rollout['plan']}"
    if rollout.get("override"):
        yield f"Not what the spec asks for: {instead(rollout['override'])}"


def _since(stamp: str | None, *, now: datetime | None) -> str:
    if not stamp:
        return ""
    return f" since {stamp}{f' ({ago(stamp, now=now)})' if now else ''}"


def judgement(rollout: Json) -> Iterator[str]:
    """The evaluation's score; the verdict on the canary with its numbers, metric by metric."""
    analysis: Json = rollout.get("analysis") or {}
    if evaluation := rollout.get("evaluation"):
        told = f"score {evaluation['score']:g}" if "score" in evaluation else "no score yet"
        yield f"Evaluation: {told} (Job {evaluation.get('job', '?')})"
    if not analysis:
        return
    reason = f" ({analysis['reason']})" if analysis.get("reason") else ""
    seconds = f", {analysis['seconds']} s count so far" if "seconds" in analysis else ""
    message = f": {analysis['message']}" if analysis.get("message") else ""
    yield f"Judgement: {analysis.get('verdict') or 'none yet'}{reason}{seconds}{message}"
    if analysis.get("latencyProven"):
        yield "  latency has passed under like load, as 100 % needs"
    if rates := [f"{arm} {analysis[key]:g}" for arm, key in _RATES.items() if key in analysis]:
        yield f"  tokens per second, which are not judged: {', '.join(rates)}"
    results: Sequence[Json] = analysis.get("results") or ()
    if results:
        rows = [(r.get("name", "?"), r.get("verdict", "?"), _arm(r, "canary"), _arm(r, "stable")) for r in results]
        yield from columns((("metric", "verdict", "canary", "stable"), *rows))
    for result in results:
        if result.get("verdict") != "Pass" and result.get("message"):
            yield f"  {result.get('name', '?')}: {result['message']}"
    yield from (f"  Note: {note}" for note in analysis.get("notes") or ())


_RATES = {"canary": "canaryTokensPerSecond", "stable": "stableTokensPerSecond"}


def _arm(result: Json, arm: str) -> str:
    """Write one side of a comparison: the share of bad requests among all, or a query's value."""
    value, samples = result.get(f"{arm}Ratio"), result.get(f"{arm}Samples")
    if value is None:
        said = "-"
    elif result.get("name") in BUILT_IN:
        said = f"{100 * value:.2f} % bad"
    else:
        said = f"{value:g}"
    return said if samples is None else f"{said} of {samples}"


def _revisions(obj: Json) -> Iterator[str]:
    revisions = (obj.get("status") or {}).get("revisions") or ()
    rows = [
        (
            r.get("hash", "?"),
            r.get("role", ""),
            f"{r['weight']} %" if "weight" in r else "-",
            f"{r.get('ready', 0)} of {r.get('replicas', 0)}",
        )
        for r in revisions
    ]
    if rows:
        yield "Revisions"
        yield from columns((("revision", "role", "weight", "ready"), *rows))


def _asked(rollout: Json) -> Iterator[str]:
    last: Json = rollout.get("lastAction") or {}
    if last:
        message = f": {last['message']}" if last.get("message") else ""
        yield f"Last action: {last.get('id', '?')} {last.get('result', '?')}{message}"


def columns(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Set rows below each other.

    >>> list(columns([("metric", "verdict"), ("ttft", "Pass")]))
    ['  metric  verdict', '  ttft    Pass']
    """
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def ago(stamp: str, *, now: datetime) -> str:
    """Write how long ago something was, as roughly as a person says it.

    >>> ago("2026-01-01T00:00:00Z", now=datetime.fromisoformat("2026-01-01T00:04:30Z"))
    '4 min'
    """
    seconds = max(0, int((now - datetime.fromisoformat(stamp)).total_seconds()))
    if seconds < MINUTE:
        return f"{seconds} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE} min"
    return f"{seconds // HOUR} h" if seconds < DAY else f"{seconds // DAY} d"
