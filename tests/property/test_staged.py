"""Rollouts in stages, whatever happens: random histories keep every promise, and end well when the noise ends."""

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
from tests.unit.core.staged_cluster import FAIL, PASS, StagedCluster, scripted, verdict
from tests.unit.core.staged_promises import Promises, facts

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
    [{"weight": 100}],
)


@st.composite
def rollouts(draw: st.DrawFn, strategies: tuple[str, ...] = ("Canary", "Canary", "BlueGreen")) -> dict[str, Any]:
    """How a revision takes over."""
    strategy = draw(st.sampled_from(strategies))
    said: dict[str, Any] = {
        "strategy": strategy,
        "capacity": draw(st.sampled_from(["Auto", "Auto", "Surge", "InPlace"])),
        "maxUnavailable": draw(st.integers(0, 1)),
        "maxSurge": draw(st.integers(1, 2)),
        "onFailure": draw(st.sampled_from(["Rollback", "Rollback", "Pause"])),
        "onInconclusive": draw(st.sampled_from(["Pause", "Continue"])),
        "scaleDownDelaySeconds": draw(st.sampled_from([0, 60, 600])),
        "abortScaleDownDelaySeconds": draw(st.sampled_from([0, 30])),
        "revisionHistoryLimit": draw(st.sampled_from([0, 1, 5])),
    }
    if strategy == "Canary":
        said["canary"] = {"steps": draw(st.sampled_from(PLANS))}
    if strategy == "BlueGreen":
        said["blueGreen"] = {"autoPromote": draw(st.booleans())}
        if draw(st.booleans()):
            said["blueGreen"]["previewReplicas"] = 1
    return said


class Story(RuleBasedStateMachine):
    """One LLMDeployment among nodes that come and go, people who change their minds, and an operator that crashes."""

    @initialize(replicas=st.integers(1, 4), rollout=rollouts(), spare=st.integers(0, 3), drain=st.integers(0, 1))
    def begin(self, replicas: int, rollout: dict[str, Any], spare: int, drain: int) -> None:
        self.judge = scripted()
        self.judge.__enter__()
        spec = words(replicas=replicas, rollout=rollout)
        self.cluster = StagedCluster(spec=spec, gpus=replicas + spare, drain=drain)
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

    @rule()
    def reconciled(self) -> None:
        before = facts(self.cluster)
        self.cluster.reconcile()
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
        self.cluster.change(model={"uri": f"hf://org/m{number}"})

    @rule(replicas=st.integers(1, 4))
    def scaled(self, replicas: int) -> None:
        self.cluster.change(replicas=replicas)

    @rule(rollout=rollouts(("Canary", "Canary", "BlueGreen", "RollingUpdate")))
    def another_rollout(self, rollout: dict[str, Any]) -> None:
        self.cluster.change(rollout=rollout)

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

    @precondition(lambda self: self.cluster.weights and not self.cluster.spec.get("suspend"))
    @rule()
    def an_abort_needs_no_metrics(self) -> None:
        """I5: within a bounded number of passes stable has everything, whoever keeps silent."""
        cluster, said = self.cluster, self.cluster.says
        cluster.says, cluster.gpus = Assessment(), max(cluster.gpus, cluster.spec["replicas"])
        if cluster.parsed.rollout.strategy == "RollingUpdate":
            return
        self.actions += 1
        stable = facts(cluster).stable
        cluster.act_on(f"abort id-{self.actions}")
        self.goes_on(times=1, warm=True)
        if cluster.rollout.get("override") or cluster.revision == stable:
            assert cluster.weights in ({stable: 100}, {}), (stable, cluster.weights, cluster.rollout)
        for _ in range(20):
            self.goes_on(times=1, warm=True)
            cluster.now += 60
        target = (cluster.rollout.get("override") or {}).get("revision") or cluster.revision
        if target == stable and cluster.parsed.rollout.scale_down_delay_seconds < 600:
            assert cluster.counts() == {stable: cluster.spec["replicas"]}, (stable, cluster.counts(), cluster.rollout)
        cluster.says = said

    @rule()
    def suspended_or_not(self) -> None:
        self.cluster.change(suspend=not self.cluster.spec.get("suspend", False))

    def end(self) -> None:
        """The noise ends: it comes to one revision with everything, and then to rest."""
        cluster = self.cluster
        cluster.deaf, cluster.says, cluster.annotations = False, PASS, {}
        cluster.change(suspend=False)
        desired: int = cluster.spec["replicas"]
        rollout = cluster.parsed.rollout
        gives_first = rollout.capacity == "InPlace" or (rollout.capacity == "Auto" and rollout.max_unavailable)
        tight = gives_first and rollout.strategy != "BlueGreen"
        alone = desired == 1 and rollout.capacity != "InPlace"
        cluster.gpus = desired if tight and not alone else desired * 2 + 1
        for number in range(80):
            rollout = cluster.rollout
            if rollout.get("phase") in {"Paused", "Hold"} and rollout.get("hold") != "InsufficientCapacity":
                verb = (
                    "promote"
                    if cluster.parsed.rollout.strategy == "BlueGreen" or rollout.get("hold") == "ManualPause"
                    else "resume"
                )
                cluster.act_on(f"{verb} end-{number}")
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
