"""What an evaluation needs from the API besides what is watched: the CronJob's jobTemplate, and a Job's last words.

Asked for only while a rollout stands at its evaluation; an answer is kept, so that no pass asks twice. Must not write or
decide.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelfleet.adapters.errors import Gone, Refused
from modelfleet.adapters.kube import Kube
from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core import observe
from modelfleet.core.evaluation import Awaited, awaited
from modelfleet.core.rollout import memory as remembered
from modelfleet.core.world import EvaluationNews, Job
from modelfleet.shell.cache import Cache
from modelfleet.shell.queue import Key

TEMPLATE_SECONDS = 15.0
"""How long a CronJob, or that there is none, is not asked for again."""
REFUSED_SECONDS = 60.0
"""After that a refused Job is tried again: what refused it may have changed."""


@dataclass(frozen=True, kw_only=True)
class _Known:
    about: str
    until: float
    news: EvaluationNews


class Evaluations:
    """The last answer about each LLMDeployment that is being evaluated."""

    def __init__(self, *, kube: Kube, cache: Cache, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube, self._cache, self._clock = kube, cache, clock
        self._known: dict[Key, _Known] = {}

    async def find(self, key: Key, *, body: Mapping[str, Any], spec: LLMDeploymentSpec | None) -> EvaluationNews | None:
        """Answer what the evaluation lacks now: its template, or what it said; None when it lacks nothing.

        Raises:
            ApiProblem: the API server did not say.
        """
        found = None
        if spec is not None and spec.rollout.analysis.evaluation is not None:
            found = awaited(spec, memory=remembered.read(body.get("status") or {}), name=key[1])
        if found is None:
            self.forget(key)
            return None
        jobs = self._cache.records(key, kind="Job", uid=body["metadata"]["uid"])
        job: Job | None = next((one for one in jobs if one.name == found.job), None)
        if job is not None and not job.ended:
            return None
        about = job.uid if job else found.job
        known = self._known.get(key)
        if known is None or known.about != about or self._clock() >= known.until:
            news = await self._words(key, job) if job else await self._template(key, found)
            until = math.inf if job else self._clock() + TEMPLATE_SECONDS
            known = self._known[key] = _Known(about=about, until=until, news=news)
        return known.news

    async def _template(self, key: Key, found: Awaited) -> EvaluationNews:
        name = f"CronJob {found.cron_job}"
        try:
            body = await self._kube.get(api_version="batch/v1", kind="CronJob", namespace=key[0], name=found.cron_job)
        except Gone:
            return EvaluationNews(
                job=found.job, problem=f"there is no {name} in namespace {key[0]}; create it, suspended"
            )
        except Refused as error:
            return EvaluationNews(job=found.job, problem=f"{name} cannot be read: {error}; install the chart's RBAC")
        return EvaluationNews(job=found.job, template=body["spec"]["jobTemplate"])

    async def _words(self, key: Key, job: Job) -> EvaluationNews:
        pods = await self._kube.list(
            api_version="v1", kind="Pod", namespace=key[0], selector=f"batch.kubernetes.io/controller-uid={job.uid}"
        )
        said = sorted((observe.last_words(pod) for pod in pods), key=lambda words: words.ended_at)
        return EvaluationNews(job=job.name, said=tuple(said))

    def refused(self, key: Key, *, message: str) -> None:
        """Note that the API server refused the Job of the template that was found."""
        news = self._known[key].news
        problem = f"the API server refuses Job {news.job}: {message}; correct the CronJob's jobTemplate"
        self._known[key] = _Known(
            about=news.job,
            until=self._clock() + REFUSED_SECONDS,
            news=EvaluationNews(job=news.job, problem=problem),
        )

    def forget(self, key: Key) -> None:
        """Drop what is known of an LLMDeployment that is not evaluated, or gone."""
        self._known.pop(key, None)
