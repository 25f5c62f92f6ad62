"""The Job of an evaluation: the user's own template, with whom to ask and an end in time."""

import copy
from collections.abc import Iterator

import pytest

from modelfleet.core import names
from modelfleet.core.evaluation import job_name
from tests.unit.core.evaluated_cluster import EvaluatedCluster, evaluating


@pytest.fixture
def fleet() -> Iterator[EvaluatedCluster]:
    yield from evaluating()


def arrive(fleet: EvaluatedCluster) -> str:
    fleet.until(lambda: fleet.jobs)
    return fleet.created[-1]


def test_the_job_is_the_users_with_whom_to_ask_and_an_end(fleet: EvaluatedCluster) -> None:
    name = arrive(fleet)
    job = fleet.manifest(name)
    assert job["metadata"]["labels"] == {
        "kueue.x-k8s.io/queue-name": "evaluations",
        **names.owned_labels(name="chat", revision=fleet.revision),
    }
    assert [o["kind"] for o in job["metadata"]["ownerReferences"]] == ["LLMDeployment"]
    assert (job["spec"]["activeDeadlineSeconds"], job["spec"]["backoffLimit"]) == (600, 1)
    assert "ttlSecondsAfterFinished" not in job["spec"]
    pod = job["spec"]["template"]
    assert pod["metadata"]["labels"] == {names.EVALUATION: "chat"}, "it must not count as a replica"
    golden, recorder = pod["spec"]["containers"]
    told = {
        "MODELFLEET_URL": f"http://chat-{fleet.revision}.team.svc",
        "MODELFLEET_MODEL": "chat",
        "MODELFLEET_REVISION": fleet.revision,
    }
    asks = {"ASK": "$(MODELFLEET_URL)/v1/chat/completions"}
    assert [(e["name"], e["value"]) for e in golden["env"]] == [*told.items(), *asks.items()]
    assert [(e["name"], e["value"]) for e in recorder["env"]] == [*told.items()]


def test_the_users_shorter_deadline_stays(fleet: EvaluatedCluster) -> None:
    template = copy.deepcopy(fleet.template)
    assert template is not None
    template["spec"]["activeDeadlineSeconds"] = 60
    fleet.template = template
    assert fleet.manifest(arrive(fleet))["spec"]["activeDeadlineSeconds"] == 60


def test_names_are_never_longer_than_a_job_may_have() -> None:
    assert len(job_name(name="n" * 45, revision="0" * 10, reached_at=2e9)) == 63
