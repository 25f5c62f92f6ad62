"""An abort in every phase and under every hold: stable has everything at once, the devices come back, no metric is needed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from modelfleet.core.assess import Assessment
from tests.unit.core.cluster import words
from tests.unit.core.evaluated_cluster import EVALUATION, EvaluatedCluster
from tests.unit.core.staged_cluster import FAIL, PASS, scripted, verdict

TWO_STEPS = {"canary": {"steps": [{"weight": 20}, {"weight": 50}]}}
PAUSE = {"canary": {"steps": [{"weight": 20}, {"pause": {}}, {"weight": 50}]}}
TIMED_PAUSE = {"canary": {"steps": [{"weight": 20}, {"pause": {"seconds": 900}}]}}
MIRROR = {"canary": {"steps": [{"weight": 20}], "mirror": {"percent": 10, "minSeconds": 300}}}
GREEN = {"strategy": "BlueGreen"}
GREEN_BY_ITSELF = {"strategy": "BlueGreen", "blueGreen": {"autoPromote": True}}
ONE_WINDOW = {"window": {"cron": "0 22 * * *", "durationMinutes": 120}}
EVENING = 10 * 86_400 + 22.5 * 3600.0
SILENCE = Assessment()
NO_DATA = Assessment(no_data="Prometheus does not answer")
Fleet = EvaluatedCluster


def share(percent: int) -> Callable[[Fleet], bool]:
    """Whether the new revision has so much of the traffic by now."""
    return lambda fleet: fleet.weights.get(fleet.revision, 0) == percent


def shows(**said: Any) -> Callable[[Fleet], bool]:
    """Whether `status.rollout` says this."""
    return lambda fleet: all(fleet.rollout.get(word) == value for word, value in said.items())


unrouted = share(0)


def nothing(_: Fleet) -> None:
    """Let it come by itself."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A moment to abort in: how the rollout goes, and how it is known that it is there."""

    there: Callable[[Fleet], Any]
    rollout: dict[str, Any] = field(default_factory=lambda: TWO_STEPS)
    says: Assessment = PASS
    replicas: int = 2
    gpus: int = 8
    warm: bool = True
    before: Callable[[Fleet], bool] = unrouted
    """What is awaited first, then `then` happens."""
    then: Callable[[Fleet], None] = nothing
    at: float = 1_000_000.0


def deaf(fleet: Fleet) -> None:
    fleet.deaf = True


def closed(fleet: Fleet) -> None:
    fleet.now += 12 * 3600


def asked(action: str) -> Callable[[Fleet], None]:
    return lambda fleet: fleet.act_on(action)


def flapping(fleet: Fleet) -> None:
    """Let the canary's pod lose its readiness; it stays down."""
    new = max(name for name, pod in fleet.pods.items() if pod.revision == fleet.revision)
    fleet.unready(sorted(name for name, pod in fleet.pods.items() if pod.ready).index(new))


MOMENTS = {
    "Provisioning": Moment(there=shows(phase="Provisioning")),
    "Warming": Moment(there=shows(phase="Warming"), warm=False),
    "Mirror": Moment(there=shows(phase="Mirror", mirror=10), rollout=MIRROR),
    "Evaluating": Moment(
        there=lambda fleet: fleet.jobs, rollout=TWO_STEPS | {"analysis": {"evaluation": EVALUATION}}
    ),
    "the first step": Moment(there=lambda fleet: share(20)(fleet) and fleet.rollout.get("stepStartedAt"), says=SILENCE),
    "weights under way": Moment(there=share(20), then=deaf),
    "the second step": Moment(
        there=lambda fleet: share(50)(fleet) and fleet.counts() == dict.fromkeys(fleet.roles, 1),
        before=share(50), then=lambda fleet: setattr(fleet, "says", SILENCE),
    ),
    "a timed pause": Moment(there=shows(phase="Paused", stage="Pause 20 %"), rollout=TIMED_PAUSE),
    "the climb to 100 %": Moment(there=share(75), rollout={"canary": {"steps": [{"weight": 50}]}}, replicas=4, gpus=5),
    "the last weight under way": Moment(
        there=share(100), before=lambda fleet: fleet.counts().get(fleet.revision) == 2, then=deaf
    ),
    "a canary that is down": Moment(there=shows(phase="Warming"), before=share(20), then=flapping, warm=False),
    "ManualPause": Moment(there=shows(hold="ManualPause", stage="Pause 20 %"), rollout=PAUSE),
    "paused by hand": Moment(there=shows(paused="Manual"), before=share(20), then=asked("pause 0"), says=SILENCE),
    "InsufficientCapacity": Moment(there=shows(hold="InsufficientCapacity"), gpus=2),
    "InsufficientCapacity in the climb": Moment(
        there=lambda fleet: shows(hold="InsufficientCapacity", phase="Hold")(fleet) and share(50)(fleet),
        before=share(50), then=lambda fleet: setattr(fleet, "gpus", 2), gpus=3,
    ),
    "NoData": Moment(there=shows(hold="NoData"), says=NO_DATA),
    "NoData for too long": Moment(there=shows(paused="NoData"), says=NO_DATA, rollout=TWO_STEPS | {"maxHoldSeconds": 60}),
    "MinSamples": Moment(there=shows(hold="MinSamples"), says=verdict("Inconclusive", reason="MinSamples")),
    "StableUnhealthy": Moment(there=shows(hold="StableUnhealthy"), says=verdict("Inconclusive", reason="StableUnhealthy")),
    "a split that does not fit": Moment(
        there=shows(hold="RouterUnverified"), says=verdict("Inconclusive", reason="SplitMismatch")
    ),
    "Inconclusive": Moment(there=shows(paused="Inconclusive"), says=verdict("Inconclusive", final=True)),
    "Failed": Moment(there=shows(paused="Failed"), says=FAIL, rollout=TWO_STEPS | {"onFailure": "Pause"}),
    "RouterUnverified": Moment(there=shows(hold="RouterUnverified"), before=share(20), then=deaf),
    "Window before it begins": Moment(
        there=shows(hold="Window"), rollout=TWO_STEPS | ONE_WINDOW, at=EVENING + 12 * 3600
    ),
    "Window in a step": Moment(
        there=shows(hold="Window"), rollout=TWO_STEPS | ONE_WINDOW, before=share(20), then=closed, at=EVENING, says=SILENCE
    ),
    "Evaluation": Moment(
        there=shows(hold="Evaluation"), rollout=TWO_STEPS | {"analysis": {"evaluation": EVALUATION}},
        before=lambda fleet: bool(fleet.jobs), then=lambda fleet: fleet.end("broken", ended="Failed") and None,
    ),
    "a preview that is cold": Moment(there=shows(phase="Warming"), rollout=GREEN, warm=False),
    "a preview that waits for a word": Moment(there=shows(hold="ManualPause"), rollout=GREEN),
    "a preview without devices": Moment(there=shows(hold="InsufficientCapacity"), rollout=GREEN, gpus=3),
    "the switch under way": Moment(there=share(100), rollout=GREEN_BY_ITSELF),
    "aborted already": Moment(there=shows(phase="Aborting"), before=share(20), then=asked("abort 0"), says=SILENCE),
    "suspended": Moment(
        there=shows(phase="Suspended"), before=share(20), then=lambda fleet: fleet.change(suspend=True), says=SILENCE
    ),
}  # fmt: skip


@pytest.fixture(params=MOMENTS)
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    moment = MOMENTS[request.param]
    options = {"strategy": "Canary", "abortScaleDownDelaySeconds": 30, **moment.rollout}
    with scripted():
        cluster = Fleet(spec=words(replicas=moment.replicas, rollout=options), gpus=moment.gpus, now=moment.at)
        cluster.history()
        cluster.says = moment.says
        cluster.update()
        cluster.until(lambda: moment.before(cluster), warm=moment.warm or moment.then is flapping)
        moment.then(cluster)
        cluster.turn(warm=moment.warm)
        cluster.until(lambda: moment.there(cluster), warm=moment.warm)
        yield cluster


@pytest.mark.parametrize("envoys", ["hear", "do not hear"])
def test_it_ends_at_stable(fleet: Fleet, envoys: str) -> None:
    stable = next(revision for revision, role in fleet.roles.items() if role == "stable")
    warm = {name for name, pod in fleet.pods.items() if pod.revision == stable and pod.ready and pod.in_rotation}
    assert fleet.revision != stable
    fleet.says = SILENCE
    fleet.deaf = envoys != "hear"
    fleet.act_on("abort 1")
    fleet.turn(seconds=1, warm=False)
    assert fleet.rollout["lastAction"]["result"] == "Done"
    assert fleet.weights == {stable: 100}, "at once, whatever Envoys say"
    assert not fleet.rollout.get("mirror"), "no copies either"
    assert fleet.condition("Degraded")["reason"] == "Aborted"
    if fleet.spec.get("suspend"):
        fleet.change(suspend=False)
    fleet.until(lambda: fleet.counts() == {stable: fleet.spec["replicas"]}, passes=20)
    assert set(fleet.jobs) <= set(fleet.ends), "no evaluation runs for nothing"
    assert warm <= set(fleet.pods), "no replica of stable's was touched"
    fleet.deaf = False
    fleet.history()
    assert fleet.weights == {stable: 100}
    assert fleet.condition("Degraded")["reason"] == "Aborted"
    assert fleet.silent(seconds=4000) == ((), {})


def test_it_is_over_after_that(fleet: Fleet) -> None:
    """No promotion that is asked for afterwards brings the aborted one back."""
    fleet.deaf = False
    fleet.act_on("abort 1")
    fleet.turn(seconds=1)
    fleet.change(suspend=None)
    fleet.act_on("promote-full 2")
    fleet.history()
    assert fleet.rollout["lastAction"]["result"] == "Refused"
    assert fleet.weights.get(fleet.revision, 0) == 0


def test_after_the_promotion_there_is_nothing_to_abort(judged: Any) -> None:
    fleet = judged(rollout=TWO_STEPS)
    old, new = fleet.update()
    fleet.until(lambda: fleet.roles.get(new) == "stable" and old in fleet.counts())
    fleet.act_on("abort 1")
    fleet.history()
    assert fleet.rollout["lastAction"]["message"] == "nothing is rolling out"
    assert (fleet.weights, fleet.counts()) == ({new: 100}, {new: 2})
