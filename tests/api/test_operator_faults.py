"""Operators that are killed, stopped, restarted or cut off from the API: the end state is the same, no write is lost."""

from __future__ import annotations

import itertools
import signal

import pytest

from e2e.cluster import audit
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.paths import CRD_DIR
from tests.api.fleet import Fleet, Operator, ready
from tests.api.write_gate import WriteGate, changes

pytestmark = pytest.mark.slow

numbers = itertools.count()
TAKEOVER_SECONDS = "20"
"""Lease of those that are to be followed by another; a shorter one is lost on a busy machine."""


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
        words = {"lease_seconds": "60", "debounce_seconds": "0.1", **settings}
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


@pytest.fixture
def gated(plane, fleet, tmp_path):
    """An operator that sends its writes through a gate, which kills it when the last allowed one has landed."""
    user = f"{fleet.namespace}-gated"
    upstream = plane.user_kubeconfig(user, cluster_role="cluster-admin")
    with WriteGate(upstream=upstream, folder=tmp_path, when_spent=lambda: operator.signal(signal.SIGKILL)) as gate:
        operator = Operator(
            plane=plane,
            folder=tmp_path,
            user=user,
            kubeconfig=gate.kubeconfig,
            namespace=fleet.namespace,
            watch_namespaces=fleet.namespace,
            identity="one-and-the-same",  # the Lease is its own: no wait for the old one's end
            debounce_seconds="0",
        )
        yield gate, operator
        operator.kill()


def test_killed_at_every_write_of_a_rollout_it_ends_the_same(fleet, gated):
    gate, operator = gated
    gate.allow(10_000)
    operator.start()
    for name in ("calm", "chat"):
        fleet.apply(name, replicas=1)
        fleet.await_settled(name, replicas=1)
    begun = len(gate.landed)
    fleet.change("calm")
    fleet.await_settled("calm", replicas=1)
    undisturbed = changes(gate.landed[begun:], name="calm")
    operator.kill()
    mark, begun, lives = fleet.mark(), len(gate.landed), 0
    fleet.change("chat")
    while not fleet.settled("chat", replicas=1):
        # Each lives for exactly one write, and is dead before it hears that the write has landed.
        gate.allow(0)
        operator.start()
        gate.allow(1)
        fleet.until(lambda: gate.spent or fleet.settled("chat", replicas=1), what="one more write")
        operator.kill()
        lives += 1
    disturbed = gate.landed[begun:]
    assert len(disturbed) in (lives, lives - 1)
    assert changes(disturbed, name="chat") == undisturbed
    assert not changes(disturbed, name="calm")
    assert min(sum(map(ready, state)) for state in fleet.history(mark)) >= 2
    for name in ("calm", "chat"):
        assert sorted(d["spec"]["replicas"] for d in fleet.owned("deployments", name)) == [0, 1]
        assert len(fleet.owned("controllerrevisions", name)) == 2
        assert len(fleet.owned("services", name)) == 3
    gate.allow(10_000)
    begun = len(gate.landed)
    operator.start()
    fleet.until(lambda: operator.passes >= 2, what="a pass over both")
    assert gate.landed[begun:] == []


def test_another_takes_over_from_a_killed_leader(fleet, start):
    first = start(lease_seconds=TAKEOVER_SECONDS)
    lead(fleet, first)
    second = start(lease_seconds=TAKEOVER_SECONDS)
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
    first = start(lease_seconds=TAKEOVER_SECONDS)
    lead(fleet, first)
    fleet.apply()
    fleet.await_settled()
    second = start(lease_seconds=TAKEOVER_SECONDS)
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


def test_a_write_that_a_stopped_leader_had_sent_does_not_land(fleet, start, gated):
    gate, first = gated
    gate.allow(10_000)
    first.start()
    lead(fleet, first)
    fleet.apply()
    fleet.await_settled()
    gate.allow(0)
    fleet.patch("llmdeployments", "chat", {"spec": {"replicas": 3}})
    fleet.until(lambda: gate.held, what="a write on its way")
    first.signal(signal.SIGSTOP)
    landed = list(gate.landed)
    second = start(lease_seconds=TAKEOVER_SECONDS)
    lead(fleet, second)
    fleet.patch("llmdeployments", "chat", {"spec": {"replicas": 1}})
    fleet.await_settled(replicas=1)
    gate.allow(10_000)
    fleet.until(lambda: gate.refused, what="the answer to that write")
    ((write, status),) = gate.refused
    assert (write.resource, status) == ("deployments/scale", 409)
    first.signal(signal.SIGCONT)
    assert first.wait() != 0
    assert gate.landed == landed
    assert [d["spec"]["replicas"] for d in fleet.list("deployments")] == [1]
    assert second.leads


def test_a_restarted_api_server_is_met_again(fleet, start, plane):
    operator = start()
    lead(fleet, operator)
    fleet.apply()
    fleet.await_settled()
    before = {p["metadata"]["uid"] for p in fleet.pods()}
    plane.restart_apiserver()
    assert {p["metadata"]["uid"] for p in fleet.pods()} == before
    fleet.patch("llmdeployments", "chat", {"spec": {"replicas": 3}})
    fleet.await_settled(replicas=3)
    assert operator.leads
    assert "pass.unexpected" not in operator.log.read_text()
