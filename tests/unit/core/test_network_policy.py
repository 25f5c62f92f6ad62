"""Engine pods behind the gateway are reached by those whom the installation admits; others' Services stay open."""

from typing import Any

import pytest

from modelfleet.core.plan import Apply, Create, Delete
from modelfleet.core.world import RenderSettings
from tests.unit.core.cluster import IMAGES, Cluster, running

PEERS: tuple[dict[str, Any], ...] = (
    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "modelfleet-system"}}},
    {"podSelector": {}},
)
OPEN = RenderSettings(engine_images=IMAGES, gateway_url="http://gateway")
GUARDED = RenderSettings(engine_images=IMAGES, gateway_url="http://gateway", engine_peers=PEERS)
POLICY = ("NetworkPolicy", "chat-engines")


@pytest.fixture
def guarded() -> Cluster:
    cluster = running()
    cluster.extra["settings"] = GUARDED
    cluster.settle()
    return cluster


def test_every_revisions_pods_admit_the_peers_and_nobody_else(guarded: Cluster) -> None:
    spec = guarded.objects[POLICY].body["spec"]
    assert spec["ingress"] == [{"from": list(PEERS)}]
    assert spec["policyTypes"] == ["Ingress"], "what engines ask for is not limited: they fetch models"
    selected = spec["podSelector"]["matchLabels"].items()
    (workload,) = guarded.workloads.values()
    assert selected <= workload.template["metadata"]["labels"].items()
    guarded.change(engine={"args": ["--max-model-len=9"]})
    guarded.settle()
    assert all(selected <= w.template["metadata"]["labels"].items() for w in guarded.workloads.values())


def test_it_comes_without_a_new_revision(guarded: Cluster) -> None:
    assert len(guarded.workloads) == 1


def test_new_peers_reach_what_runs(guarded: Cluster) -> None:
    guarded.extra["settings"] = RenderSettings(
        engine_images=IMAGES, gateway_url="http://gateway", engine_peers=PEERS[:1]
    )
    (action,) = guarded.reconcile().actions
    assert isinstance(action, Apply)
    assert guarded.objects[POLICY].body["spec"]["ingress"] == [{"from": [PEERS[0]]}]


def test_a_deleted_one_is_back(guarded: Cluster) -> None:
    del guarded.objects[POLICY]
    (action,) = guarded.reconcile().actions
    assert isinstance(action, Create)


@pytest.mark.parametrize("settings", [OPEN, RenderSettings(engine_images=IMAGES, engine_peers=PEERS)])
def test_without_peers_or_gateway_there_is_none(settings: RenderSettings) -> None:
    cluster = running()
    cluster.extra["settings"] = settings
    cluster.settle()
    assert POLICY not in cluster.objects


def test_who_asks_for_a_service_is_reached_by_all_again(guarded: Cluster) -> None:
    guarded.change(routing={"provider": "Service"})
    assert Delete in {type(action) for action in guarded.reconcile().actions}
    assert POLICY not in guarded.objects
    assert ("Service", "chat") in guarded.objects
