"""From what Prometheus answered to the verdict on the present stage, and what has to be asked for it.

Joins the user's words, what is remembered and the answers; `core/judgement` judges. Must not hold any arithmetic.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core.judgement import Carried, Config, Window, judge, judge_alone
from modelfleet.core.judgement.question import Answers, Question
from modelfleet.core.judgement.settings import configuration, custom_queries, within
from modelfleet.core.judgement.verdict import StepVerdict
from modelfleet.core.judgement.window import Measurement, window
from modelfleet.core.rollout import memory as remembered
from modelfleet.core.rollout.memory import Memory
from modelfleet.core.rollout.replicas import living
from modelfleet.core.rollout.stages import ALL, FROM_GATEWAY, Stage, limited, stages
from modelfleet.core.routing.provider import provider
from modelfleet.core.world import Replica, Snapshot


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What is known of the new revision at this stage.

    Attributes:
        verdict: None where none is judged, or nothing was measured yet.
        no_data: why nothing could be measured.
        compared: what copied requests show; it is told, and decides nothing.
    """

    verdict: StepVerdict | None = None
    no_data: str = ""
    compared: StepVerdict | None = None


def question(
    *, spec: LLMDeploymentSpec, status: Mapping[str, Any], namespace: str, name: str, now: float, gateway_url: str
) -> Question | None:
    """Say what to ask Prometheus; None while no step is judged."""
    memory = remembered.read(status)
    stable = next((r.get("hash", "") for r in status.get("revisions") or () if r.get("role") == "stable"), "")
    switched = _switched(status, memory=memory, stable=stable)
    stage = WATCH if switched else _stage(spec, memory=memory)
    if switched:
        memory, stable = switched, memory.previous
    if not memory.revision or not memory.reached_at or stable in {"", memory.revision} or not stage.judged:
        return None
    analysis = spec.rollout.analysis
    return Question(
        namespace=namespace,
        name=name,
        stable=stable,
        canary=memory.revision,
        since=memory.reached_at,
        now=now,
        interval_seconds=analysis.interval_seconds,
        warmup_seconds=analysis.warmup_seconds,
        ttft_within=within(metrics=analysis.metrics, metric="ttft", objective=None),
        inter_token_within=within(metrics=analysis.metrics, metric="interToken", objective=None),
        custom=custom_queries(analysis.metrics),
        # The gateway counts no copies, and a preview is also called past it: only the engines tell of all of these.
        gateway=provider(spec, gateway_url=gateway_url) == "Gateway" and stage.kind in {"Weight", "Watch"},
    )


WATCH = Stage(kind="Watch", weight=ALL)
"""What follows a switch of two whole sets, while the old one is warm."""


def _switched(status: Mapping[str, Any], *, memory: Memory, stable: str) -> Memory | None:
    """Tell of what serves since a switch as of a canary with everything; None when nothing warm is left to go back to."""
    warm = {r.get("hash") for r in status.get("revisions") or () if r.get("ready")}
    if not memory.watching or memory.revision or memory.previous not in warm - {stable}:
        return None
    return replace(memory, revision=stable, reached_at=memory.promoted_at, weight=ALL)


def afterwards(snapshot: Snapshot, *, memory: Memory, stable: str) -> StepVerdict | None:
    """Judge what serves since a switch, by its limits; None while there is nothing to say, or no way back."""
    switched = _switched(snapshot.status, memory=memory, stable=stable)
    if switched is None:
        return None
    return assess(snapshot, memory=switched, stable=memory.previous, stage=WATCH).verdict


def _stage(spec: LLMDeploymentSpec, *, memory: Memory) -> Stage:
    """Find the stage; how many replicas it has does not matter here."""
    plan = stages(spec.rollout, desired=1)
    return plan[min(memory.step, len(plan) - 1)] if plan else Stage(kind="Promote")


def assess(snapshot: Snapshot, *, memory: Memory, stable: str, stage: Stage) -> Assessment:
    """Judge the present stage by the last answers, if they are about it."""
    spec, measured = snapshot.spec, snapshot.measured
    if spec is None or not stage.judged or not memory.reached_at or measured is None:
        return Assessment()
    asked = measured.asked
    if (asked.stable, asked.canary, asked.since) != (stable, memory.revision, memory.reached_at):
        return Assessment()
    found, how = _window(snapshot, measured=measured, memory=memory, stage=stage), config(spec, gateway=asked.gateway)
    if stage.judged == "Alone":
        required = limited(spec.rollout.analysis) - (frozenset() if asked.gateway else FROM_GATEWAY)
        verdict = judge_alone(found, config=how, required=required)
    else:
        carried = Carried(windows=max(1, memory.windows), latency_proven=memory.latency_proven)
        verdict = judge(found, config=how, carried=carried)
    if stage.kind == "Mirror":
        return Assessment(compared=verdict)
    errors = "; ".join(measured.errors)
    return Assessment(verdict=verdict, no_data=errors if errors and verdict.outcome != "Fail" else "")


def measure(answers: Answers, *, replicas: Iterable[Replica]) -> Measurement:
    """Count what was answered, with the replicas of that moment.

    It costs tens of milliseconds, so it is done once per answer and away from the passes, which only judge.
    """
    asked, at = answers.asked, answers.observed_at
    serving = [r for r in replicas if r.ready and r.in_rotation and not r.terminating]
    since = {r.name: r.ready_since or at for r in serving if r.revision in {asked.stable, asked.canary}}
    return Measurement(asked=asked, errors=answers.errors, window=window(answers, now=at, weight=0.0, serving=since))


def _window(snapshot: Snapshot, *, measured: Measurement, memory: Memory, stage: Stage) -> Window:
    """Take what was measured at present; a container that dies before any scrape shows only in Kubernetes."""
    asked, found = measured.asked, measured.window
    restarts = {
        revision: sum(_restarts(r, since=asked.since) for r in snapshot.replicas if r.revision == revision)
        for revision in (asked.canary, asked.stable)
    }
    return replace(
        found,
        now=snapshot.now,
        weight=(memory.mirror / (ALL + memory.mirror)) if stage.mirror else memory.weight / ALL,
        last=stage.last,
        canary_restarts=max(found.canary_restarts, restarts[asked.canary]),
        stable_restarts=max(found.stable_restarts, restarts[asked.stable]),
        canary_replicas=len(living(snapshot.replicas, revision=asked.canary)),
    )


def _restarts(replica: Replica, *, since: float) -> int:
    """Count a replica's restarts in the window, as far as its pod tells: how many in all, and when the last one was.

    A container that had been up since before the window has restarted once in it.
    """
    began, ended = replica.last_run
    if ended < since:
        return 0
    return replica.restarts if began >= since else min(1, replica.restarts)


def config(spec: LLMDeploymentSpec, *, gateway: bool) -> Config:
    """Answer how this LLMDeployment's canaries are judged."""
    analysis = spec.rollout.analysis
    judged = sum(stage.kind == "Weight" for stage in stages(spec.rollout, desired=1))
    return configuration(
        metrics=analysis.metrics,
        ttft_within=within(metrics=analysis.metrics, metric="ttft", objective=None),
        inter_token_within=within(metrics=analysis.metrics, metric="interToken", objective=None),
        interval_seconds=analysis.interval_seconds,
        min_samples=analysis.min_samples,
        min_seconds=analysis.min_seconds,
        judged_steps=max(1, judged),
        gateway=gateway,
    )


def notes(spec: LLMDeploymentSpec, *, gateway: bool) -> tuple[str, ...]:
    """Say what is judged otherwise than asked for, or not at all."""
    if spec.rollout.strategy != "BlueGreen":
        return config(spec, gateway=gateway).notes
    # The sentence about the gateway holds before the switch whoever routes: a preview is also called past it.
    how = config(spec, gateway=False)
    unlimited = [m.name for m in config(spec, gateway=gateway).metrics if m.limit is None]
    told = [*how.notes[:-1], f"before the switch, {how.notes[-1]}" if gateway else how.notes[-1]]
    if unlimited:
        names = " and ".join(unlimited)
        told.append(
            f"nothing is compared, for the two sets share no traffic: {names} without minRatio count for nothing"
        )
    automatic = bool(spec.rollout.blue_green and spec.rollout.blue_green.auto_promote)
    if automatic and not limited(spec.rollout.analysis) - FROM_GATEWAY:
        told.append("the preview is switched to unjudged: no limit of yours can be judged before (a minRatio, a query)")
    return tuple(told)


def shown(verdict: StepVerdict) -> dict[str, Any]:
    """Put a verdict into words for status; ratios to four digits, or every sample would cost a write."""
    results = [
        {
            "name": metric.name,
            "verdict": metric.outcome,
            "reason": metric.reason,
            "message": metric.message,
            "canaryRatio": None if metric.canary_ratio is None else round(metric.canary_ratio, 4),
            "stableRatio": None if metric.stable_ratio is None else round(metric.stable_ratio, 4),
            "canarySamples": metric.canary_samples,
            "stableSamples": metric.stable_samples if verdict.compared else None,
        }
        for metric in verdict.metrics
    ]
    rates = zip(("canaryTokensPerSecond", "stableTokensPerSecond"), verdict.tokens_per_second, strict=True)
    return {
        **{name: round(rate, 1) for name, rate in rates if rate is not None},
        "verdict": verdict.outcome,
        "reason": verdict.reason,
        "message": verdict.message,
        "seconds": int(verdict.seconds),
        "results": [{key: value for key, value in one.items() if value is not None} for one in results],
    }
