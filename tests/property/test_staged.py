"""Rollouts in stages, whatever happens: random histories keep every promise, and end well when the noise ends."""

import copy
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from modelfleet.core.assess import Assessment
from modelfleet.core.decide import decide
from modelfleet.core.plan import Plan
from tests.unit.core.cluster import words
from tests.unit.core.evaluated_cluster import EVALUATION, TEMPLATE, EvaluatedCluster
from tests.unit.core.staged_cluster import FAIL, PASS, scripted, sized, verdict
from tests.unit.core.staged_promises import STAGED, Promises, facts

NIGHTLY = int(os.environ.get("STAGED_EXAMPLES", "2000"))
"""Histories of `make test-nightly`: with 60 things that happen in each, more than 10⁵."""
WORDS = {
    "pass": PASS,
    "fail": FAIL,
    "nothing": Assessment(),
    "unasked": Assessment(no_data="Prometheus does not answer"),
    "no data": verdict("NoData"),
    "undecided": verdict("Inconclusive"),
    "too few": verdict("Inconclusive", reason="MinSamples"),
    "undecided for good": verdict("Inconclusive", final=True),
    "undecided with enough": verdict("Inconclusive", final=True, enough_samples=True),
}
PLANS = (
    [{"weight": 20}, {"weight": 50}],
    [{"weight": 5}, {"weight": 25}, {"weight": 50}],
    [{"weight": 34}, {"pause": {"seconds": 60}}, {"weight": 67}],
    [{"weight": 50}, {"pause": {}}, {"weight": 99}],
    [{"weight": 50}, {"weight": 100}],
)
STRATEGIES = ("Canary", "Canary", "Canary", "BlueGreen", "BlueGreen", "RollingUpdate", "Recreate")
WINDOW = {"cron": "*/20 * * * *", "durationMinutes": 10}
"""Open for ten minutes, then closed for ten."""
LAST_WORDS = ('{"score": 0.93}', '{"score": 0.5}', "no number")

BUDGETS = st.sampled_from([None, None, 0, 1, 2, 4])
"""Devices beyond those of the replicas that are wanted; None for no budget."""


@st.composite
def rollouts(draw: st.DrawFn) -> dict[str, Any]:
    """How a revision takes over."""
    strategy = draw(st.sampled_from(STRATEGIES))
    # What admission takes: with a surge of 0 something else makes room.
    capacity, surge, missing = draw(
        st.tuples(
            st.sampled_from(["Auto", "Auto", "Surge", "InPlace"]), st.sampled_from([0, 1, 1, 2]), st.integers(0, 1)
        ).filter(lambda one: one[1] or one[0] == "InPlace" or (one[0] == "Auto" and one[2]))
    )
    said: dict[str, Any] = {
        "strategy": strategy,
        "capacity": capacity,
        "maxUnavailable": missing,
        "maxSurge": surge,
        "onFailure": draw(st.sampled_from(["Rollback", "Rollback", "Pause"])),
        "onInconclusive": draw(st.sampled_from(["Pause", "Continue"])),
        "scaleDownDelaySeconds": draw(st.sampled_from([0, 60, 600])),
        "abortScaleDownDelaySeconds": draw(st.sampled_from([0, 30])),
        "revisionHistoryLimit": draw(st.sampled_from([0, 1, 5])),
    }
    if strategy == "Canary":
        said["canary"] = {"steps": draw(st.sampled_from(PLANS))}
        if draw(st.integers(0, 3)) == 0:
            said["canary"]["mirror"] = {"percent": 10, "minSeconds": 60}
        if draw(st.integers(0, 3)) == 0:
            said["canary"]["replicas"] = draw(st.integers(1, 5))
    if strategy == "BlueGreen":
        said["blueGreen"] = {"autoPromote": draw(st.booleans())}
        if draw(st.booleans()):
            said["analysis"] = {"metrics": [{"name": "ttft", "minRatio": 0.9}]}
        if draw(st.booleans()):
            said["blueGreen"]["previewReplicas"] = 1
    if strategy in STAGED and draw(st.integers(0, 3)) == 0:
        said["analysis"] = {**said.get("analysis", {}), "evaluation": EVALUATION}
    if draw(st.integers(0, 3)) == 0:
        said["window"] = WINDOW
    return said


class Story(RuleBasedStateMachine):
    """One LLMDeployment among nodes that come and go, people who change their minds, and an operator that crashes."""

    @initialize(
        replicas=st.integers(1, 4), rollout=rollouts(), spare=st.integers(0, 3), drain=st.integers(0, 1), within=BUDGETS
    )
    def begin(self, replicas: int, rollout: dict[str, Any], spare: int, drain: int, within: int | None) -> None:
        self.judge = scripted()
        self.judge.__enter__()
        spec = words(**sized(replicas, budget=None if within is None else replicas + within), rollout=rollout)
        self.cluster = EvaluatedCluster(spec=spec, gpus=replicas + spare, drain=drain)
        self.promises = Promises(self.cluster)
        self.actions, self.held = 0, Plan()
        for _ in range(6):
            self.cluster.turn(seconds=1)

    def teardown(self) -> None:
        if not hasattr(self, "cluster"):
            return
        try:
            self.end()
        finally:
            self.judge.__exit__(None, None, None)

    def people_want(self, **changes: Any) -> None:
        """Change the spec; what a sleeping leader still writes was decided by the words of before."""
        self.cluster.change(**changes)
        if changes.keys() - {"model"}:
            self.held = Plan()

    @rule()
    def reconciled(self) -> None:
        before, asked_for = facts(self.cluster), copy.deepcopy(self.cluster.spec)
        self.cluster.reconcile()
        assert self.cluster.spec == asked_for, "I9"
        self.promises.hold(before, whole=True)
        self.cluster.now += 1

    @rule(times=st.integers(1, 8), warm=st.booleans())
    def goes_on(self, *, times: int, warm: bool) -> None:
        for _ in range(times):
            self.reconciled()
            self.cluster.controllers()
            if warm:
                self.cluster.warm()
            self.cluster.now += 4

    @rule(first=st.integers(0, 5))
    def dies_between_writes(self, first: int) -> None:
        before = facts(self.cluster)
        self.cluster.execute(decide(self.cluster.snapshot()), first=first)
        self.promises.hold(before, whole=False)

    @rule()
    def another_leader_decides(self) -> None:
        self.held = decide(self.cluster.snapshot())

    @rule()
    def and_acts_when_it_wakes_up(self) -> None:
        before = facts(self.cluster)
        self.cluster.execute(self.held, first=len(self.held.actions))
        self.promises.hold(before, whole=False)

    @rule()
    def controllers_come_by(self) -> None:
        self.cluster.controllers()

    @rule(count=st.integers(1, 3))
    def pods_become_ready(self, count: int) -> None:
        self.cluster.warm(count=count)

    @rule(seconds=st.sampled_from([1, 10, 40, 100, 700, 2000]))
    def time_goes_by(self, seconds: int) -> None:
        self.cluster.now += seconds

    @rule(number=st.integers(0, 7), restarts=st.integers(0, 3))
    def a_pod_is_not_ready(self, number: int, restarts: int) -> None:
        self.cluster.unready(number, restarts=restarts)
        self.held = Plan()  # a write to one pod is not fenced by the readiness of another

    @rule(number=st.integers(0, 7), with_node=st.booleans())
    def a_pod_is_gone(self, *, number: int, with_node: bool) -> None:
        self.cluster.kill(number)
        self.held = Plan()
        self.cluster.gpus = max(1, self.cluster.gpus - with_node)

    @rule(number=st.integers(0, 7))
    def a_pod_is_evicted(self, number: int) -> None:
        self.cluster.fail(number)
        self.held = Plan()

    @rule()
    def a_gpu_appears(self) -> None:
        self.cluster.gpus += 1

    @precondition(lambda self: self.cluster.free)
    @rule()
    def someone_takes_a_gpu(self) -> None:
        self.cluster.gpus -= 1

    @rule(said=st.sampled_from(sorted(WORDS)))
    def the_judge_says(self, said: str) -> None:
        self.cluster.says = WORDS[said]

    @rule(number=st.integers(0, 3))
    def a_new_spec(self, number: int) -> None:
        self.people_want(model={"uri": f"hf://org/m{number}"})

    @rule(replicas=st.integers(1, 4))
    def scaled(self, replicas: int) -> None:
        self.people_want(**sized(replicas, budget=self.cluster.budget))

    @rule(within=BUDGETS)
    def a_budget(self, within: int | None) -> None:
        desired = self.cluster.desired
        self.people_want(**sized(desired, budget=None if within is None else desired + within))

    @rule(rollout=rollouts())
    def another_rollout(self, rollout: dict[str, Any]) -> None:
        self.people_want(rollout=rollout)

    @rule(
        verb=st.sampled_from(["promote", "promote-full", "pause", "resume", "abort", "rollback-to"]),
        number=st.integers(0, 4),
    )
    def a_person_asks(self, verb: str, number: int) -> None:
        known = sorted(s.revision for s in self.cluster.stored.values())
        about = f"{known[number % len(known)]} " if known and (verb == "rollback-to" or number == 4) else ""
        self.actions += 1
        self.cluster.act_on(f"{verb} {about}id-{self.actions}")

    @rule()
    def envoys_go_deaf_or_hear_again(self) -> None:
        self.cluster.deaf = not self.cluster.deaf
        self.promises.deaf_since = self.cluster.now

    @rule()
    def status_is_lost(self) -> None:
        self.cluster.status = {}

    @precondition(lambda self: self.running_jobs)
    @rule(text=st.sampled_from(LAST_WORDS), ended=st.sampled_from(["Complete", "Complete", "Failed"]))
    def an_evaluation_ends(self, text: str, ended: str) -> None:
        self.cluster.end(text, ended=ended, name=self.running_jobs[0])

    @rule()
    def the_cron_job_goes_or_comes(self) -> None:
        self.cluster.template = None if self.cluster.template else TEMPLATE

    @property
    def running_jobs(self) -> list[str]:
        return [name for name in self.cluster.jobs if name not in self.cluster.ends]

    @precondition(lambda self: facts(self.cluster).stable and not self.cluster.spec.get("suspend"))
    @rule()
    def an_abort_needs_no_metrics(self) -> None:
        """I5: stable has everything at once, and soon all its replicas, whoever keeps silent."""
        cluster, said = self.cluster, self.cluster.says
        cluster.says = Assessment()
        self.actions += 1
        before = facts(cluster)
        rollout = cluster.parsed.rollout
        alone = rollout.capacity == "InPlace" and cluster.desired <= 1  # replaced without stages
        stable, staged = before.stable, rollout.strategy in STAGED and not alone
        stored = {one.revision for one in cluster.stored.values()}
        cluster.act_on(f"abort id-{self.actions}")
        self.reconciled()
        assert cluster.rollout["lastAction"]["result"] == "Done", cluster.rollout
        # Nothing of it was left, as after a replacement in place with no history kept: it ends at what runs.
        if not (staged and stable in stored) and not before.asked.get(stable):
            stable = (cluster.rollout.get("override") or {}).get("revision") or cluster.revision
        assert cluster.weights in ({stable: 100}, {}), (stable, cluster.weights, cluster.rollout)
        # Where traffic follows the ready replicas one more device lets them change places.
        cluster.gpus = max(cluster.gpus, cluster.desired + (not staged))
        if cluster.budget is not None and not staged:
            self.people_want(**sized(cluster.desired, budget=max(cluster.budget, cluster.desired + 1)))
        for _ in range(30):
            self.goes_on(times=1, warm=True)
            cluster.now += 60
        assert cluster.counts() == {stable: cluster.desired}, (stable, cluster.counts(), cluster.rollout)
        cluster.says = said

    @rule()
    def suspended_or_not(self) -> None:
        self.people_want(suspend=not self.cluster.spec.get("suspend", False))

    def end(self) -> None:
        """The noise ends: it comes to one revision with everything, and then to rest."""
        cluster = self.cluster
        cluster.deaf, cluster.says, cluster.annotations, cluster.template = False, PASS, {}, TEMPLATE
        cluster.change(suspend=False)
        desired = cluster.desired
        rollout = cluster.parsed.rollout
        gives_first = rollout.capacity == "InPlace" or (rollout.capacity == "Auto" and rollout.max_unavailable)
        # A number of the user's own may be more than the replicas that stable gives up for that weight.
        more = rollout.canary is not None and isinstance(rollout.canary.replicas, int)
        tight = gives_first and rollout.strategy != "BlueGreen" and not more
        alone = desired == 1 and rollout.capacity != "InPlace"
        cluster.gpus = desired if tight and not alone else desired * 2 + 1
        if cluster.budget is not None:
            cluster.change(**sized(desired, budget=cluster.gpus))
        if desired == 1 and rollout.strategy in STAGED and not rollout.max_surge and rollout.capacity != "InPlace":
            # The last replica with traffic is never given up, and nobody may come beside it: status says so.
            cluster.change(rollout={**cluster.spec["rollout"], "maxSurge": 1})
        for number in range(80):
            rollout = cluster.rollout
            if rollout.get("hold") == "Window":
                cluster.now += WINDOW["durationMinutes"] * 60
            elif rollout.get("phase") in {"Paused", "Hold"} and rollout.get("hold") != "InsufficientCapacity":
                verb = (
                    "promote"
                    if cluster.parsed.rollout.strategy == "BlueGreen" or rollout.get("hold") == "ManualPause"
                    else "resume"
                )
                cluster.act_on(f"{verb} end-{number}")
            for name in self.running_jobs:
                cluster.end(LAST_WORDS[0], name=name)
            before = facts(cluster)
            cluster.turn(seconds=20)
            at_rest = cluster.condition("Progressing")["reason"] == "UpToDate" and not cluster.rollout.get("phase")
            if at_rest and list(cluster.counts().values()) == [desired] and cluster.ready() == desired:
                break
        else:
            raise AssertionError(f"it never ends: {cluster.weights} {cluster.counts()} {cluster.rollout} {before}")
        override = cluster.rollout.get("override")
        wanted = override["revision"] if override else cluster.revision
        assert cluster.counts() == {wanted: desired}, (wanted, cluster.counts(), cluster.rollout)
        if cluster.parsed.rollout.strategy in {"Canary", "BlueGreen"} and cluster.weights:
            assert cluster.weights == {wanted: 100}
        rest = cluster.silent(seconds=5000)
        assert rest == ((), {}), rest


def play(*, examples: int, steps: int, seeded: bool) -> None:
    run_state_machine_as_test(
        Story,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=seeded, print_blob=True,
            database=None, report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


def test_any_history_keeps_the_promises_and_ends_well() -> None:
    play(examples=50, steps=50, seeded=True)


@pytest.mark.nightly
def test_a_hundred_thousand_steps() -> None:
    play(examples=NIGHTLY, steps=60, seeded=False)
