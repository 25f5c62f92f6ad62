"""The evaluation before any traffic: which Job it is, what came of it, and which Jobs may go.

From what status remembers and a Snapshot to an `Evaluated` for the rules in `rollout/dwell.py`, as `assess` is for
verdicts. Must not decide what follows from a score.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core import names
from modelfleet.core.plan import Action, Create, Delete, Reason
from modelfleet.core.render import evaluation as render
from modelfleet.core.rollout.memory import Memory
from modelfleet.core.rollout.position import position
from modelfleet.core.rollout.stages import stages
from modelfleet.core.world import EvaluationNews, Job, LastWords, Snapshot

LOOK_AGAIN_SECONDS = 20.0
"""Between two looks for a CronJob that is not there, or that can make no Job."""
LAST_WORDS = 300
"""Characters of a Job's own words that are repeated."""


@dataclass(frozen=True, kw_only=True)
class Awaited:
    """The Job at whose score a rollout stands, and the CronJob that it is made from."""

    job: str
    cron_job: str


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What is known of it.

    Attributes:
        score: None while there is none.
        problem: why there will be none without a person, and what that person can do; empty while there may be.
        remembered: what status keeps.
        starts: the Job to create.
        reasons: decisions.
        again_in: seconds until a problem may have gone.
    """

    score: float | None = None
    problem: str = ""
    remembered: Mapping[str, Any] = field(default_factory=dict)
    starts: tuple[Action, ...] = ()
    reasons: tuple[Reason, ...] = ()
    again_in: float | None = None


def job_name(*, name: str, revision: str, reached_at: float) -> str:
    """Name the Job of one arrival at the stage: whoever looks again finds it, and another try is another Job.

    Every part is bounded: the whole has at most 63 characters, as a Job's name may have.

    >>> job_name(name="chat", revision="0123456789", reached_at=1_000_000.0)
    'chat-0123456789-0f4240'
    """
    return f"{names.revision_name(name=name, revision=revision)}-{int(reached_at) & 0xFFFFFF:06x}"


def awaited(spec: LLMDeploymentSpec, *, memory: Memory, name: str) -> Awaited | None:
    """Say which Job a rollout waits for; None when it stands somewhere else."""
    asked = spec.rollout.analysis.evaluation
    if asked is None or not memory.revision or not memory.reached_at:
        return None
    plan = stages(spec.rollout, desired=1)
    if not plan or plan[position(plan, step=memory.step, word=memory.stage, weight=memory.weight)].kind != "Evaluation":
        return None
    job = job_name(name=name, revision=memory.revision, reached_at=memory.reached_at)
    return Awaited(job=job, cron_job=asked.cron_job_ref.name)


def look(snapshot: Snapshot, *, memory: Memory) -> Evaluated:
    """Answer what came of the evaluation, or what starts it."""
    found = awaited(snapshot.spec, memory=memory, name=snapshot.name) if snapshot.spec else None
    if found is None:
        return Evaluated()
    if memory.evaluation.get("job") == found.job and "score" in memory.evaluation:
        return Evaluated(score=memory.evaluation["score"], remembered=memory.evaluation)
    news = snapshot.evaluation if snapshot.evaluation and snapshot.evaluation.job == found.job else None
    job = next((one for one in snapshot.jobs if one.name == found.job), None)
    if job is None:
        return _start(snapshot, found=found, news=news, revision=memory.revision)
    if not job.ended or news is None or news.said is None:
        return Evaluated(remembered={"job": job.name})
    return _ended(snapshot, job=job, said=news.said)


def _start(snapshot: Snapshot, *, found: Awaited, news: EvaluationNews | None, revision: str) -> Evaluated:
    if news is None:
        return Evaluated()
    if news.template is None:
        return Evaluated(problem=news.problem, again_in=LOOK_AGAIN_SECONDS)
    message = f"Job {found.job}, from CronJob {found.cron_job}, tries it before any user does"
    return Evaluated(
        remembered={"job": found.job},
        starts=(Create(manifest=render.job(snapshot, name=found.job, revision=revision, template=news.template)),),
        reasons=(Reason(kind="Rollout", reason="EvaluationStarted", message=message, after=revision),),
    )


def _ended(snapshot: Snapshot, *, job: Job, said: tuple[LastWords, ...]) -> Evaluated:
    remembered = {"job": job.name}
    result = _lowest(said) if job.ended == "Complete" else None
    if result is not None:
        return Evaluated(score=result, remembered={**remembered, "score": result})
    told = said[-1].text.strip() if said else ""
    quoted = f", its last words: {told[-LAST_WORDS:]!r}" if told else ""
    if job.ended == "Failed":
        what = f"Job {job.name} failed ({job.message}){quoted}"
    else:
        what = f'Job {job.name} gave no score{quoted}; {{"score": 0.93}} must be in its termination message'
    way = (
        f"see `kubectl logs job/{job.name} -n {snapshot.namespace}`, then"
        f" `kubectl modelfleet rollout resume {snapshot.name}` runs it again"
    )
    return Evaluated(problem=f"{what}; {way}", remembered=remembered)


def _lowest(said: tuple[LastWords, ...]) -> float | None:
    """Take the lowest score of the pods that succeeded; one of them without a score leaves all without."""
    scores = [score(one.text) for one in said if one.succeeded]
    known = [one for one in scores if one is not None]
    return min(known) if known and len(known) == len(scores) else None


def score(text: str) -> float | None:
    r"""Read the last line that tells a score.

    >>> score('100 questions\n{"score": 0.93}'), score('{"score": 1}')
    (0.93, 1.0)
    >>> [score(text) for text in ("", "0.93", '{"score": "0.93"}', '{"score": NaN}', '{"score": true}', "[" * 4096)]
    [None, None, None, None, None, None]
    """
    for line in reversed(text.splitlines()):
        try:
            told = json.loads(line, parse_int=float)
        except (ValueError, RecursionError):
            continue
        found = told.get("score") if isinstance(told, dict) else None
        if isinstance(found, float) and math.isfinite(found):
            return found
    return None


def outdated(snapshot: Snapshot, *, memory: Memory) -> tuple[Action, ...]:
    """Delete Jobs that nobody needs: all but the newest of each revision that is kept, and what still runs for nothing.

    Args:
        snapshot: the LLMDeployment.
        memory: as it is after this pass.
    """
    found = awaited(snapshot.spec, memory=memory, name=snapshot.name) if snapshot.spec else None
    known = {s.revision for s in snapshot.stored} | {w.revision for w in snapshot.workloads}
    newest: dict[str, Job] = {}
    for job in sorted(snapshot.jobs, key=lambda one: (one.created_at, one.name)):
        newest[job.revision] = job
    kept = {
        job.name
        for job in newest.values()
        if job.revision in known and (job.ended or (found is not None and job.name == found.job))
    }
    return tuple(
        Delete(api_version="batch/v1", kind="Job", name=job.name, uid=job.uid)
        for job in snapshot.jobs
        if job.name not in kept
    )
