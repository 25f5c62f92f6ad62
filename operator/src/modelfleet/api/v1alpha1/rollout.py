"""How a new revision takes over: `spec.rollout`. It restarts nothing: no revision depends on it.

Must not decide what a rollout does next: `core/rollout` does.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from modelfleet.api.v1alpha1.analysis import Analysis
from modelfleet.api.v1alpha1.base import ATOMIC, ApiModel, cel, checked

Seconds = Annotated[int, Field(ge=1, le=86_400)]
Percent = Annotated[int, Field(ge=1, le=100)]


class Pause(ApiModel):
    """A wait for a person, or for a time."""

    seconds: Seconds | None = Field(None, description="Seconds until it goes on. Default: until someone promotes.")


class Step(ApiModel):
    """One stage of a canary: a share of the traffic, or a pause."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            cel("has(self.weight) != has(self.pause)", "give a step either a weight or a pause"),
            cel("!has(self.minSeconds) || has(self.weight)", "minSeconds belongs to a weight; use pause.seconds"),
        )
    )
    weight: Percent | None = Field(None, description="Percent of the traffic that the new revision gets.")
    min_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = Field(
        None, description="Seconds at this weight at least. Default: as long as the analysis needs."
    )
    pause: Pause | None = Field(None, description="Waits before the next step.")


class MirrorStep(ApiModel):
    """Copies of real requests to the new revision, before it answers any."""

    percent: Percent = Field(description="Percent of the requests that are copied; the copies' answers are dropped.")
    min_seconds: Seconds = Field(300, description="Seconds of it. Default: 300.")


DEFAULT_STEPS = (Step(weight=5), Step(weight=25), Step(weight=50))


class Canary(ApiModel):
    """A new revision that gets its traffic in steps, each judged."""

    replicas: int | str = Field(
        "Proportional",
        description="Replicas of the new revision below 100 %. Proportional: they follow the weight, so that every"
        " replica carries the same load. A number is cut to what maxSurge and maxUnavailable leave beside the stable"
        " revision's share. Default: Proportional.",
        json_schema_extra=checked(
            cel(
                "type(self) == int ? self >= 1 && self <= 1000 : self == 'Proportional'",
                "write Proportional, or a number from 1 to 1000",
            ),
            maxLength=12,
        ),
    )
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=32)] = Field(
        DEFAULT_STEPS,
        description="In this order; 100 % comes by itself after the last. Default: weights 5, 25 and 50.",
        json_schema_extra=checked(
            cel(
                "self.filter(s, has(s.weight)).map(s, s.weight)"
                ".all(w, self.filter(s, has(s.weight) && s.weight == w).size() == 1)"
                " && self.filter(s, has(s.weight)).map(s, s.weight).isSorted()",
                "weights must rise from step to step",
            ),
            cel(
                "self.exists(s, has(s.weight) && s.weight < 100)",
                "100 % is given after a judged step only, and comes by itself; add a step with a weight below 100",
            ),
            **ATOMIC,
        ),
    )
    mirror: MirrorStep | None = Field(None, description="A step before the first weight. Default: none.")


class BlueGreen(ApiModel):
    """A whole new revision beside the old one, and one switch."""

    auto_promote: bool = Field(
        False,  # noqa: FBT003 - a field's default
        description="true: switches by itself when it is ready, its evaluation passed, and every absolute limit in"
        " analysis.metrics is kept on the preview's own traffic. Default: false.",
    )
    preview_replicas: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, description="Replicas until the switch is near. Default: as many as the old revision has."
    )


class ChangeWindow(ApiModel):
    """When rollouts may start and advance. Abort, automatic rollback and rollback-to always may."""

    timezone: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        "UTC", description="IANA name, for example Europe/Berlin. Default: UTC."
    )
    cron: Annotated[str, Field(min_length=9, max_length=128)] = Field(
        description="When it opens: minute, hour, day, month, weekday.",
        json_schema_extra=checked(
            cel(r"self.matches('^\\S+( \\S+){4}$')", "write five fields: minute hour day month weekday, as 0 7 * * 1-5")
        ),
    )
    duration_minutes: Annotated[int, Field(ge=1, le=10_080)] = Field(description="Minutes that it stays open.")


class Rollout(ApiModel):
    """How a new revision takes over."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            cel(
                "has(self.capacity) && self.capacity == 'InPlace' || !has(self.maxSurge) || self.maxSurge > 0"
                " || (has(self.maxUnavailable) && self.maxUnavailable > 0)",
                "with maxSurge 0 and maxUnavailable 0 no replica could ever be replaced; raise one of them,"
                " or set capacity: InPlace",
            ),
            cel(
                "!has(self.capacity) || self.capacity != 'Surge' || !has(self.maxSurge) || self.maxSurge > 0",
                "capacity Surge needs maxSurge of 1 or more; raise it or set capacity: Auto",
            ),
            cel(
                "!has(self.canary) || (has(self.strategy) && self.strategy == 'Canary')",
                "canary is read with strategy: Canary only; set it or remove canary",
            ),
            cel(
                "!has(self.strategy) || self.strategy != 'BlueGreen' || !has(self.analysis)"
                " || !has(self.analysis.metrics) || self.analysis.metrics.all(m, !has(m.maxDropFromStable))",
                "strategy BlueGreen compares nothing, for its two sets never share the traffic; replace maxDropFromStable"
                " by an absolute limit (minRatio, maxRatio or a query), or choose strategy Canary",
            ),
            cel(
                "!has(self.blueGreen) || (has(self.strategy) && self.strategy == 'BlueGreen')",
                "blueGreen is read with strategy: BlueGreen only; set it or remove blueGreen",
            ),
            cel(
                "!has(self.analysis) || (has(self.strategy) && self.strategy in ['Canary', 'BlueGreen'])",
                "analysis is read with strategy Canary or BlueGreen only, and nothing else would be judged;"
                " set one of them or remove analysis",
            ),
        )
    )
    strategy: Literal["RollingUpdate", "Canary", "BlueGreen", "Recreate"] = Field(
        "RollingUpdate",
        description="RollingUpdate: replica by replica. Canary: traffic in judged steps. BlueGreen: a whole second set,"
        " then one switch. Recreate: the old ones end first. Canary and BlueGreen need a gateway."
        " Default: RollingUpdate.",
    )
    max_surge: Annotated[int, Field(ge=0, le=1000)] = Field(1, description="Replicas above the wish. Default: 1.")
    max_unavailable: Annotated[int, Field(ge=0, le=1000)] = Field(
        0, description="Replicas that may be missing meanwhile. Default: 0."
    )
    capacity: Literal["Auto", "Surge", "InPlace"] = Field(
        "Auto",
        description="Auto surges when devices are free, else goes as far as maxUnavailable allows, else waits and says"
        " what is missing. Surge creates first and never deletes first. InPlace deletes first. Default: Auto.",
    )
    canary: Canary | None = Field(None, description="Steps of strategy Canary.")
    blue_green: BlueGreen | None = Field(None, description="Options of strategy BlueGreen.")
    analysis: Analysis = Field(
        default_factory=Analysis,
        description="How a canary is judged; of blue-green the absolute limits only, before and after the switch.",
    )
    on_failure: Literal["Rollback", "Pause"] = Field(
        "Rollback", description="After a Fail: back to the stable revision, or wait for a person. Default: Rollback."
    )
    on_inconclusive: Literal["Pause", "Continue"] = Field(
        "Pause",
        description="When the test stayed undecided. Continue goes on where minSamples was reached; 100 % always needs a"
        " Pass. Default: Pause.",
    )
    on_no_data: Literal["Hold"] = Field(
        "Hold", description="Without data it holds, and pauses after maxHoldSeconds. Default: Hold."
    )
    progress_deadline_seconds: Seconds = Field(
        1800,
        description="Seconds in which no new replica finds a node, starts its container or becomes ready, until"
        " Degraded; longer than the longest download of a model. Default: 1800.",
    )
    capacity_timeout_seconds: Seconds = Field(
        300, description="Seconds after which a pod that no node can take is given back. Default: 300."
    )
    max_hold_seconds: Seconds = Field(3600, description="Seconds without data after which it pauses. Default: 3600.")
    abort_scale_down_delay_seconds: Annotated[int, Field(ge=0, le=60)] = Field(
        30, description="Seconds that an aborted revision's replicas stay, without traffic; at most 60. Default: 30."
    )
    scale_down_delay_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        600,
        description="Seconds that the old revision stays warm after a promotion of Canary or BlueGreen. Default: 600.",
    )
    window: ChangeWindow | None = Field(None, description="When rollouts may start and advance. Default: always.")
    revision_history_limit: Annotated[int, Field(ge=0, le=50)] = Field(
        5, description="Old revisions kept for going back. Default: 5."
    )
