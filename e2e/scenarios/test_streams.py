"""No stream is lost: not by fewer replicas, not by a new revision, not by a drained node."""

from __future__ import annotations

from functools import partial

import pytest

from e2e import fleet
from e2e.cluster import external, whole
from e2e.cluster.node_config import NODE
from e2e.llm import LABEL, START_SECONDS, Llm, leaving, ready, uids, unschedulable
from e2e.streams import streams

STREAMS = 12


def busy(llm: Llm) -> int:
    """Replicas that are generating now, as Prometheus has it."""
    return len(fleet.query(f'vllm:num_requests_running{{namespace="{llm.namespace}"}} > 0'))


@pytest.mark.short
def test_fewer_replicas_lose_no_stream(shared: Llm) -> None:
    """Given two replicas in the middle of streams, when one goes, then every stream ends whole and none is refused."""
    shared.have(replicas=2)
    before = uids(shared.pods())
    with streams(shared, count=STREAMS) as flow:
        flow.await_finished()
        shared.until("both at work", lambda: busy(shared) == 2)
        shared.kubectl("scale", f"llmdep/{shared.name}", "--replicas=1")
        shared.until("one pod left", lambda: len(shared.owned("pods")) == 1, seconds=START_SECONDS)
        flow.await_finished()
        counts = flow.end()
    assert (counts["failed"], counts["cut"], counts["open"]) == (0, 0, 0), counts
    assert uids(shared.pods()) < before
    shared.await_settled(replicas=1)


def test_a_new_revision_loses_no_stream(shared: Llm) -> None:
    """Given one replica, streams and a spare GPU, when the spec changes, then one stays ready and nothing is lost."""
    shared.have(replicas=1)
    before = uids(shared.pods())
    with streams(shared, count=STREAMS) as flow:
        flow.await_finished()
        with shared.watched() as states:
            shared.change()
            shared.await_settled(replicas=1)
            shared.await_alone()
        flow.await_finished()
        counts = flow.end()
    assert (counts["failed"], counts["cut"], counts["open"]) == (0, 0, 0), counts
    assert not before & uids(shared.pods())
    assert min(sum(map(ready, state.values())) for state in states) >= 1
    assert max(sum(not leaving(pod) for pod in state.values()) for state in states) == 2


@pytest.mark.skipif(external.configured() is not None, reason="drains a node, which a borrowed cluster may not like")
def test_a_drained_node_lets_its_streams_end(shared: Llm) -> None:
    """Given one replica, when its node is drained, then the drain ends and so does each stream, and it comes back."""
    shared.have(replicas=1)
    # No budget and no operator may hold it up: neither a serving replica nor one that loads.
    what = (f"--pod-selector={LABEL}={shared.name}", "--delete-emptydir-data", f"--timeout={START_SECONDS:.0f}s")
    drain = partial(whole.kubectl, "drain", NODE, *what, timeout=START_SECONDS + 30)
    try:
        with streams(shared, count=STREAMS) as flow:
            flow.await_finished()
            (serving,) = shared.pods()
            drain()
            assert not uids([serving]) & uids(shared.owned("pods"))
            shared.until("its successor waits", lambda: [p for p in shared.pods() if unschedulable(p)])
            shared.until("that is told", lambda: "kubectl uncordon" in shared.message("CapacityAvailable"))
            assert shared.condition("CapacityAvailable") == ("False", "Unschedulable")
            whole.kubectl("uncordon", NODE)
            shared.until("a replica loads", lambda: [p for p in shared.pods() if p["status"]["phase"] == "Running"])
            drain()
            whole.kubectl("uncordon", NODE)
            shared.await_settled(replicas=1)
            flow.await_finished()
            counts = flow.end()
    finally:
        whole.kubectl("uncordon", NODE)
    assert (counts["cut"], counts["open"]) == (0, 0), counts
