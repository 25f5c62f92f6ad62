"""Behind a gateway a replica ends only when no Envoy sends it anything new, or when none would say so in time."""

from dataclasses import replace
from typing import Any

import pytest

from modelfleet.core.decide import ASK_ENVOYS_SECONDS, decide
from modelfleet.core.plan import Rotate, Scale
from modelfleet.core.routing.router import Reports, Router, changed
from modelfleet.core.world import RenderSettings
from tests.unit.core.cluster import IMAGES, UID, Cluster, running

PATIENCE = 30.0
GATEWAY = RenderSettings(engine_images=IMAGES, gateway_url="http://gateway", ack_timeout_seconds=PATIENCE)


@pytest.fixture
def shrinking() -> Cluster:
    """Two replicas, of which one is out of rotation because one is wanted."""
    cluster = running(replicas=2)
    cluster.extra["settings"] = GATEWAY
    for number, pod in enumerate(cluster.pods.values(), start=1):
        cluster.pods[pod.name] = replace(pod, address=f"10.0.0.{number}")
    cluster.settle()
    cluster.change(replicas=1)
    rotations = [a for a in cluster.reconcile().actions if isinstance(a, Rotate)]
    assert [a.at for a in rotations] == [cluster.now]
    victim = cluster.pods[rotations[0].pod]
    cluster.pods[victim.name] = replace(victim, out_since=cluster.now)
    cluster.now += 1
    return cluster


def victim(cluster: Cluster) -> Any:
    return next(p for p in cluster.pods.values() if not p.in_rotation)


def scales(cluster: Cluster, router: Router) -> list[int]:
    plan = decide(cluster.snapshot(router=router))
    return [a.replicas for a in plan.actions if isinstance(a, Scale)]


def test_it_stays_while_an_envoy_still_routes_to_it(shrinking: Cluster) -> None:
    router = Router(in_use=frozenset({victim(shrinking).address}), observed_at=shrinking.now)
    assert scales(shrinking, router) == []
    assert decide(shrinking.snapshot(router=router)).requeue_after == ASK_ENVOYS_SECONDS


def test_it_stays_while_an_envoy_has_not_spoken(shrinking: Cluster) -> None:
    assert scales(shrinking, Router(lagging=("envoy-1",), observed_at=shrinking.now)) == []


def test_an_answer_from_before_it_left_rotation_does_not_count(shrinking: Cluster) -> None:
    assert scales(shrinking, Router(observed_at=victim(shrinking).out_since - 0.1)) == []


def test_it_ends_when_all_have_dropped_it(shrinking: Cluster) -> None:
    assert scales(shrinking, Router(observed_at=shrinking.now)) == [1]


def test_a_silent_envoy_does_not_hold_it_for_ever_and_status_says_so(shrinking: Cluster) -> None:
    shrinking.now += PATIENCE
    snapshot = shrinking.snapshot(router=Router(lagging=("envoy-1",), observed_at=shrinking.now))
    plan = decide(snapshot)
    assert [a.replicas for a in plan.actions if isinstance(a, Scale)] == [1]
    route = next(c for c in plan.status["conditions"] if c["type"] == "RouteAccepted")
    assert (route["status"], route["reason"]) == ("Unknown", "RouterUnverified")
    assert "envoy-1" in route["message"]


def test_a_refusal_is_told_in_envoys_words(shrinking: Cluster) -> None:
    plan = decide(shrinking.snapshot(router=Router(lagging=("e",), refused="duplicate route", observed_at=9e9)))
    route = next(c for c in plan.status["conditions"] if c["type"] == "RouteAccepted")
    assert (route["status"], route["reason"], route["message"]) == ("False", "RejectedByEnvoy", "duplicate route")


def test_a_selector_that_someone_narrowed_is_put_back_whole() -> None:
    cluster = running(replicas=1)
    service = cluster.objects["Service", "chat"]
    wanted = dict(service.body["spec"]["selector"])
    narrowed = {**service.body, "spec": {**service.body["spec"], "selector": {**wanted, "color": "blue"}}}
    cluster.objects["Service", "chat"] = replace(service, body=narrowed)
    cluster.settle()
    assert cluster.objects["Service", "chat"].body["spec"]["selector"] == wanted


def test_the_address_for_clients_is_the_gateways_where_it_routes() -> None:
    cluster = running(replicas=1)
    cluster.extra["settings"] = GATEWAY
    cluster.settle()
    assert cluster.status["url"] == "http://gateway"
    cluster.change(routing={"provider": "Service"})
    cluster.settle()
    assert cluster.status["url"] == "http://chat.team.svc"


def reply(*, confirmed: str, rejections: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "models": {UID: {"digest": "new", "endpoints": {"r": ["10.0.0.1"]}}},
        "envoys": {"e1": {"confirmed": {UID: confirmed}, "rejections": rejections or {}}},
    }


def test_an_envoy_of_which_two_replicas_speak_is_believed_when_both_agree() -> None:
    agreed = Reports(observed_at=0, envoys=("e1",), replies=(reply(confirmed="new"), reply(confirmed="new")))
    assert agreed.of(UID).lagging == ()
    moved = Reports(observed_at=0, envoys=("e1",), replies=(reply(confirmed="new"), reply(confirmed="old")))
    assert moved.of(UID).lagging == ("e1",)


def test_a_model_that_the_control_replica_does_not_know_is_not_confirmed() -> None:
    assert Reports(observed_at=0, envoys=("e1",), replies=(reply(confirmed="new"),)).of("another").lagging == ("e1",)


def test_only_those_are_woken_for_whom_a_refusal_came_or_went() -> None:
    good = Reports(observed_at=0, envoys=("e1",), replies=(reply(confirmed="new"),))
    bad = Reports(observed_at=1, envoys=("e1",), replies=(reply(confirmed="old", rejections={"R": "no"}),))
    assert changed(None, good, uids=[UID]) == []
    assert changed(good, bad, uids=[UID]) == [UID]
    assert changed(bad, good, uids=[UID]) == [UID]
