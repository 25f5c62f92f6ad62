"""The staged cluster with a namespace in which a CronJob may be, and Jobs that end as a test says."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from modelfleet.core import observe
from modelfleet.core.conditions import timestamp
from modelfleet.core.evaluation import awaited
from modelfleet.core.plan import Delete
from modelfleet.core.rollout import memory as remembered
from modelfleet.core.world import EvaluationNews, LastWords
from tests.unit.core.cluster import words
from tests.unit.core.staged_cluster import StagedCluster, scripted

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"kueue.x-k8s.io/queue-name": "evaluations"}},
    "spec": {
        "backoffLimit": 1,
        "ttlSecondsAfterFinished": 1,
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "golden",
                        "image": "golden:1",
                        "env": [
                            {"name": "MODELFLEET_MODEL", "value": "mine"},
                            {"name": "ASK", "value": "$(MODELFLEET_URL)/v1/chat/completions"},
                        ],
                    },
                    {"name": "recorder", "image": "recorder:1"},
                ],
            }
        },
    },
}
EVALUATION = {"cronJobRef": {"name": "golden"}, "minScore": 0.9, "timeoutSeconds": 600}
NO_CRON_JOB = "there is no CronJob"


@dataclass(kw_only=True)
class EvaluatedCluster(StagedCluster):
    """`template`: of the CronJob; None when there is none. `asked`: how often it was looked at."""

    template: dict[str, Any] | None = field(default_factory=lambda: TEMPLATE)
    ends: dict[str, tuple[str, tuple[LastWords, ...]]] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)

    def snapshot(self, **changes: Any) -> Any:
        jobs = tuple(observe.job(self._body(name)) for name in self.jobs)
        found = super().snapshot(jobs=jobs, evaluation=self._news(), **changes)
        assert all(o.kind != "Job" or o.name in self.jobs for o in found.objects)
        return found

    def act(self, action: Any) -> bool:
        done = super().act(action)
        if isinstance(action, Delete):
            self.ends.pop(action.name, None)
        manifest = getattr(action, "manifest", None)
        if done and manifest is not None and manifest["kind"] == "Job":
            self.created.append(manifest["metadata"]["name"])
            manifest["metadata"]["creationTimestamp"] = timestamp(self.now)
        return done

    @property
    def jobs(self) -> list[str]:
        return [name for kind, name in self.objects if kind == "Job"]

    def manifest(self, name: str) -> Any:
        return self.objects["Job", name].body

    def end(self, text: str, *, ended: str = "Complete", pods: int = 1, name: str = "") -> str:
        """Let a Job, the newest one by default, end with these last words; gives its name."""
        name = name or self.created[-1]
        said = LastWords(succeeded=ended == "Complete", ended_at=self.now, text=text)
        self.ends[name] = (ended, (said,) * pods)
        return name

    def vanish(self, name: str) -> None:
        """Let someone delete a Job."""
        del self.objects["Job", name]
        self.ends.pop(name, None)

    def _body(self, name: str) -> dict[str, Any]:
        seen = self.objects["Job", name]
        conditions = [
            {"type": ended, "status": "True", "reason": "BackoffLimitExceeded" if ended == "Failed" else "Done"}
            for ended, _ in [self.ends[name]]
        ] if name in self.ends else []  # fmt: skip
        return {
            **seen.body,
            "metadata": {**seen.body["metadata"], "uid": seen.uid},
            "status": {"conditions": conditions},
        }

    def _news(self) -> EvaluationNews | None:
        """What the shell would have asked for."""
        found = awaited(self.parsed, memory=remembered.read(self.status), name="chat")
        if found is None:
            return None
        if found.job in self.jobs:
            ended = self.ends.get(found.job)
            return EvaluationNews(job=found.job, said=ended[1]) if ended else None
        return EvaluationNews(job=found.job, template=self.template, problem="" if self.template else NO_CRON_JOB)


def evaluating(**rollout: Any) -> Iterator[EvaluatedCluster]:
    """Let a first revision serve, then bring another one to its evaluation."""
    options = {
        "strategy": "Canary",
        "canary": {"steps": [{"weight": 20}, {"weight": 50}]},
        "scaleDownDelaySeconds": 60,
        "analysis": {"evaluation": EVALUATION},
        **rollout,
    }
    with scripted():
        cluster = EvaluatedCluster(spec=words(replicas=2, rollout=options))
        cluster.history()
        cluster.update()
        yield cluster
