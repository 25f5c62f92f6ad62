"""What is written down of balance, limits and times: what no test could wait for."""

from typing import Any

import pytest

from modelfleet.core.routing.access import Admission
from modelfleet.core.routing.model import Balance, Endpoint, Fleet, Revision, Served, Stickiness, Timeouts
from modelfleet.gateway import headers, proto
from modelfleet.gateway.render_cluster import cluster
from modelfleet.gateway.render_listener import ListenerSettings, listener
from modelfleet.gateway.render_route import model_routes
from modelfleet.gateway.snapshot import ROUTES, Renderer

KIND = proto.cluster.Cluster
ONE = Revision(name="r1", weight=90, endpoints=(Endpoint(address="10.0.0.1"),))
TWO = Revision(name="r2", weight=10, endpoints=(Endpoint(address="10.0.0.2"),))
TEN_MINUTES = 600


def served(**more: Any) -> Served:
    given = {"uid": "u", "namespace": "team-a", "created": "2026-01-01T00:00:00Z", "served_name": "chat", **more}
    return Served(name="chat", revisions=(ONE, TWO), **given)


@pytest.mark.parametrize(
    ("balance", "stickiness", "policy"),
    [
        ("LeastRequest", None, KIND.LEAST_REQUEST),
        ("PrefixAffinity", None, KIND.RING_HASH),
        ("LeastRequest", Stickiness(by="ApiKey"), KIND.RING_HASH),
    ],
)
def test_the_replica_with_the_least_requests_unless_something_else_is_asked_for(
    balance: Balance, stickiness: Stickiness | None, policy: int
):
    found = cluster(served(balance=balance, stickiness=stickiness), ONE)
    assert found.lb_policy == policy
    bounded = found.common_lb_config.consistent_hashing_lb_config.hash_balance_factor.value
    assert bounded == (125 if policy == KIND.RING_HASH else 0)


def test_no_number_of_requests_is_too_many_for_envoy():
    (limits,) = cluster(served(), ONE).circuit_breakers.thresholds
    kinds = (limits.max_connections, limits.max_pending_requests, limits.max_requests)
    assert {kind.value for kind in kinds} == {1_000_000}
    assert limits.max_retries.value == 1024, "Envoy's own three would refuse retries when a busy replica dies"


@pytest.mark.parametrize("silence", [None, 20.0])
def test_nothing_but_silence_ends_an_answer(silence: float | None):
    model = served(timeouts=Timeouts(silence=silence)) if silence else served()
    limit = int(silence or TEN_MINUTES)
    found = model_routes(model, admission=Admission(tenants=None, anonymous=True, keyless=True)).routes
    for action in [route.route for route in found if route.HasField("route")]:
        assert action.timeout.seconds == 0, "no limit"
        assert action.HasField("timeout"), "Envoy's own is 15 s"
        assert action.idle_timeout.seconds == limit + 30
        assert action.HasField("retry_policy") == (silence is not None), "else it is the table's"
        assert not silence or action.retry_policy.per_try_idle_timeout.seconds == limit
    table = Renderer(settings=ListenerSettings()).render(Fleet(models=(model,))).resources[ROUTES][headers.ROUTES]
    (host,) = proto.routes.RouteConfiguration.FromString(table.body.value).virtual_hosts
    assert host.retry_policy.per_try_idle_timeout.seconds == TEN_MINUTES


def test_the_listener_ends_no_stream_for_its_silence():
    manager = proto.http.HttpConnectionManager()
    listener(ListenerSettings()).filter_chains[0].filters[0].typed_config.Unpack(manager)
    assert manager.HasField("stream_idle_timeout"), "Envoy's own is five minutes"
    assert manager.stream_idle_timeout.ToTimedelta().total_seconds() == 0
