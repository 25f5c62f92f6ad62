"""Replicas follow what Prometheus reports of real vLLM, each change says why, and silence never lowers them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from e2e import fleet
from e2e.cluster import external, whole
from e2e.llm import RESOURCES, Llm, restarts, uids
from e2e.streams import streams

WINDOW_SECONDS = 30
SCALE_SECONDS = 600.0
STREAMS = 12
PROMETHEUS = ("deployment/prometheus", "-n", "monitoring")


def scaling(**metric: object) -> dict[str, object]:
    """One to two replicas by one metric."""
    down = {"stabilizationSeconds": WINDOW_SECONDS}
    return {"minReplicas": 1, "maxReplicas": 2, "metrics": [metric], "behavior": {"scaleDown": down}}


@pytest.fixture
def one(shared: Llm) -> Llm:
    """One replica that answers two requests at a time: others queue."""
    spec = scaling(type="QueueDepth", target=3)
    # A CPU limit is what the stand-in for GPU utilisation measures against.
    resources = {**RESOURCES, "limits": {"cpu": "1"}}
    shared.apply(args=("--max-num-seqs=2",), resources=resources, scaling=spec)
    shared.await_settled(replicas=1)
    return shared


def last_scale(llm: Llm) -> tuple[str, str, str]:
    decision = llm.decisions("Scale")[-1]
    return decision["from"], decision["to"], decision["reason"]


def scaled(llm: Llm, *, replicas: int) -> None:
    llm.until(f"{replicas} wanted", lambda: llm.status()["scaling"]["desired"] == replicas, seconds=SCALE_SECONDS)
    llm.await_settled(replicas=replicas)
    assert llm.status()["gpus"] == replicas


@pytest.mark.parametrize(("metric", "target"), [("QueueDepth", 3), ("GPUUtilization", 0.5)])
def test_out_under_load_and_back(one: Llm, metric: str, target: float) -> None:
    """Given one replica, when it is loaded beyond the target, then a second joins with the reason told, and leaves."""
    before = uids(one.pods())
    one.patch({"scaling": scaling(type=metric, target=target)})
    with streams(one, count=STREAMS) as flow:
        scaled(one, replicas=2)
        assert last_scale(one) == ("1", "2", "ScaleUp")
        said = one.decisions("Scale")[-1]["message"]
        found = re.match(rf"1 -> 2: {metric} ([\d.]+) per replica, target {target}\b", said)
        assert found, said
        assert float(found[1]) > target * 1.1
        assert before < uids(one.pods())
        counts = flow.end()
    scaled(one, replicas=1)
    assert last_scale(one) == ("2", "1", "ScaleDown")
    assert f"{metric} 0" in one.decisions("Scale")[-1]["message"]
    assert (counts["failed"], counts["cut"], counts["open"]) == (0, 0, 0), counts
    assert restarts(one.pods()) == 0


@pytest.fixture
def prometheus() -> Iterator[None]:
    """Prometheus is there again after the test."""
    yield
    whole.kubectl("scale", *PROMETHEUS, "--replicas=1")
    whole.kubectl("rollout", "status", *PROMETHEUS, "--timeout=300s", timeout=330)


@pytest.mark.skipif(external.configured() is not None, reason="stops the embedded cluster's Prometheus")
@pytest.mark.usefixtures("prometheus")
def test_without_prometheus_nothing_is_lowered(one: Llm) -> None:
    """Given two replicas under load, when Prometheus is gone and then the load, then both stay until it is back."""
    with streams(one, count=STREAMS) as flow:
        scaled(one, replicas=2)
        before = uids(one.pods())
        whole.kubectl("scale", *PROMETHEUS, "--replicas=0")
        one.until("that is told", lambda: one.condition("MetricsAvailable")[0] == "False")
        flow.end()
    with one.watched() as states:
        # Idle for twice the time after which it would otherwise be lowered.
        one.until("twice the window", lambda: age(one) > 2 * WINDOW_SECONDS, seconds=4 * WINDOW_SECONDS)
        status = one.status()
    assert (status["scaling"]["desired"], status["readyReplicas"]) == (2, 2)
    assert all(uids(state.values()) == before for state in states)
    assert one.condition("MetricsAvailable")[0] == "False"
    assert one.message("MetricsAvailable")

    whole.kubectl("scale", *PROMETHEUS, "--replicas=1")
    one.until("that is told", lambda: one.condition("MetricsAvailable")[0] == "True")
    scaled(one, replicas=1)
    assert last_scale(one) == ("2", "1", "ScaleDown")


def age(llm: Llm) -> float:
    """Seconds for which metrics have been unavailable."""
    since = fleet.condition(llm.body(), "MetricsAvailable")["lastTransitionTime"]
    return (datetime.now(tz=UTC) - datetime.fromisoformat(since)).total_seconds()
