"""How a new revision is judged: `spec.rollout.analysis`. The method is in docs/explanation/judgement.md.

Must not judge: `core/judgement` does.
"""

from typing import Annotated

from pydantic import ConfigDict, Field

from modelfleet.api.v1alpha1.base import ApiModel, Name, cel, checked, listed_by

Ratio = Annotated[float, Field(gt=0, lt=1)]
BUILT_IN = ("ttft", "interToken", "errors", "badOutputs")
_NAMES = ", ".join(f"'{name}'" for name in BUILT_IN)


class AnalysisMetric(ApiModel):
    """One metric: its own bounds for a built-in one, or a query with an absolute limit."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            cel(
                f"has(self.query) != (self.name in [{_NAMES}])",
                "built-in metrics are ttft, interToken, errors and badOutputs, without a query; every other name needs"
                " a query",
            ),
            cel(
                "has(self.query) == (has(self.min) || has(self.max))",
                "a query needs min or max, and only a query takes them",
            ),
            cel(
                "!has(self.within) || self.name in ['ttft', 'interToken']",
                "within is seconds to the first or next token: for ttft and interToken only",
            ),
            cel(
                "!has(self.minRatio) || self.name in ['ttft', 'interToken']",
                "minRatio is for ttft and interToken; use maxRatio for errors and badOutputs",
            ),
            cel(
                "!has(self.maxRatio) || self.name in ['errors', 'badOutputs']",
                "maxRatio is for errors and badOutputs; use minRatio for ttft and interToken",
            ),
            cel("!has(self.maxDropFromStable) || !has(self.query)", "maxDropFromStable is for built-in metrics"),
        )
    )
    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z][A-Za-z0-9-]*$")] = Field(
        description="ttft, interToken, errors, badOutputs (always judged), or a name of your own with a query."
    )
    within: Annotated[float, Field(gt=0, le=3600)] | None = Field(
        None, description="Seconds that are still good. Default: 1 for ttft, 0.05 for interToken."
    )
    min_ratio: Ratio | None = Field(None, description="Least share of good ones, whatever stable does. Default: none.")
    max_ratio: Ratio | None = Field(
        None,
        description="Largest share of bad ones, whatever stable does. Default: 0.05 for errors, 0.1 for badOutputs.",
    )
    max_drop_from_stable: Ratio | None = Field(
        None,
        description="How much worse than stable it must not be, as a share. Default: 0.05 for latencies, 0.01 for errors"
        " and badOutputs.",
    )
    query: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        None, description="PromQL with one number as its answer; $namespace, $name, $canary and $stable are replaced."
    )
    min: float | None = Field(None, description="Least value of the query.")
    max: float | None = Field(None, description="Largest value of the query.")


class CronJobRef(ApiModel):
    """A CronJob in the LLMDeployment's own namespace, suspended: its jobTemplate is run."""

    name: Name = Field(description="Name of the CronJob.")


class Evaluation(ApiModel):
    """A golden set, run against the new revision before it gets any real traffic."""

    cron_job_ref: CronJobRef = Field(
        description="The Job to run; it gets MODELFLEET_URL, MODELFLEET_MODEL and MODELFLEET_REVISION, and writes"
        ' {"score": 0.93} to its termination message.'
    )
    min_score: Annotated[float, Field(ge=0, le=1_000_000)] = Field(description="Least score that may be routed to.")
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        1800, description="Seconds until a Job without a score counts as failed. Default: 1800."
    )


class Analysis(ApiModel):
    """How a canary is judged against stable."""

    interval_seconds: Annotated[int, Field(ge=5, le=300)] = Field(
        15, description="Seconds of one block; not below Prometheus' scrape interval. Default: 15."
    )
    min_samples: Annotated[int, Field(ge=10, le=1_000_000)] = Field(
        50, description="Requests of each revision before a Pass. Default: 50."
    )
    min_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        300, description="Seconds per step before a Pass; more than 432 intervals count as so many. Default: 300."
    )
    warmup_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        120,
        description="Seconds of every step, from its first request, that do not count: caches are cold. Default: 120.",
    )
    metrics: Annotated[tuple[AnalysisMetric, ...], Field(max_length=16)] = Field(
        (), description="Bounds for the built-in metrics, and further queries.", json_schema_extra=listed_by("name")
    )
    evaluation: Evaluation | None = Field(None, description="A test set before any real traffic. Default: none.")
