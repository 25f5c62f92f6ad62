"""Evaluations on a real control plane with faked nodes: real Jobs, whose pods end as each test says."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.api.fleet import Operator
from tests.api.rollouts import Rollouts, rollouts

pytestmark = pytest.mark.slow

CRON_JOB = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: golden}
spec:
  schedule: "0 0 1 1 *"
  suspend: true
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        spec:
          restartPolicy: Never
          containers: [{name: golden, image: "golden:1"}]
"""
GOOD, BAD = '{"score": 0.93}', '{"score": 0.5}'


@pytest.fixture(scope="module")
def fleet(control_plane):
    with rollouts(plane=control_plane, namespace="evaluations") as found:
        add_cron_job(found, "golden")
        yield found


@pytest.fixture(scope="module", autouse=True)
def operator(fleet, tmp_path_factory):
    with fleet.operator(folder=tmp_path_factory.mktemp("operator")) as operator:
        yield operator


def add_cron_job(fleet: Rollouts, name: str, **job: Any) -> None:
    manifest = yaml.safe_load(CRON_JOB)
    manifest["metadata"] = {"name": name, "namespace": fleet.namespace}
    manifest["spec"]["jobTemplate"]["spec"] |= job
    fleet.plane.apply(manifest)


def begin(fleet: Rollouts, name: str, *, cron_job: str = "golden", **rollout: Any) -> tuple[str, str]:
    """Let a first revision serve, then ask for another one; gives both hashes."""
    evaluation = {"cronJobRef": {"name": cron_job}, "minScore": 0.9}
    analysis = {"intervalSeconds": 5, "minSamples": 10, "minSeconds": 5, "warmupSeconds": 0, "evaluation": evaluation}
    old = fleet.serve(name, **{"analysis": analysis, **rollout})
    fleet.change(name)
    return old, fleet.reach(name, lambda: fleet.rollout(name).get("revision"), what="the rollout")


def pods(fleet: Rollouts, job: str) -> list[dict[str, Any]]:
    label = "batch.kubernetes.io/job-name"
    return [p for p in fleet.list("pods") if (p["metadata"].get("labels") or {}).get(label) == job]


def job_of(fleet: Rollouts, name: str, *, but: str = "") -> str:
    """Wait for a Job whose pod runs; gives its name."""

    def running() -> str:
        jobs = [one["metadata"]["name"] for one in fleet.owned("jobs", name)]
        up = [job for job in jobs if any(p["status"].get("phase") == "Running" for p in pods(fleet, job))]
        return next((job for job in up if job != but), "")

    return str(fleet.reach(name, running, what="the evaluation's Job"))


def end(fleet: Rollouts, job: str, text: str, *, phase: str = "Succeeded") -> None:
    """Let a Job's pod end with these last words."""
    (pod,) = pods(fleet, job)
    ended = {"exitCode": int(phase != "Succeeded"), "message": text, "finishedAt": "2026-01-01T00:00:00Z"}
    container = {
        "name": "golden", "image": "golden:1", "imageID": "", "ready": False, "restartCount": 0,
        "state": {"terminated": ended},
    }  # fmt: skip
    answer = fleet.plane.http.patch(
        f"{fleet.path('pods', pod['metadata']['name'])}/status",
        headers={"Content-Type": "application/strategic-merge-patch+json"},
        content=json.dumps({"status": {"phase": phase, "containerStatuses": [container]}}),
    )
    assert answer.is_success, answer.text


def hold(fleet: Rollouts, name: str) -> str:
    """Wait until it holds for its evaluation; gives the words."""
    fleet.reach(name, lambda: fleet.hold(name) == "Evaluation", what="the hold")
    status, reason = fleet.condition("Progressing", name)
    assert (status, reason) == ("True", "Evaluation")
    return str(fleet.rollout(name)["message"])


def test_a_good_score_lets_the_first_step_begin(fleet: Rollouts):
    _, new = begin(fleet, "good")
    job = job_of(fleet, "good")
    assert fleet.weights("good").get(new, 0) == 0
    (pod,) = pods(fleet, job)
    told = {e["name"]: e["value"] for e in pod["spec"]["containers"][0]["env"]}
    assert told == {
        "MODELFLEET_URL": f"http://good-{new}.evaluations.svc",
        "MODELFLEET_MODEL": "evaluations-good",
        "MODELFLEET_REVISION": new,
    }
    assert len(fleet.pods("good")) == fleet.status("good")["replicas"] == 3, "the Job's pod is no replica"
    end(fleet, job, GOOD)
    fleet.reach("good", lambda: fleet.weights("good").get(new) == 20, what="the first traffic")
    assert fleet.rollout("good")["evaluation"] == {"job": job, "score": 0.93}
    reasons = fleet.reasons("good")
    assert reasons.index("EvaluationPassed") < reasons.index("WeightSet")
    assert [one["metadata"]["name"] for one in fleet.owned("jobs", "good")] == [job]


def test_a_low_score_goes_back_without_any_traffic(fleet: Rollouts):
    old, new = begin(fleet, "low")
    end(fleet, job_of(fleet, "low"), f"40 questions\n{BAD}")
    fleet.reach("low", lambda: "RolledBack" in fleet.reasons("low"), what="the way back")
    assert "WeightSet" not in fleet.reasons("low")
    degraded = fleet.whole_condition("Degraded", "low")
    assert degraded["reason"] == "RolledBack"
    assert "evaluation score 0.5 is below 0.9" in degraded["message"]
    fleet.reach("low", lambda: fleet.revisions_of_pods("low") == {old}, what="the end of its replicas")
    assert fleet.weights("low") == {old: 100}
    assert new not in fleet.weights("low")


def test_a_failed_job_holds_and_resume_runs_it_again(fleet: Rollouts):
    _, new = begin(fleet, "failed")
    first = job_of(fleet, "failed")
    end(fleet, first, "Traceback: no questions", phase="Failed")
    said = hold(fleet, "failed")
    words = (first, "BackoffLimitExceeded", "no questions", f"kubectl logs job/{first}", "rollout resume failed")
    assert [word for word in words if word not in said] == [], said
    assert fleet.weights("failed").get(new, 0) == 0
    assert fleet.act("failed", "resume 1")[0] == "Done"
    second = job_of(fleet, "failed", but=first)
    end(fleet, second, GOOD)
    fleet.reach("failed", lambda: fleet.weights("failed").get(new), what="the first traffic")

    def left() -> list[str]:
        return [one["metadata"]["name"] for one in fleet.owned("jobs", "failed")]

    fleet.until(lambda: left() == [second], what=f"the end of the first Job beside {second}")


def test_a_job_beyond_its_time_holds(fleet: Rollouts):
    add_cron_job(fleet, "slow", activeDeadlineSeconds=1)
    begin(fleet, "late", cron_job="slow")
    assert "DeadlineExceeded" in hold(fleet, "late")


def test_a_missing_cron_job_is_awaited_and_a_refused_job_is_told(fleet: Rollouts):
    _, new = begin(fleet, "waiting", cron_job="later")
    assert hold(fleet, "waiting") == "there is no CronJob later in namespace evaluations; create it, suspended"
    policy = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": fleet.namespace}}
    path = f"/api/v1/namespaces/{fleet.namespace}/resourcequotas/none"
    fleet.plane.apply({**policy, "spec": {"hard": {"count/jobs.batch": "0"}}})
    try:
        fleet.until(lambda: "hard" in fleet.plane.http.get(path).json().get("status", {}), what="the quota")
        add_cron_job(fleet, "later")
        fleet.reach("waiting", lambda: "exceeded quota" in fleet.rollout("waiting")["message"], what="the refusal")
        assert fleet.hold("waiting") == "Evaluation"
        assert fleet.weights("waiting").get(new, 0) == 0
    finally:
        fleet.plane.http.delete(path)
    fleet.until(lambda: admits_jobs(fleet), what="the end of the quota")
    assert fleet.act("waiting", "resume 1")[0] == "Done"
    end(fleet, job_of(fleet, "waiting"), GOOD)
    fleet.reach("waiting", lambda: fleet.weights("waiting").get(new), what="the first traffic")


def admits_jobs(fleet: Rollouts) -> bool:
    """Whether the API server would take one: it learns of a quota's end a moment after that."""
    job = {"metadata": {"name": "tried"}, "spec": yaml.safe_load(CRON_JOB)["spec"]["jobTemplate"]["spec"]}
    return bool(fleet.plane.http.post(fleet.path("jobs"), params={"dryRun": "All"}, json=job).is_success)


def test_killed_and_started_again_there_is_one_job_and_one_end(fleet: Rollouts, operator: Operator):
    _, new = begin(fleet, "killed")
    job = job_of(fleet, "killed")
    operator.kill()
    end(fleet, job, GOOD)
    operator.start()
    fleet.reach("killed", lambda: fleet.weights("killed").get(new), what="the first traffic")
    operator.kill()
    operator.start()
    fleet.reach_promotion("killed", new)
    assert [one["metadata"]["name"] for one in fleet.owned("jobs", "killed")] == [job]


def test_deleted_with_its_llmdeployment_a_job_goes_too(fleet: Rollouts):
    begin(fleet, "gone")
    job = job_of(fleet, "gone")
    fleet.delete("llmdeployments", "gone")
    fleet.until(lambda: not fleet.owned("jobs", "gone") and not pods(fleet, job), what="the end of the Job")
