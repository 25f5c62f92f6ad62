"""Operators that die in a canary, at every write or with another one beside them: same end, and no promise broken."""

from __future__ import annotations

import signal

import pytest

from tests.api.chronicle import Chronicle, broken
from tests.api.fleet import Operator
from tests.api.rollouts import STANDSTILL_SECONDS, Rollouts, rollouts
from tests.api.write_gate import WriteGate, changes

pytestmark = pytest.mark.story

EVERY = 10_000


@pytest.fixture
def fleet(control_plane, request):
    with rollouts(
        plane=control_plane, namespace=f"kills-{request.node.name[:30].strip('_').replace('_', '-')}"
    ) as found:
        yield found


@pytest.fixture
def gated(fleet, tmp_path):
    """An operator that sends its writes through a gate, which kills it when the last allowed one has landed."""
    upstream = fleet.plane.user_kubeconfig(f"gated-{fleet.namespace}", cluster_role="cluster-admin")
    with WriteGate(upstream=upstream, folder=tmp_path, when_spent=lambda: operator.signal(signal.SIGKILL)) as gate:
        # The Lease is its own: no wait for the old one's end.
        operator = fleet.operator(folder=tmp_path, kubeconfig=gate.kubeconfig, identity="one-and-the-same")
        yield gate, operator
        operator.kill()


def ended(fleet: Rollouts, name: str, old: str) -> bool:
    return fleet.serving(name) != old and fleet.revisions_of_pods(name) == {fleet.serving(name)} and fleet.settled(name)


def undisturbed(fleet, gate, operator):
    """Let a canary called calm be promoted by one operator; gives its writes."""
    gate.allow(EVERY)
    operator.start()
    begun = {name: fleet.serve(name) for name in ("calm", "chat")}
    before = len(gate.landed)
    fleet.change("calm")
    fleet.reach("calm", lambda: ended(fleet, "calm", begun["calm"]), what="the end")
    operator.kill()
    return begun["chat"], gate.landed[before:]


def test_killed_at_every_write_of_a_canary_it_ends_the_same(fleet, gated):
    gate, operator = gated
    old, calm = undisturbed(fleet, gate, operator)
    begun, lives = len(gate.landed), 0
    with Chronicle(fleet=fleet) as chronicle:
        fleet.change("chat")
        while not ended(fleet, "chat", old):
            # Each lives for exactly one write, and is dead before it hears that the write has landed.
            gate.allow(0)
            operator.start()
            gate.allow(1)
            fleet.reach("chat", lambda: gate.spent or ended(fleet, "chat", old), what="one more write")
            operator.kill()
            lives += 1
    disturbed = gate.landed[begun:]
    assert len(disturbed) in (lives, lives - 1)
    assert changes(disturbed, name="chat") == changes(calm, name="calm")
    assert not changes(disturbed, name="calm")
    assert broken(chronicle.states, name="chat", desired=2) == []
    for name in ("calm", "chat"):
        assert sorted(d["spec"]["replicas"] for d in fleet.owned("deployments", name)) == [0, 2]
        assert len(fleet.owned("controllerrevisions", name)) == 2
        assert len(fleet.owned("services", name)) == 3
        assert fleet.condition("Degraded", name)[0] == "False"


def test_leaders_that_change_at_every_step_take_it_to_the_end(fleet, tmp_path):
    operators = [fleet.operator(folder=tmp_path, user=f"leader-{number}", lease_seconds="10") for number in range(2)]
    try:
        old = served(fleet, operators)
        with Chronicle(fleet=fleet) as chronicle:
            fleet.change("chat")
            for weight in (20, 50, 100):
                fleet.reach("chat", lambda weight=weight: new_share(fleet, old) >= weight, what=f"{weight} %")
                leader = take_turns(fleet, operators)
                leader.start()
            fleet.reach("chat", lambda: revived(operators) and ended(fleet, "chat", old), what="the end")
        assert broken(chronicle.states, name="chat", desired=2) == []
        assert all(one.writes() > 0 for one in operators)
    finally:
        for operator in operators:
            operator.kill()


def served(fleet: Rollouts, operators: list[Operator]) -> str:
    for operator in operators:
        operator.start()
    return fleet.serve("chat")


def take_turns(fleet: Rollouts, operators: list[Operator]) -> Operator:
    """Kill the leader; gives it when the other leads."""
    leader = fleet.until(lambda: revived(operators) and leading(operators), what="a leader", seconds=STANDSTILL_SECONDS)
    leader.kill()
    others = [one for one in operators if one is not leader]
    fleet.until(lambda: revived(others) and leading(others), what="another leader", seconds=STANDSTILL_SECONDS)
    return leader


def revived(operators: list[Operator]) -> bool:
    """Start again whoever lost its Lease to a busy machine, as Kubernetes would."""
    for operator in operators:
        if not operator.alive:
            operator.start()
    return True


def leading(operators: list[Operator]) -> Operator | None:
    return next((one for one in operators if one.alive and one.leads), None)


def new_share(fleet: Rollouts, old: str) -> int:
    return max((percent for revision, percent in fleet.weights("chat").items() if revision != old), default=0)
