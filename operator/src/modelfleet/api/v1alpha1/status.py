"""What the operator reports: the `status` of an LLMDeployment, written as a whole once per pass.

Machines read `conditions`; `phase` and messages are for people. Lists are bounded and short: status is read often.
It must not hold what can be observed again, except for people's eyes: the operator never reads those back.
"""

from typing import Annotated, Literal

from pydantic import Field

from modelfleet.api.v1alpha1.base import ATOMIC, Message, StatusModel, Time, Word, listed_by

Count = Annotated[int, Field(ge=0, le=1_000_000)]


class Condition(StatusModel):
    """One answer, in the form of metav1.Condition."""

    type: Word = Field(description="What is answered: Ready, Progressing, Degraded, Valid and so on.")
    status: Literal["True", "False", "Unknown"] = Field(description="The answer.")
    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        None, description="metadata.generation that the answer is about."
    )
    last_transition_time: Time = Field(description="When `status` last changed.")
    reason: Word = Field(description="One CamelCase word for machines.")
    message: Message = Field("", description="A sentence that says what to do next.")


class Decision(StatusModel):
    """One change that the operator made or advised, and why."""

    time: Time = Field(description="When it was decided.")
    kind: Word = Field(description="What was decided: Scale, Rollout, Repair and so on.")
    from_: Word | None = Field(None, alias="from", description="What it was.")
    to: Word | None = Field(None, description="What it became.")
    reason: Word = Field(description="One CamelCase word for machines.")
    message: Message = Field("", description="Inputs and arithmetic in a sentence.")


class RevisionStatus(StatusModel):
    """One revision and what runs of it."""

    name: Annotated[str, Field(max_length=63)] = Field(description="Name of its Deployment and Service.")
    hash: Word = Field(description="Hash of the user's words that make this revision.")
    role: Literal["stable", "new", "canary", "preview", "old"] = Field(
        description="stable serves; new, canary or preview is to take over, by the strategy; old is leaving."
    )
    weight: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="Percent of the traffic that it is to get; absent where traffic follows the ready replicas."
    )
    replicas: Count = Field(0, description="Pods that exist.")
    ready: Count = Field(0, description="Pods that are ready.")
    rendering_version: Word | None = Field(None, description="Version of the operator's renderer that wrote its pods.")


class MetricResult(StatusModel):
    """What one metric says of the canary."""

    name: Word = Field(description="The metric.")
    verdict: Word = Field(description="Pass, Fail, Inconclusive or NoData.")
    reason: Word | None = Field(None, description="One CamelCase word for machines.")
    message: Message | None = Field(None, description="The numbers in a sentence.")
    canary_ratio: float | None = Field(None, description="Share of bad events on the canary, or a query's value.")
    stable_ratio: float | None = Field(None, description="Share of bad events on stable.")
    canary_samples: Count | None = Field(None, description="Requests behind it on the canary.")
    stable_samples: Count | None = Field(None, description="Requests behind it on stable.")


class AnalysisStatus(StatusModel):
    """The judgement of the present step, or the last one."""

    verdict: Word | None = Field(None, description="Pass, Fail, Inconclusive or NoData.")
    reason: Word | None = Field(None, description="One CamelCase word for machines.")
    message: Message | None = Field(None, description="The numbers in a sentence.")
    seconds: Count | None = Field(None, description="Seconds that count so far in this step.")
    windows: Count | None = Field(None, description="Windows opened in this rollout; they share the error budget.")
    latency_proven: bool | None = Field(None, description="Whether latency passed under like load.")
    canary_tokens_per_second: float | None = Field(
        None, description="Tokens per second of the canary in this step: told, not judged, for it follows the load."
    )
    stable_tokens_per_second: float | None = Field(None, description="Those of stable.")
    results: Annotated[tuple[MetricResult, ...], Field(max_length=32)] = Field(
        (), description="Per metric.", json_schema_extra=ATOMIC
    )
    notes: Annotated[tuple[Message, ...], Field(max_length=8)] = Field(
        (), description="What is judged otherwise than asked for, or not at all, and why.", json_schema_extra=ATOMIC
    )


class EvaluationStatus(StatusModel):
    """The evaluation before any traffic."""

    job: Word | None = Field(None, description="Name of its Job.")
    score: float | None = Field(None, description="What it reported; absent while there is none.")


class ActionStatus(StatusModel):
    """The answer to the last action annotation."""

    id: Word = Field(description="The action's id.")
    result: Literal["Done", "Refused", "Stale"] = Field(description="What became of it.")
    message: Message | None = Field(None, description="Why.")


class Override(StatusModel):
    """Another revision than the spec asks for: after an abort, a rollback, or rollback-to. It ends with the next spec."""

    spec_revision: Word = Field(description="Hash of the revision that the spec asks for.")
    revision: Word = Field(description="Hash of the revision that is served instead.")
    reason: Word = Field(description="Aborted, RolledBack or RollbackTo.")
    message: Message | None = Field(None, description="Why.")


class RolloutStatus(StatusModel):
    """Where a revision change stands."""

    strategy: Word | None = Field(None, description="spec.rollout.strategy in use.")
    revision: Word | None = Field(None, description="Hash of the revision that is taking over.")
    phase: Word | None = Field(
        None,
        description="Provisioning, Warming, Preview, Evaluating, Mirror, Step, Paused, Hold, Promoting, Draining, Aborting"
        " or Suspended.",
    )
    step: Count | None = Field(None, description="Steps done; the present one is the next.")
    stage: Word | None = Field(
        None, description="Name of the present step, by which it is found again when the steps are edited."
    )
    steps: Count | None = Field(None, description="Steps in all.")
    weight: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="Percent of the traffic that the new revision is to get."
    )
    mirror: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="Percent of the requests that are copied to the new revision."
    )
    plan: Message | None = Field(None, description="What will happen next, in a sentence.")
    message: Message | None = Field(None, description="Why it stands where it stands.")
    hold: Word | None = Field(
        None,
        description="What holds it up: ManualPause, InsufficientCapacity, NoData, Inconclusive, MinSamples, Window,"
        " RouterUnverified, Evaluation, Failed or StableUnhealthy.",
    )
    hold_started_at: Time | None = Field(None, description="Since when.")
    paused: Word | None = Field(None, description="Why it waits for a person; promote, resume or abort ends it.")
    pause_message: Message | None = Field(None, description="The same in a sentence.")
    go: bool | None = Field(None, description="Whether promote was asked for at this step.")
    full: bool | None = Field(None, description="Whether promote-full was asked for.")
    started_at: Time | None = Field(None, description="When this revision change began.")
    weight_set_at: Time | None = Field(None, description="When the weights were last set.")
    step_started_at: Time | None = Field(None, description="When the present step began: every Envoy knows its weight.")
    progressed_at: Time | None = Field(None, description="Since when the next replica is awaited.")
    gpus: Count | None = Field(
        None,
        description="Devices that this revision change has had at once; what it gives up for a moment stays its own until"
        " it ends.",
    )
    capacity_wait_started_at: Time | None = Field(None, description="Since when devices are missing.")
    analysis: AnalysisStatus | None = Field(None, description="The judgement.")
    evaluation: EvaluationStatus | None = Field(None, description="The evaluation, with its score.")
    previous: Word | None = Field(None, description="Hash of the stable revision before the last promotion.")
    promoted_at: Time | None = Field(None, description="When the last promotion was.")
    watching: bool | None = Field(
        None, description="Whether the last promotion was a switch of two whole sets that its limits may take back."
    )
    ended_at: Time | None = Field(None, description="When the new revision lost its traffic by an abort.")
    override: Override | None = Field(None, description="Another revision than the spec asks for.")
    last_action: ActionStatus | None = Field(None, description="The answer to the last action annotation.")


class ScalingStatus(StatusModel):
    """What scaling wants."""

    desired: Count | None = Field(None, description="Replicas that are asked for.")
    advised: Count | None = Field(None, description="Replicas that mode Advise would ask for.")
    binding: Word | None = Field(
        None, description="What decided: a metric's type; Nodes while replicas that have no node hold a scale-out."
    )
    last_scale_time: Time | None = Field(None, description="When the replicas were last changed.")


class LLMDeploymentStatus(StatusModel):
    """The whole report."""

    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        None, description="metadata.generation that this status is about."
    )
    phase: Word | None = Field(None, description="One word for people; machines read conditions.")
    url: Annotated[str, Field(max_length=512)] | None = Field(None, description="Address inside the cluster.")
    replicas: Count | None = Field(None, description="Pods that exist, over all revisions.")
    ready_replicas: Count | None = Field(None, description="Pods that are ready.")
    updated_replicas: Count | None = Field(None, description="Pods of the revision that the spec asks for.")
    selector: Annotated[str, Field(max_length=1024)] | None = Field(
        None, description="Label selector of the pods, for the scale subresource."
    )
    gpus: Count | None = Field(None, description="Devices that the pods claim.")
    revisions: Annotated[tuple[RevisionStatus, ...], Field(max_length=64)] = Field(
        (), description="Revisions that exist.", json_schema_extra=listed_by("name")
    )
    rollout: RolloutStatus | None = Field(None, description="Where a revision change stands.")
    scaling: ScalingStatus | None = Field(None, description="How many replicas are wanted, and by what.")
    decisions: Annotated[tuple[Decision, ...], Field(max_length=10)] = Field(
        (), description="The last ten decisions, oldest first.", json_schema_extra=ATOMIC
    )
    conditions: Annotated[tuple[Condition, ...], Field(max_length=32)] = Field(
        (), description="Answers for machines.", json_schema_extra=listed_by("type")
    )
