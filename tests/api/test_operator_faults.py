"""Operators that are killed, stopped, restarted or cut off from the API: the end state is the same, no write is lost."""

from __future__ import annotations

import itertools
import signal

import pytest

from e2e.cluster import audit
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.paths import CRD_DIR
from tests.api.fleet import Fleet, Operator, ready

KILLS = 3
"""Fewer than a rollout has steps: every kill is in its middle."""

numbers = itertools.count()


@pytest.fixture(scope="module")
def plane():
    """A control plane of its own: no other operator acts in it, and its API server may be restarted."""
    with ControlPlane(audit=True) as plane:
        plane.apply_files(CRD_DIR)
        yield plane


@pytest.fixture
def fleet(plane):
    return Fleet(plane=plane, namespace=f"faults-{next(numbers)}")


@pytest.fixture
def start(plane, fleet, tmp_path):
    """Starts operators that see only this test's namespace, where their Lease lies too."""
    started = []

    def begin(**settings):
        words = {"lease_seconds": "3", "debounce_seconds": "0.1", **settings}
        operator = Operator(
            plane=plane,
            folder=tmp_path,
            user=f"{fleet.namespace}-{len(started)}",
            namespace=fleet.namespace,
            watch_namespaces=fleet.namespace,
            **words,
        )
        started.append(operator)
        operator.start()
        return operator

    yield begin
    for operator in started:
        operator.kill()


def lead(fleet, operator):
    fleet.until(lambda: operator.leads, what=f"{operator.user} leading")


def test_a_restart_writes_nothing(fleet, start):
    first = start()
    for name in ("one", "two"):
        fleet.apply(name)
    for name in ("one", "two"):
        fleet.await_settled(name)
    first.stop()
    assert first.wait() == 0
    second = start()
    lead(fleet, second)
    fleet.until(lambda: second.passes >= 2, what="a pass over both")
    assert second.writes() == 0
    assert second.writes(leases=True) >= 1


def test_killed_again_and_again_in_mid_rollout_it_ends_the_same(fleet, start, plane):
    operator = start(identity="one-and-the-same")  # the Lease is its own: no wait for the old one's end
    fleet.apply(replicas=2)
    fleet.await_settled()
    mark = fleet.mark()
    fleet.change()
    operator.kill()
    killed = 0
    while killed < KILLS and not fleet.settled():
        since = audit.end(plane.audit_log)
        operator.start()
        wrote = lambda: operator.writes(since=since) > 0 or fleet.settled()  # noqa: B023, E731 - asked in this round only
        fleet.until(wrote, what="one more write")
        operator.kill()
        killed += 1
    operator.start()
    lead(fleet, operator)
    fleet.await_settled()
    assert killed == KILLS
    assert min(sum(map(ready, state)) for state in fleet.history(mark)) >= 2
    assert sorted(d["spec"]["replicas"] for d in fleet.list("deployments")) == [0, 2]
    assert len(fleet.list("controllerrevisions")) == 2
    assert len(fleet.list("services")) == 3


def test_another_takes_over_from_a_killed_leader(fleet, start):
    first = start()
    lead(fleet, first)
    second = start()
    assert not second.leads
    fleet.apply()
    fleet.await_settled()
    assert second.writes() == 0
    first.kill()
    fleet.change()
    lead(fleet, second)
    fleet.await_settled()
    assert second.writes() > 0


def test_a_leader_stopped_past_its_lease_lands_no_write(fleet, start, plane):
    first = start()
    lead(fleet, first)
    fleet.apply()
    fleet.await_settled()
    second = start()
    first.signal(signal.SIGSTOP)
    lead(fleet, second)
    fleet.change()
    fleet.until(lambda: len(fleet.list("deployments")) == 2, what="the second one's rollout")
    since = audit.end(plane.audit_log)
    first.signal(signal.SIGCONT)
    assert first.wait() != 0
    fleet.await_settled()
    assert first.writes(since=since) == 0
    assert first.writes(since=since, leases=True) == 0
    assert second.leads


def test_a_restarted_api_server_is_met_again(fleet, start, plane):
    operator = start(lease_seconds="15")
    lead(fleet, operator)
    fleet.apply()
    fleet.await_settled()
    before = {p["metadata"]["uid"] for p in fleet.pods()}
    plane.restart_apiserver()
    assert {p["metadata"]["uid"] for p in fleet.pods()} == before
    fleet.patch("llmdeployments", "chat", {"spec": {"replicas": 3}})
    fleet.await_settled(replicas=3, seconds=45)
    assert operator.leads
    assert "pass.unexpected" not in operator.log.read_text()
