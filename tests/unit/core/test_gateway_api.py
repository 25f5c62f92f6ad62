"""Provider GatewayAPI: one HTTPRoute with a weight per revision, and what its Gateways say of it."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from modelfleet.core import names
from modelfleet.core.decide import decide
from modelfleet.core.plan import Create, Delete, Rotate, stages
from modelfleet.core.world import OwnedObject, Replica, RouteObstacle, Workload
from tests.unit.core.cluster import Cluster, words

ROUTING = {
    "provider": "GatewayAPI",
    "gatewayAPI": {"parentRefs": [{"name": "edge", "namespace": "infra"}], "hostnames": ["*.chat.test", "chat.test"]},
}
LONG = {"engine": {"args": ["--max-model-len=512"]}}


@dataclass(kw_only=True)
class Routed(Cluster):
    """A cluster with the Gateway API; one Gateway answers to the route when the test says so."""

    known: dict[str, int] = field(default_factory=dict)
    """Weights that the Gateway uses: those it answered to last."""

    def _put(self, manifest: Any, *, new: bool) -> bool:
        before = self.objects.get((manifest["kind"], manifest["metadata"]["name"]))
        if not super()._put(manifest, new=new):
            return False
        if manifest["kind"] == "HTTPRoute":
            old = before.body if before else {"metadata": {"generation": 0}}
            changed = old.get("spec") != manifest["spec"]
            meta = {**manifest["metadata"], "generation": old["metadata"]["generation"] + changed}
            self.edit({**manifest, "metadata": meta, "status": old.get("status", {})})
        return True

    @property
    def route(self) -> dict[str, Any]:
        found: dict[str, Any] = dict(self.objects["HTTPRoute", "chat"].body)
        return found

    def edit(self, body: dict[str, Any]) -> None:
        seen = self.objects["HTTPRoute", "chat"]
        self.objects["HTTPRoute", "chat"] = replace(seen, body=body, resource_version=self._next())

    @property
    def weights(self) -> dict[str, int]:
        (rule,) = self.route["spec"]["rules"]
        return {backend["name"].removeprefix("chat-"): backend["weight"] for backend in rule["backendRefs"]}

    def answer(self, *, accepted: str = "True", resolved: str = "True", generation: int | None = None) -> None:
        """Let the Gateway take in the route as it is, or say why not."""
        now = {"observedGeneration": generation or self.route["metadata"]["generation"], "message": "so it is"}
        conditions = [
            {"type": "Accepted", "status": accepted, "reason": "NoMatchingParent", **now},
            {"type": "ResolvedRefs", "status": resolved, "reason": "BackendNotFound", **now},
        ]
        parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge", "namespace": "infra"}
        self.edit({**self.route, "status": {"parents": [{"parentRef": parent, "conditions": conditions}]}})
        if accepted == resolved == "True":
            self.known = self.weights

    def accepted(self) -> tuple[str, str]:
        self.status = dict(decide(self.snapshot()).status)
        found = self.condition("RouteAccepted")
        return found["status"], found["reason"]

    def serving(self, revision: str) -> int:
        return sum(p.revision == revision and p.ready and p.in_rotation for p in self.pods.values())


def routed(**changes: Any) -> Routed:
    """A cluster whose first revision serves, with a route that its Gateway has taken in."""
    cluster = Routed(spec=words(**{"routing": ROUTING, **changes}))
    cluster.settle()
    cluster.answer()
    cluster.settle()
    return cluster


def test_a_route_of_its_own_leads_to_what_clients_may_call():
    cluster = routed(replicas=3)
    meta, spec = cluster.route["metadata"], cluster.route["spec"]
    assert meta["ownerReferences"][0]["uid"] == "uid-chat"
    assert meta["labels"][names.OWNER] == "chat"
    gateway = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge", "namespace": "infra"}
    assert spec["parentRefs"] == [gateway]
    assert spec["hostnames"] == ["*.chat.test", "chat.test"]
    (rule,) = spec["rules"]
    service = {"group": "", "kind": "Service", "port": 80, "name": f"chat-{cluster.revision}"}
    assert rule["backendRefs"] == [{**service, "weight": 3}]
    assert rule["timeouts"] == {"request": "0s"}, "a stream may be long"
    paths = {match["path"]["value"] for match in rule["matches"]}
    assert "/v1/chat/completions" in paths
    assert "/v1/models" in paths
    assert {match["path"]["type"] for match in rule["matches"]} == {"Exact"}, "an engine's metrics stay inside"
    assert ("Service", f"chat-{cluster.revision}") in cluster.objects


def test_a_route_is_made_when_the_services_that_it_names_are_there():
    cluster = Routed(spec=words(routing=ROUTING))
    kinds = [
        [action.manifest["kind"] for action in stage if isinstance(action, Create)]
        for stage in stages(decide(cluster.snapshot()).actions)
    ]
    assert kinds[-1] == ["HTTPRoute"]
    assert sum(stage.count("Service") for stage in kinds[:-1]) == 2


def test_the_address_is_the_first_host_name_that_is_one():
    cluster = routed()
    assert cluster.status["url"] == "http://chat.test"
    cluster.change(routing={"provider": "GatewayAPI", "gatewayAPI": {"parentRefs": [{"name": "edge"}]}})
    cluster.settle()
    assert cluster.status["url"] == "http://chat.team.svc"
    assert cluster.route["spec"]["hostnames"] == []


@pytest.mark.parametrize("changes", [{"maxSurge": 1}, {"maxSurge": 3}, {"maxSurge": 0, "maxUnavailable": 1}])
@pytest.mark.parametrize("delay", [0, 3])
def test_a_rolling_update_gives_no_traffic_to_a_revision_without_a_ready_replica(changes, delay):
    cluster = routed(replicas=3, rollout=changes)
    old = cluster.revision
    cluster.change(**LONG)
    for step in range(80):
        cluster.reconcile()
        cluster.controllers()
        for revision, weight in cluster.known.items():
            assert not weight or cluster.serving(revision), f"step {step}: {revision} has a weight of {weight}"
        if step % (delay + 1) == delay:
            cluster.answer()
        cluster.warm(count=1)
        cluster.now += 1
    assert cluster.serving(cluster.revision) == 3
    assert not cluster.serving(old)
    assert cluster.weights == {cluster.revision: 3}
    assert cluster.accepted() == ("True", "Accepted")


def test_a_replica_gets_a_weight_when_its_endpoints_have_followed():
    cluster = routed(replicas=1)
    cluster.change(**LONG)
    while not cluster.serving(cluster.revision):
        cluster.reconcile()
        cluster.controllers()
        cluster.warm()
    plan = cluster.reconcile()
    assert cluster.weights[cluster.revision] == 0
    assert plan.requeue_after == 2.0
    cluster.now += 2
    cluster.reconcile()
    assert cluster.weights[cluster.revision] == 1


def test_a_step_begins_when_the_route_has_its_share_and_the_gateway_knows():
    cluster = routed(replicas=1, rollout={"strategy": "Canary", "canary": {"steps": [{"weight": 20}]}})
    old = cluster.revision
    cluster.change(**LONG)
    for _ in range(100):  # the Gateway answers at once, until there is traffic to split
        plan = cluster.reconcile()
        if cluster.weights == {old: 80, cluster.revision: 20}:
            break
        assert "stepStartedAt" not in cluster.status["rollout"], cluster.weights
        cluster.answer()
        cluster.controllers()
        cluster.warm()
        cluster.now += 0.5
    assert cluster.weights == {old: 80, cluster.revision: 20}, plan
    cluster.now += cluster.snapshot().settings.ack_timeout_seconds + 1
    cluster.reconcile()
    told = cluster.status["rollout"]
    assert (told["hold"], "stepStartedAt" in told) == ("RouterUnverified", False)
    assert "Gateway infra/edge has not taken in the newest route" in told["message"]
    cluster.answer()
    cluster.reconcile()
    assert "stepStartedAt" in cluster.status["rollout"]


def test_a_node_whose_clock_is_ahead_delays_nothing():
    cluster = routed(replicas=2)
    cluster.pods = {name: replace(p, ready_since=cluster.now + 60) for name, p in cluster.pods.items()}
    cluster.reconcile()
    assert cluster.weights == {cluster.revision: 2}


def test_a_gateway_that_says_nothing_holds_a_replica_only_for_a_time():
    cluster = routed(replicas=1)
    old = cluster.revision
    cluster.change(**LONG)
    since, waited = cluster.now, 0.0
    while cluster.serving(old):
        plan = cluster.reconcile()
        cluster.controllers()
        cluster.warm()
        cluster.now += 1
        waited = cluster.now - since
        assert waited < 60, plan
    assert waited > cluster.snapshot().settings.ack_timeout_seconds
    assert cluster.condition("RouteAccepted")["reason"] == "AwaitingGateway"


def test_who_waits_for_a_gateway_looks_again_by_itself():
    cluster = routed(replicas=1)
    cluster.change(**LONG)
    while cluster.weights.get(cluster.revision, 0) == 0:
        plan = cluster.reconcile()
        cluster.controllers()
        cluster.warm()
        cluster.now += 1
    plan = cluster.reconcile()
    assert not [a for a in plan.actions if isinstance(a, Rotate)]
    assert plan.requeue_after is not None
    assert plan.requeue_after <= cluster.snapshot().settings.ack_timeout_seconds


def test_one_of_several_replicas_leaves_without_asking():
    cluster = routed(replicas=3)
    cluster.change(replicas=1)
    assert len([a for a in cluster.reconcile().actions if isinstance(a, Rotate)]) == 2
    assert cluster.weights == {cluster.revision: 1}


def test_weights_in_status_decide_and_are_clamped():
    cluster = routed(replicas=2)
    stable = cluster.revision
    cluster.change(**LONG, suspend=True)
    canary = cluster.revision
    stable_workload = next(iter(cluster.workloads.values()))
    name = f"chat-{canary}"
    cluster.workloads[name] = replace(stable_workload, name=name, revision=canary, replicas=1)
    cluster.status["revisions"] = [{"hash": stable, "weight": 95}, {"hash": canary, "weight": 5}]

    def weights() -> dict[str, int]:
        plan = decide(cluster.snapshot())
        (route,) = [a.manifest for a in plan.actions if getattr(a, "manifest", {}).get("kind") == "HTTPRoute"]
        return {b["name"].removeprefix("chat-"): b["weight"] for b in route["spec"]["rules"][0]["backendRefs"]}

    assert weights() == {stable: 95, canary: 0}
    pod = Replica(name="new", uid="new", resource_version="1", revision=canary, ready=True, in_rotation=True)
    cluster.pods["new"] = pod
    assert weights() == {stable: 95, canary: 5}
    cluster.pods = {name: replace(p, ready=False) for name, p in cluster.pods.items()}
    assert weights() == {stable: 95, canary: 5}, "with nobody ready the answer is a Gateway's 503, not its 500"


def test_the_heaviest_revisions_are_named_when_there_are_more_than_a_route_can_hold():
    cluster = routed(replicas=1)
    for number in range(20):
        revision = f"{number:010}"
        some = next(iter(cluster.workloads.values()))
        cluster.workloads[revision] = Workload(
            name=f"chat-{revision}", uid=revision, resource_version="1", revision=revision, replicas=1,
            template=some.template,
        )  # fmt: skip
    cluster.change(suspend=True)
    cluster.reconcile()
    assert len(cluster.weights) == 16
    assert cluster.weights[cluster.revision] == 1


def test_accepted_when_every_gateway_says_so_of_the_newest_route():
    cluster = routed()
    assert cluster.accepted() == ("True", "Accepted")
    cluster.answer(generation=7)
    assert cluster.accepted() == ("Unknown", "AwaitingGateway")
    cluster.answer(accepted="False")
    assert cluster.accepted() == ("False", "NoMatchingParent")
    assert cluster.condition("RouteAccepted")["message"] == "Gateway infra/edge: so it is"
    cluster.answer(resolved="False")
    assert cluster.accepted() == ("False", "BackendNotFound")
    cluster.answer(resolved="Unknown")
    assert cluster.accepted() == ("Unknown", "AwaitingGateway")


def test_one_silent_gateway_of_two_is_named():
    cluster = routed()
    refs = [{"name": "edge", "namespace": "infra"}, {"name": "second", "sectionName": "https", "port": 443}]
    cluster.change(routing={"provider": "GatewayAPI", "gatewayAPI": {"parentRefs": refs}})
    cluster.settle()
    cluster.answer()
    assert cluster.accepted() == ("Unknown", "AwaitingGateway")
    assert "Gateway team/second (https)" in cluster.condition("RouteAccepted")["message"]


def test_of_two_controllers_for_one_gateway_the_refusal_counts():
    cluster = routed()
    (said,) = cluster.route["status"]["parents"]
    refusal = {**said["conditions"][0], "status": "False"}
    parents = [said, {**said, "conditions": [refusal]}]
    cluster.edit({**cluster.route, "status": {"parents": parents}})
    assert cluster.accepted() == ("False", "NoMatchingParent")


def test_before_there_is_a_route_nobody_can_have_answered():
    cluster = Routed(spec=words(routing=ROUTING, replicas=1))
    cluster.extra["settings"] = replace(cluster.snapshot().settings, engine_images={})
    cluster.settle()
    assert cluster.accepted() == ("Unknown", "AwaitingGateway")
    assert ("HTTPRoute", "chat") not in cluster.objects


@pytest.mark.parametrize(
    ("obstacle", "word"),
    [
        (RouteObstacle(reason="GatewayAPIMissing", message="could not find it"), "install the Gateway API"),
        (RouteObstacle(reason="RouteNotOurs", message="Deployment shop"), "belongs to Deployment shop"),
        (RouteObstacle(reason="RouteRefused", message="hostnames: Too many"), "hostnames: Too many"),
    ],
)
def test_an_obstacle_is_named_and_everything_else_goes_on(obstacle, word):
    cluster = Routed(spec=words(routing=ROUTING, replicas=2))
    cluster.extra["route_obstacle"] = obstacle
    plan = cluster.settle()
    assert ("HTTPRoute", "chat") not in cluster.objects
    found = cluster.condition("RouteAccepted")
    assert (found["status"], found["reason"]) == ("False", obstacle.reason)
    assert word in found["message"]
    assert cluster.condition("Ready")["status"] == "True"
    assert (plan.requeue_after is None) is (obstacle.reason == "GatewayAPIMissing"), "discovery wakes whom it concerns"


def test_a_refused_change_leaves_the_last_route_as_it_was():
    cluster = routed()
    before = cluster.route
    cluster.extra["route_obstacle"] = RouteObstacle(reason="RouteRefused", message="no")
    cluster.change(replicas=3)
    cluster.settle()
    assert cluster.route == before


def test_another_provider_takes_the_route_away_and_the_first_brings_it_back():
    cluster = routed()
    cluster.change(routing={"provider": "Service"})
    deletes = [a for a in cluster.reconcile().actions if isinstance(a, Delete)]
    assert [(a.api_version, a.kind, a.name) for a in deletes] == [("gateway.networking.k8s.io/v1", "HTTPRoute", "chat")]
    assert cluster.accepted() == ("True", "Accepted")
    cluster.change(routing=ROUTING)
    cluster.settle()
    assert cluster.weights == {cluster.revision: 1}


def edited(body: dict[str, Any], **rule: Any) -> dict[str, Any]:
    return {**body, "spec": {**body["spec"], "rules": [{**body["spec"]["rules"][0], **rule}]}}


@pytest.mark.parametrize("hand", ["filter", "listener", "weight", "label"])
def test_what_someone_changed_in_the_route_is_put_back(hand: str):
    cluster = routed()
    before = cluster.route
    backend = before["spec"]["rules"][0]["backendRefs"][0]
    bodies = {
        "filter": edited(before, filters=[{"type": "RequestRedirect", "requestRedirect": {"hostname": "other.test"}}]),
        "listener": {
            **before,
            "spec": {**before["spec"], "parentRefs": [{**before["spec"]["parentRefs"][0], "sectionName": "http"}]},
        },
        "weight": edited(before, backendRefs=[{**backend, "weight": 0}]),
        "label": {**before, "metadata": {**before["metadata"], "labels": {}}},
    }
    cluster.edit(bodies[hand])
    cluster.settle()
    assert cluster.route["spec"] == before["spec"]
    assert cluster.route["metadata"]["labels"] == before["metadata"]["labels"]


def test_what_the_server_adds_is_no_change():
    cluster = routed()
    body = cluster.route
    cluster.edit({**body, "spec": {**body["spec"], "useDefaultGateways": "None"}})
    assert not cluster.reconcile().actions


def test_another_objects_of_the_kind_in_status_is_not_taken_for_a_parent():
    cluster = routed()
    (said,) = cluster.route["status"]["parents"]
    other = {**said, "parentRef": {"name": "edge", "namespace": "elsewhere"}}
    cluster.edit({**cluster.route, "status": {"parents": [other]}})
    assert cluster.accepted() == ("Unknown", "AwaitingGateway")
    assert isinstance(cluster.objects["HTTPRoute", "chat"], OwnedObject)
