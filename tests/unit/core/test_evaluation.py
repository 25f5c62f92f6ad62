"""Evaluations on the pure cluster: one Job before any traffic, what its score leads to, and what no score does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from modelfleet.core import names
from modelfleet.core.decide import decide
from modelfleet.core.plan import Create, Plan
from tests.unit.core.evaluated_cluster import EVALUATION, NO_CRON_JOB, EvaluatedCluster, evaluating

GOOD, BAD = '{"score": 0.93}', '{"score": 0.5}'


@pytest.fixture
def fleet() -> Iterator[EvaluatedCluster]:
    yield from evaluating()


@pytest.fixture
def make() -> Iterator[Callable[..., EvaluatedCluster]]:
    open_: list[Any] = []

    def make(**rollout: Any) -> EvaluatedCluster:
        manager = contextmanager(evaluating)(**rollout)
        open_.append(manager)
        cluster: EvaluatedCluster = manager.__enter__()
        return cluster

    yield make
    for manager in open_:
        manager.__exit__(None, None, None)


def arrive(fleet: EvaluatedCluster) -> str:
    """Run until the Job exists; gives its name."""
    fleet.until(lambda: fleet.jobs)
    return fleet.created[-1]


def message(fleet: EvaluatedCluster) -> str:
    return str(fleet.condition("Progressing")["message"])


def routed(fleet: EvaluatedCluster) -> int:
    return int(fleet.weights.get(fleet.revision, 0))


def held(fleet: EvaluatedCluster) -> Callable[[], bool]:
    return lambda: fleet.rollout.get("hold") == "Evaluation"


def test_nothing_is_routed_before_the_score_and_then_it_goes_on(fleet: EvaluatedCluster) -> None:
    name = arrive(fleet)
    for _ in range(20):
        fleet.turn()
    assert (routed(fleet), fleet.rollout["phase"], fleet.created) == (0, "Evaluating", [name])
    assert fleet.rollout["evaluation"] == {"job": name}
    fleet.end(GOOD)
    fleet.until(lambda: routed(fleet) == 20)
    assert fleet.rollout["evaluation"] == {"job": name, "score": 0.93}
    said = {d["reason"]: d["message"] for d in fleet.status["decisions"]}
    assert said["EvaluationPassed"] == "evaluation score 0.93 is at least 0.9"
    fleet.until(lambda: routed(fleet) == 100)
    assert fleet.created == [name]
    fleet.history()
    assert fleet.silent()


def test_a_waiting_evaluation_costs_no_writes(fleet: EvaluatedCluster) -> None:
    arrive(fleet)
    fleet.turn()
    assert fleet.silent()


def test_a_low_score_is_rolled_back_without_a_request(fleet: EvaluatedCluster) -> None:
    before = next(iter(fleet.weights))
    arrive(fleet)
    fleet.end(BAD)
    seen = fleet.history()
    assert all(set(weights) == {before} for weights, _ in seen), "no weight ever"
    assert fleet.counts() == {before: 2}
    degraded = fleet.condition("Degraded")
    assert degraded["reason"] == "RolledBack"
    assert "evaluation score 0.5 is below 0.9" in degraded["message"]
    assert "EvaluationFailed" in fleet.reasons


def test_a_low_score_pauses_where_the_user_wants_that_and_resume_asks_anew(
    make: Callable[..., EvaluatedCluster],
) -> None:
    fleet = make(onFailure="Pause")
    first = arrive(fleet)
    fleet.end(BAD)
    fleet.until(lambda: fleet.rollout.get("paused") == "Failed")
    fleet.vanish(first)
    for _ in range(5):
        fleet.turn()
    assert (routed(fleet), fleet.created) == (0, [first]), "the score is remembered"
    fleet.act_on("resume 1")
    fleet.until(lambda: fleet.created != [first])
    fleet.end(GOOD)
    fleet.until(lambda: routed(fleet) == 20)


FAILURES = {
    "the Job failed": ("Failed", "Traceback: no such host", ("failed (BackoffLimitExceeded)", "no such host")),
    "no last words": ("Failed", "", ("failed (BackoffLimitExceeded);",)),
    "a failed Job with a score": ("Failed", GOOD, ("failed",)),
    "no score": ("Complete", "all well", ("gave no score", "all well", '{"score": 0.93}')),
    "nothing said": ("Complete", "", ("gave no score;",)),
    "not a number": ("Complete", '{"score": "high"}', ("gave no score",)),
    "NaN": ("Complete", '{"score": NaN}', ("gave no score",)),
    "infinite": ("Complete", '{"score": 1e999}', ("gave no score",)),
    "a whole number too long": ("Complete", '{"score": 1' + "0" * 400 + "}", ("gave no score",)),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_no_score_holds_and_says_what_to_do(fleet: EvaluatedCluster, failure: str) -> None:
    ended, text, said = FAILURES[failure]
    name = arrive(fleet)
    fleet.end(text, ended=ended)
    fleet.until(held(fleet))
    for _ in range(20):
        fleet.turn()
    assert (routed(fleet), fleet.created) == (0, [name])
    words = (*said, name, f"kubectl logs job/{name} -n team", "kubectl modelfleet rollout resume chat")
    assert [one for one in words if one not in message(fleet)] == [], message(fleet)
    assert fleet.silent()


def test_resume_runs_a_failed_one_again_and_only_the_newest_is_kept(fleet: EvaluatedCluster) -> None:
    first = arrive(fleet)
    fleet.end("broken", ended="Failed")
    fleet.until(held(fleet))
    fleet.act_on("resume 1")
    fleet.until(lambda: fleet.created != [first])
    second = fleet.created[-1]
    fleet.until(lambda: fleet.jobs == [second])
    fleet.end(GOOD)
    fleet.until(lambda: routed(fleet) == 20)
    assert fleet.created == [first, second]


def test_a_failed_one_that_is_deleted_runs_again(fleet: EvaluatedCluster) -> None:
    name = arrive(fleet)
    fleet.end("broken", ended="Failed")
    fleet.until(held(fleet))
    fleet.vanish(name)
    fleet.until(lambda: fleet.created == [name, name])


def test_promote_goes_on_without_a_score_and_stops_what_runs(fleet: EvaluatedCluster) -> None:
    arrive(fleet)
    fleet.act_on("promote 1")
    fleet.until(lambda: routed(fleet) == 20)
    assert fleet.jobs == [], "it would be counted as the users' requests"


def test_an_abort_stops_it(fleet: EvaluatedCluster) -> None:
    arrive(fleet)
    fleet.act_on("abort 1")
    fleet.until(lambda: not fleet.jobs)
    assert fleet.roles.get(fleet.revision) != "stable"


def test_a_new_revision_stops_it_and_gets_its_own(fleet: EvaluatedCluster) -> None:
    first = arrive(fleet)
    fleet.update(seed=2)
    fleet.until(lambda: len(fleet.created) == 2)
    second = fleet.created[-1]
    assert fleet.jobs == [second]
    assert fleet.revision in second
    assert fleet.revision not in first


def test_a_missing_cron_job_holds_and_is_looked_for_again(fleet: EvaluatedCluster) -> None:
    fleet.template = None
    fleet.until(held(fleet))
    plan = fleet.turn()
    assert (message(fleet), routed(fleet)) == (NO_CRON_JOB, 0)
    assert plan.requeue_after is not None
    assert plan.requeue_after <= 60
    fleet.template = {"spec": {"template": {"spec": {"containers": [{"name": "golden"}]}}}}
    arrive(fleet)
    fleet.until(lambda: "hold" not in fleet.rollout)


def test_the_lowest_of_several_scores_counts_and_each_pod_has_to_give_one(fleet: EvaluatedCluster) -> None:
    name = arrive(fleet)
    fleet.end(GOOD, pods=2)
    ended, (one, other) = fleet.ends[name]
    fleet.ends[name] = (ended, (one, replace(other, text="")))
    fleet.until(held(fleet))
    fleet.ends[name] = (ended, (one, replace(other, text=BAD), replace(one, succeeded=False, text="first try")))
    fleet.until(lambda: "EvaluationFailed" in fleet.reasons)


def test_blue_green_switches_only_after_its_score(make: Callable[..., EvaluatedCluster]) -> None:
    fleet = make(strategy="BlueGreen", canary=None, blueGreen={"autoPromote": True})
    arrive(fleet)
    for _ in range(20):
        fleet.turn()
    assert (routed(fleet), fleet.counts()[fleet.revision]) == (0, 2)
    fleet.end(GOOD)
    fleet.until(lambda: routed(fleet) == 100)


def test_half_of_a_large_fleet_is_not_needed_for_it(make: Callable[..., EvaluatedCluster]) -> None:
    fleet = make(canary={"steps": [{"weight": 50}]})
    fleet.change(replicas=4)
    arrive(fleet)
    assert fleet.counts()[fleet.revision] == 1, "no more would fit beside stable, which still has all the traffic"


def test_going_back_to_what_has_served_runs_none(fleet: EvaluatedCluster) -> None:
    before = next(iter(fleet.weights))
    arrive(fleet)
    fleet.end(GOOD)
    fleet.until(lambda: routed(fleet) == 100)
    fleet.act_on(f"rollback-to {before} 1")
    fleet.until(lambda: fleet.weights == {before: 100})
    assert len(fleet.created) == 1


def test_it_waits_for_warm_replicas(fleet: EvaluatedCluster) -> None:
    for _ in range(10):
        fleet.turn(warm=False)
    assert fleet.created == []
    arrive(fleet)


def starts(plan: Plan) -> bool:
    return any(isinstance(one, Create) and one.manifest["kind"] == "Job" for one in plan.actions)


@pytest.mark.parametrize("writes", range(3))
def test_killed_around_the_creation_there_is_one_job(fleet: EvaluatedCluster, writes: int) -> None:
    fleet.until(lambda: starts(decide(fleet.snapshot())))
    fleet.execute(decide(fleet.snapshot()), first=writes)  # and no status
    name = arrive(fleet)
    for _ in range(5):
        fleet.turn()
    fleet.end(GOOD)
    fleet.until(lambda: routed(fleet) == 100)
    assert fleet.created == [name]


def test_jobs_of_forgotten_revisions_are_deleted(make: Callable[..., EvaluatedCluster]) -> None:
    fleet = make(revisionHistoryLimit=1)
    for seed in range(2, 5):
        count = len(fleet.created)
        fleet.until(lambda n=count: len(fleet.created) > n)
        fleet.end(GOOD)
        fleet.until(lambda: routed(fleet) == 100)
        fleet.history()
        fleet.update(seed=seed)
    kept = {s.revision for s in fleet.stored.values()}
    assert {fleet.manifest(name)["metadata"]["labels"][names.REVISION] for name in fleet.jobs} <= kept
    assert len(fleet.created) == 3


def test_an_evaluation_that_is_no_longer_asked_for_is_passed_by(fleet: EvaluatedCluster) -> None:
    arrive(fleet)
    rollout = {**fleet.spec["rollout"], "analysis": {}}
    fleet.change(rollout=rollout)
    fleet.until(lambda: routed(fleet) == 20)
    assert fleet.jobs == []


def test_a_lower_bar_lets_a_remembered_score_pass(make: Callable[..., EvaluatedCluster]) -> None:
    fleet = make(onFailure="Pause")
    arrive(fleet)
    fleet.end(BAD)
    fleet.until(lambda: fleet.rollout.get("paused") == "Failed")
    fleet.change(rollout={**fleet.spec["rollout"], "analysis": {"evaluation": {**EVALUATION, "minScore": 0.4}}})
    fleet.act_on("resume 1")
    fleet.until(lambda: len(fleet.created) == 2)
    fleet.end(BAD)
    fleet.until(lambda: routed(fleet) == 20)
