"""An operator that may see listed namespaces only, with the chart's rights and no others: no node can be read."""

from __future__ import annotations

import pytest

from e2e.cluster import audit
from tests.api.fleet import Fleet, Operator, pending, ready
from tests.chart.helm import NAMESPACE, RELEASE, render

pytestmark = pytest.mark.slow

MINE, FOREIGN = "namespaced-mine", "namespaced-foreign"
USER = "operator-namespaced"


@pytest.fixture(scope="module")
def operator(control_plane, tmp_path_factory):
    """The operator of a chart with `watchNamespaces` and without `nodes`; its account is a user here."""
    for name in (MINE, FOREIGN, NAMESPACE):
        control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    user = {"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"}
    for manifest in render(watchNamespaces=[MINE], nodes={"enabled": False}, aggregateRoles={"enabled": False}):
        if manifest["kind"] == "Role":
            control_plane.apply(manifest)
        elif manifest["kind"] == "RoleBinding" and [who["name"] for who in manifest["subjects"]] == [RELEASE]:
            control_plane.apply(manifest | {"subjects": [user]})
    with Operator(
        plane=control_plane,
        folder=tmp_path_factory.mktemp("operator"),
        user=USER,
        kubeconfig=control_plane.user_kubeconfig(USER),
        namespace=NAMESPACE,
        lease_name=RELEASE,
        watch_namespaces=MINE,
        read_nodes="false",
        debounce_seconds="0.1",
    ) as running:
        yield running


@pytest.fixture
def fleet(operator, control_plane):
    fleet = Fleet(plane=control_plane, namespace=MINE)
    yield fleet
    fleet.clear()


def test_it_serves_its_namespace_and_says_that_capacity_is_unknown(fleet, control_plane):
    fleet.apply()
    fleet.await_settled()
    assert fleet.condition("CapacityAvailable") == ("Unknown", "NodesNotReadable")
    assert fleet.condition("Ready") == ("True", "AllReplicasReady")
    assert audit.refused(control_plane.audit_log, user=USER) == set()


def test_it_leaves_other_namespaces_alone(fleet, operator, control_plane):
    foreign = Fleet(plane=control_plane, namespace=FOREIGN)
    foreign.apply("theirs")
    fleet.apply("ours")
    fleet.await_settled("ours")
    assert not foreign.status("theirs")
    assert not foreign.list("deployments")
    foreign.delete("llmdeployments", "theirs")


def test_a_rollout_asks_the_scheduler_with_one_replica_at_a_time(fleet):
    name = "rolling"
    fleet.apply(name, accelerator=fleet.add_gpus(3), replicas=3, rollout={"maxSurge": 3})
    fleet.await_settled(name, replicas=3)
    mark = fleet.mark()
    fleet.change(name)
    waits = ("False", "InsufficientGPU")
    fleet.until(lambda: fleet.condition("CapacityAvailable", name) == waits, what="CapacityAvailable=False")
    message = fleet.whole_condition("CapacityAvailable", name)["message"]
    assert "nvidia.com/gpu" in message  # the scheduler's words
    assert "rollout.capacity: InPlace" in message
    states = [[pod for pod in state if pod["metadata"]["name"].startswith(name)] for state in fleet.history(mark)]
    assert max(sum(map(pending, state)) for state in states) == 1
    assert min(sum(map(ready, state)) for state in states) == 3
    fleet.patch("llmdeployments", name, {"spec": {"rollout": {"maxUnavailable": 1, "maxSurge": 0}}})
    fleet.await_settled(name, replicas=3)
    assert fleet.condition("CapacityAvailable", name) == ("Unknown", "NodesNotReadable")
