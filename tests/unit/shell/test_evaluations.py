"""What is asked of the API while a rollout stands at its evaluation: once, and nothing anywhere else."""

from typing import Any

import pytest

from modelfleet.adapters.errors import Gone, Refused, Transient
from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core import names
from modelfleet.core.evaluation import job_name
from modelfleet.core.world import EvaluationNews, LastWords
from modelfleet.shell.cache import Cache
from modelfleet.shell.evaluations import REFUSED_SECONDS, TEMPLATE_SECONDS, Evaluations

KEY = ("team", "chat")
SPEC = LLMDeploymentSpec.model_validate(
    {
        "model": {"uri": "hf://a/b"},
        "replicas": 1,
        "rollout": {
            "strategy": "Canary",
            "analysis": {"evaluation": {"cronJobRef": {"name": "golden"}, "minScore": 0.9}},
        },
    }
)
REVISION = "0123456789"
JOB = job_name(name="chat", revision=REVISION, reached_at=60.0)
CRON_JOB = {"spec": {"suspend": True, "jobTemplate": {"spec": {"backoffLimit": 3}}}}


def job(*conditions: str) -> dict[str, Any]:
    return {
        "kind": "Job",
        "metadata": {
            "name": JOB,
            "namespace": "team",
            "uid": "j1",
            "resourceVersion": "7",
            "labels": names.owned_labels(name="chat", revision=REVISION),
            "ownerReferences": [{"uid": "u1"}],
        },
        "status": {"conditions": [{"type": one, "status": "True"} for one in conditions]},
    }


def pod(*, phase: str, text: str, second: int) -> dict[str, Any]:
    ended = {"finishedAt": f"1970-01-01T00:00:{second:02}Z", "message": text}
    return {"status": {"phase": phase, "containerStatuses": [{"state": {"terminated": ended}}]}}


class Api:
    """Has one CronJob at most, and the pods of one Job."""

    def __init__(self) -> None:
        self.cron_job: dict[str, Any] | Exception = CRON_JOB
        self.pods: list[dict[str, Any]] = []
        self.asked: list[str] = []

    async def get(self, *, kind: str, name: str, **_: Any) -> dict[str, Any]:
        self.asked.append(f"{kind}/{name}")
        if isinstance(self.cron_job, Exception):
            raise self.cron_job
        return self.cron_job

    async def list(self, *, kind: str, selector: str, **_: Any) -> list[dict[str, Any]]:
        self.asked.append(f"{kind} {selector}")
        return self.pods


class World:
    def __init__(self) -> None:
        self.api, self.cache, self.now = Api(), Cache(), 0.0
        self.evaluations = Evaluations(kube=self.api, cache=self.cache, clock=lambda: self.now)  # type: ignore[arg-type]
        self.rollout: dict[str, Any] = {"revision": REVISION, "stepStartedAt": "1970-01-01T00:01:00Z"}

    async def find(self) -> EvaluationNews | None:
        body = {"metadata": {"uid": "u1"}, "status": {"rollout": self.rollout}}
        return await self.evaluations.find(KEY, body=body, spec=SPEC)


@pytest.fixture
def world() -> World:
    return World()


async def test_the_template_is_asked_for_once_in_a_while(world: World) -> None:
    for _ in range(3):
        assert await world.find() == EvaluationNews(job=JOB, template={"spec": {"backoffLimit": 3}})
    assert world.api.asked == ["CronJob/golden"]
    world.now = TEMPLATE_SECONDS
    await world.find()
    assert len(world.api.asked) == 2


@pytest.mark.parametrize(
    "rollout", [{}, {"revision": REVISION}, {"revision": REVISION, "stepStartedAt": "1970-01-01T00:01:00Z", "step": 1}]
)
async def test_elsewhere_nothing_is_asked(world: World, rollout: dict[str, Any]) -> None:
    world.rollout = rollout
    assert await world.find() is None
    assert world.api.asked == []


async def test_while_the_job_runs_nothing_is_asked(world: World) -> None:
    world.cache.observe(job())
    assert await world.find() is None
    assert world.api.asked == []


async def test_the_last_words_are_asked_for_once(world: World) -> None:
    world.cache.observe(job("SuccessCriteriaMet", "Complete"))
    world.api.pods = [pod(phase="Succeeded", text='{"score": 1}', second=9), pod(phase="Failed", text="no", second=5)]
    for _ in range(3):
        found = await world.find()
    assert found == EvaluationNews(
        job=JOB,
        said=(
            LastWords(succeeded=False, ended_at=5.0, text="no"),
            LastWords(succeeded=True, ended_at=9.0, text='{"score": 1}'),
        ),
    )
    assert world.api.asked == ["Pod batch.kubernetes.io/controller-uid=j1"]


async def test_a_missing_cron_job_is_said_and_looked_for_again(world: World) -> None:
    world.api.cron_job = Gone("not found")
    found = await world.find()
    assert found is not None
    assert found.problem == "there is no CronJob golden in namespace team; create it, suspended"
    world.api.cron_job = CRON_JOB
    world.now = TEMPLATE_SECONDS
    found = await world.find()
    assert found is not None
    assert (found.problem, found.template) == ("", {"spec": {"backoffLimit": 3}})


async def test_a_cron_job_that_may_not_be_read_is_said(world: World) -> None:
    world.api.cron_job = Refused("cronjobs is forbidden")
    found = await world.find()
    assert found is not None
    assert "cronjobs is forbidden" in found.problem


async def test_no_answer_is_no_word_on_it(world: World) -> None:
    world.api.cron_job = Transient("time-out")
    with pytest.raises(Transient):
        await world.find()


async def test_a_refused_job_is_said_and_tried_again_later(world: World) -> None:
    await world.find()
    world.evaluations.refused(KEY, message="exceeded quota")
    world.now = TEMPLATE_SECONDS
    found = await world.find()
    assert found is not None
    assert (found.template, "exceeded quota" in found.problem, JOB in found.problem) == (None, True, True)
    world.now = REFUSED_SECONDS
    found = await world.find()
    assert found is not None
    assert found.template is not None
