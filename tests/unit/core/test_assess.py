"""Which windows are asked for, and what Prometheus' own counters do to a rollout: nothing here is scripted."""

from dataclasses import replace

import pytest

from modelfleet.core.assess import measure, question
from modelfleet.core.judgement.question import Answers
from tests.unit.core.cluster import words
from tests.unit.core.staged_cluster import StagedCluster
from tests.unit.judgement.counted import of_envoy, of_pod, steady

BLOCKS = 40
ANALYSIS = {"warmupSeconds": 0, "metrics": [{"name": "ttft", "minRatio": 0.9}]}


def blue_green(**options) -> StagedCluster:
    """One whose second set is warm."""
    rollout = {"strategy": "BlueGreen", "blueGreen": options, "analysis": ANALYSIS}
    fleet = StagedCluster(spec=words(replicas=1, rollout=rollout), extra={"measured": None})
    fleet.history()
    fleet.update()
    fleet.history()
    return fleet


def asked(fleet: StagedCluster):
    return question(
        spec=fleet.parsed, status=fleet.status, namespace="team", name="chat", now=fleet.now, gateway_url="http://gw"
    )  # fmt: skip


def counted(fleet: StagedCluster, *, slow: float = 0, failed: float = 0) -> None:
    """Let Prometheus answer for ten minutes of 20 requests each 15 s on the revision that is asked about."""
    fleet.now = asked(fleet).since + BLOCKS * 15 + 2
    about = asked(fleet)
    pod = f"chat-{about.canary}-7d9-abcde"
    series = {}
    for part, count in (
        ("first_tokens", 20),
        ("first_tokens_in_time", 20 - slow),
        ("gaps", 400),
        ("gaps_in_time", 400),
    ):
        series |= of_pod("", part, steady(count, blocks=BLOCKS), pod=pod)
    series |= of_pod("", "finished", steady(20, blocks=BLOCKS), kind="stop", pod=pod)
    series |= of_pod("", "generated", steady(600, blocks=BLOCKS), pod=pod)
    if about.gateway:
        for part in ("started", "attempts_started"):
            series |= of_envoy(about.canary, part, steady(20, blocks=BLOCKS))
        for part in ("attempts", "first_attempts", "requests"):
            series |= of_envoy(about.canary, part, steady(20 - failed, blocks=BLOCKS), kind="ok")
            series |= of_envoy(about.canary, part, steady(failed, blocks=BLOCKS), kind="failed")
    answers = Answers(asked=about, observed_at=fleet.now, series=series)
    fleet.extra["measured"] = measure(answers, replicas=())


def test_a_preview_is_asked_about_by_its_engines_alone():
    fleet = blue_green()
    about = asked(fleet)
    assert (about.canary, about.gateway) == (fleet.revision, False)
    assert about.stable != fleet.revision


def test_after_the_switch_the_gateways_counters_are_asked_for_until_nothing_warm_is_left():
    fleet = blue_green()
    old = asked(fleet).stable
    fleet.act_on("promote 1")
    fleet.history()
    about = asked(fleet)
    assert (about.canary, about.stable, about.gateway) == (fleet.revision, old, True)
    fleet.now += 700
    fleet.history()
    assert asked(fleet) is None


def test_a_canary_that_was_promoted_is_asked_about_no_more():
    fleet = StagedCluster(spec=words(replicas=1, rollout={"strategy": "Canary"}), extra={"measured": None})
    fleet.history()
    fleet.update()
    fleet.act_on("promote-full 1")
    fleet.turn()
    fleet.act_on("promote-full 2")
    fleet.until(lambda: fleet.roles.get(fleet.revision) == "stable")
    assert asked(fleet) is None


def test_a_slow_preview_is_given_up_and_a_good_one_switched_to():
    slow, good = blue_green(autoPromote=True), blue_green(autoPromote=True)
    counted(slow, slow=10)
    counted(good)
    for fleet in (slow, good):
        assert fleet.rollout["stage"] == "Trial"
        fleet.turn(seconds=1)
    assert slow.condition("Degraded")["reason"] == "RolledBack"
    assert "over 1 s to the first token" in slow.condition("Degraded")["message"]
    good.until(lambda: good.weights == {good.revision: 100}, seconds=1)


def test_tokens_per_second_are_told_of_each_arm_that_is_known():
    fleet = blue_green()
    counted(fleet)
    fleet.turn(seconds=1)
    analysis = fleet.rollout["analysis"]
    assert analysis["canaryTokensPerSecond"] == 40
    assert "stableTokensPerSecond" not in analysis
    assert all("stableSamples" not in result for result in analysis["results"])


@pytest.mark.parametrize(
    ("ran", "back"),
    [
        ((-7000, -6000), False),  # it restarted long ago, and is down for another cause now
        ((-7000, 100), False),  # it had been up, and restarted once
        ((100, 160), True),  # it came up since, and restarts again and again
    ],
)
def test_only_restarts_since_the_switch_take_it_back(ran, back):
    fleet = blue_green()
    old = asked(fleet).stable
    fleet.act_on("promote 1")
    fleet.until(lambda: fleet.rollout.get("watching"), seconds=1)
    since = asked(fleet).since
    counted(fleet)
    fleet.spec["rollout"]["scaleDownDelaySeconds"] = 3600
    mine = next(pod for pod in fleet.pods.values() if pod.revision == fleet.revision)
    fleet.pods[mine.name] = replace(
        mine, ready=False, ready_since=None, restarts=3, last_run=tuple(since + seconds for seconds in ran)
    )
    fleet.turn(seconds=1, warm=False)
    assert (fleet.rollout.get("override", {}).get("revision") == old) is back
    assert ("RolledBack" in fleet.reasons) is back
    if back:
        assert "restarted 3 times" in fleet.condition("Degraded")["message"]


@pytest.mark.parametrize(("failed", "back"), [(0, False), (10, True)])
def test_errors_after_the_switch_take_it_back(failed, back):
    fleet = blue_green()
    old = asked(fleet).stable
    fleet.act_on("promote 1")
    fleet.until(lambda: fleet.rollout.get("watching"), seconds=1)
    counted(fleet, failed=failed)
    fleet.spec["rollout"]["scaleDownDelaySeconds"] = 3600
    fleet.turn(seconds=1)
    fleet.until(lambda: fleet.weights == {old if back else fleet.revision: 100}, seconds=1)
    assert ("RolledBack" in fleet.reasons) is back
    if back:
        assert "attempts that failed" in fleet.condition("Degraded")["message"]
