"""Replicas that follow Prometheus: up and down when it answers, never down when it does not, or not well."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest

from tests.api.fleet import Fleet, Operator, ready
from tests.api.scripted_prometheus import ScriptedPrometheus

pytestmark = pytest.mark.slow

NAMESPACE = "scaling"
BUSY = 15.0
"""Requests that wait in all: three replicas' worth at a target of five."""
SCALING = {
    "minReplicas": 1, "maxReplicas": 4, "metrics": [{"type": "QueueDepth", "target": 5}],
    "behavior": {"scaleDown": {"stabilizationSeconds": 0}},
}  # fmt: skip
LOOKS = 6
"""At the metrics, after which something would have happened if it were going to."""


numbers = itertools.count()


class Load:
    """Requests that wait for an LLMDeployment, spread evenly over its replicas."""

    def __init__(self, fleet):
        self.fleet, self.waiting = fleet, {}

    def __call__(self):
        found = {}
        for name, total in dict(self.waiting).items():
            pods = [p["metadata"]["name"] for p in self.fleet.pods(name) if ready(p)]
            found |= {(NAMESPACE, pod): total / max(1, len(pods)) for pod in pods}
        return found


@pytest.fixture(scope="module")
def fleet(control_plane):
    return Fleet(plane=control_plane, namespace=NAMESPACE)


@pytest.fixture(scope="module")
def prometheus(fleet):
    scripted = ScriptedPrometheus(load=Load(fleet))
    yield scripted
    scripted.stop()


@pytest.fixture(scope="module")
def operator(control_plane, fleet, prometheus, tmp_path_factory):
    with Operator(
        plane=control_plane,
        folder=tmp_path_factory.mktemp("operator"),
        user="operator-scaling",
        namespace=NAMESPACE,
        watch_namespaces=NAMESPACE,
        prometheus_url=prometheus.url,
        prometheus_timeout_seconds="10",
        tick_seconds="0.2",
        debounce_seconds="0.1",
    ) as running:
        yield running


@pytest.fixture
def busy(fleet, operator, prometheus):
    """An LLMDeployment that load has brought to three replicas, which have been ready for a while."""
    name = f"chat-{next(numbers)}"
    prometheus.load.waiting[name] = BUSY
    fleet.apply(name, scaling=SCALING)
    fleet.await_settled(name, replicas=3)
    for pod in fleet.pods(name):
        # Values may be missing for a minute after a replica became ready: these are older.
        age(fleet, pod)
    fleet.until(lambda: fleet.condition("MetricsAvailable", name) == ("True", "Available"), what="metrics")
    yield name
    prometheus.mend()
    del prometheus.load.waiting[name]
    fleet.delete("llmdeployments", name)


def age(fleet, pod):
    long_ago = (dt.datetime.now(tz=dt.UTC) - dt.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [{**one, "lastTransitionTime": long_ago} for one in pod["status"]["conditions"]]
    answer = fleet.plane.http.patch(
        f"{fleet.path('pods', pod['metadata']['name'])}/status",
        headers={"Content-Type": "application/merge-patch+json"},
        json={"status": {"conditions": conditions}},
    )
    answer.raise_for_status()


def replicas(fleet, name):
    return [d["spec"]["replicas"] for d in fleet.owned("deployments", name)]


def test_load_raises_and_its_end_lowers_with_the_reason_told(fleet, busy, prometheus):
    up = next(one for one in fleet.status(busy)["decisions"] if one["reason"] == "ScaleUp")
    assert (up["from"], up["to"]) == ("1", "3")
    assert "QueueDepth 15 per replica, target 5" in up["message"]
    prometheus.load.waiting[busy] = 0.0
    fleet.await_settled(busy, replicas=1)
    down = fleet.status(busy)["decisions"][-1]
    assert (down["reason"], down["from"], down["to"]) == ("ScaleDown", "3", "1")
    assert "QueueDepth 0 per replica" in down["message"]


@pytest.mark.parametrize(
    "fault",
    [
        ("down", "QueryFailed"),
        ("error", "QueryFailed"),
        ("empty", "NoData"),
        ("nan", "NoData"),
        ("stale", "NoData"),
        ("partial", "PartialData"),
    ],
    ids=lambda fault: fault[0],
)
def test_without_good_answers_nothing_falls_and_it_is_told(fleet, busy, prometheus, operator, fault):
    fault, reason = fault
    mark = fleet.mark()
    prometheus.break_down(fault)
    prometheus.load.waiting[busy] = 0.0  # who reads nothing as zero lowers now; so does who believes the rest
    told = ("False", reason)
    fleet.until(lambda: fleet.condition("MetricsAvailable", busy) == told, what=f"MetricsAvailable=False/{reason}")
    passes = operator.passes
    fleet.until(lambda: operator.passes >= passes + LOOKS, what="more looks at the metrics")
    assert fleet.condition("MetricsAvailable", busy) == told
    assert fleet.whole_condition("MetricsAvailable", busy)["message"]
    assert replicas(fleet, busy) == [3]
    mine = [[pod for pod in state if pod["metadata"]["name"].startswith(busy)] for state in fleet.history(mark)]
    assert min(sum(map(ready, state)) for state in mine) == 3
    prometheus.mend()
    fleet.await_settled(busy, replicas=1)
    fleet.until(lambda: fleet.condition("MetricsAvailable", busy) == ("True", "Available"), what="metrics again")


def test_a_restart_writes_nothing_though_it_has_no_metrics_at_first(fleet, busy, operator, prometheus):
    operator.stop()
    before = operator.writes()
    asked = prometheus.asked
    operator.start()
    fleet.until(lambda: operator.leads and prometheus.asked >= asked + LOOKS, what="several looks at the metrics")
    assert operator.writes() == before
    assert replicas(fleet, busy) == [3]
