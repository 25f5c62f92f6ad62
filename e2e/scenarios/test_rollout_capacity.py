"""GPUs and replicas that come and go in the middle of a rollout: nothing deadlocks, and no stream on stable is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import pytest

from e2e.cluster import external, whole
from e2e.cluster.node_config import NODE
from e2e.edge import Edge
from e2e.holder import holding, release
from e2e.llm import START_SECONDS, Llm, kill, ready, uids
from e2e.prober import check, probing
from e2e.rollouts import act, begun, follow, of, promoted, reasons, told, unrouted, weights
from e2e.streams import streams
from modelfleet.cli.rollout_view import serving as stable

WAITS = ("False", "InsufficientGPU")
MORE = 56
"""Clients that join in the middle, with long answers: of short ones few are in an engine at any moment."""
ours = pytest.mark.skipif(external.configured() is not None, reason="takes GPUs, or a node, that may be somebody's")


@pytest.fixture
def node() -> Iterator[str]:
    """It takes pods again after the test."""
    yield NODE
    whole.kubectl("uncordon", NODE)


@ours
def test_it_waits_for_a_spare_gpu_and_outlives_the_canarys_node(serving: Llm, edge: Edge, node: str) -> None:
    """Given no spare GPU, when one appears it goes on; when the canary's node dies stable serves until it is back.

    The embedded cluster has one node, on which stable runs too: it stands for the canary's alone by what everyone else
    sees of a node's death. What only a second node could show (its kubelet silent, the eviction after its tolerated
    minutes) is Kubernetes' own work, and comes to the same: the pod is gone.
    """
    old, before = stable(serving.status()), uids(serving.pods())
    with holding(serving, left=0), probing(serving, by=edge) as prober:
        prober.await_flow()
        serving.change()
        waiting = follow(serving, "the wait is told", lambda _: serving.condition("CapacityAvailable") == WAITS)
        assert weights(waiting) == {old: 100}
        release(serving)
        new = begun(serving)
        (canary,) = (pod for pod in serving.pods() if pod["metadata"]["uid"] in of(serving, new))
        # It takes no pod, what ran there is gone, and so is the pod.
        whole.kubectl("cordon", node)
        kill(canary)
        serving.kubectl("delete", "pod", canary["metadata"]["name"], "--force", "--grace-period=0")
        follow(serving, "the loss is told", lambda status: not of_ready(serving, new) and told(status, "hold"))
        follow(serving, "every Envoy knows", partial(unrouted, revision=new))
        gone = prober.moment()
        prober.await_flow()
        assert before <= uids(serving.pods())
        whole.kubectl("uncordon", node)
        promoted(serving, revision=new)
        prober.await_flow()
        blast = prober.end()
    check(blast, revisions={old, new}, spared={old}, until={new: gone})
    print(f"lost with the node: {blast.lost(of=new)} of the new revision")
    assert reasons(serving.status())[-1] == "Promoted"


def of_ready(llm: Llm, revision: str) -> set[str]:
    """Pods of a revision that serve."""
    return of(llm, revision) & uids(filter(ready, llm.pods()))


@ours
def test_an_abort_while_no_gpu_is_free(serving: Llm, edge: Edge) -> None:
    """Given a rollout that waits for a GPU, when a person aborts it, then that is done at once and stable never left."""
    old, before = stable(serving.status()), uids(serving.pods())
    with holding(serving, left=0), probing(serving, by=edge) as prober:
        prober.await_flow()
        serving.change()
        follow(serving, "the wait is told", lambda _: serving.condition("CapacityAvailable") == WAITS)
        answer = act(serving, "abort")
        serving.until("its end", lambda: serving.condition("Degraded") == ("True", "Aborted"))
        # A replica may have been asked for when the devices were just taken; it goes with the abort.
        serving.until("nothing is missing", lambda: serving.condition("CapacityAvailable") == ("True", "Fits"))
        prober.await_flow()
        blast = prober.end()
    assert answer["result"] == "Done", answer
    check(blast, revisions={old})
    serving.until("only stable's pods", lambda: uids(serving.owned("pods")) == before, seconds=START_SECONDS)


@ours
def test_a_warm_revision_gives_its_gpu_back_when_stable_needs_it(serving: Llm, edge: Edge) -> None:
    """Given the old revision kept warm and no other GPU, when replicas are added, then its GPU goes to them."""
    old = stable(serving.status())
    blue_green = {"strategy": "BlueGreen", "canary": None, "blueGreen": {}, "analysis": {"metrics": None}}
    serving.patch({"rollout": {**blue_green, "scaleDownDelaySeconds": 3600}})
    with holding(serving, left=1), probing(serving, by=edge) as prober:
        prober.await_flow()
        serving.change()
        seen = follow(serving, "the preview", lambda status: told(status, "hold") == "ManualPause")
        new = told(seen, "revision")
        act(serving, "promote", revision=new)
        promoted(serving, revision=new)
        assert of(serving, old), "warm"
        serving.kubectl("scale", f"llmdep/{serving.name}", "--replicas=2")
        follow(serving, "two of the new", lambda _: len(of_ready(serving, new)) == 2)
        assert not of(serving, old)
        prober.await_flow()
        blast = prober.end()
    check(blast, revisions={old, new})


def test_replicas_change_in_the_middle(serving: Llm, edge: Edge) -> None:
    """Given a canary, when replicas are added in a step and taken away after the promotion, then no stream is lost."""
    old = stable(serving.status())
    with probing(serving, by=edge) as prober:
        prober.await_flow()
        serving.change()
        new = begun(serving)
        serving.kubectl("scale", f"llmdep/{serving.name}", "--replicas=2")
        promoted(serving, revision=new)
        serving.kubectl("scale", f"llmdep/{serving.name}", "--replicas=1")
        serving.await_settled(replicas=1)
        prober.await_flow()
        blast = prober.end()
    check(blast, revisions={old, new})
    assert of(serving, new) == uids(serving.pods())


def test_it_scales_by_itself_in_the_middle(serving: Llm, edge: Edge) -> None:
    """Given a canary, when the load rises it scales out, and after the promotion back in, and no stream is lost."""
    old = stable(serving.status())
    metric = {"type": "InFlight", "target": 30}
    behavior = {"scaleDown": {"stabilizationSeconds": 15}}
    scaling = {"minReplicas": 1, "maxReplicas": 2, "metrics": [metric], "behavior": behavior}
    serving.patch({"replicas": None, "scaling": scaling})
    with probing(serving, by=edge) as prober:
        prober.await_flow()
        serving.change()
        new = begun(serving)
        with streams(serving, count=MORE, pod="more", by=edge) as rise:
            out = follow(serving, "scale-out", lambda status: status["scaling"]["desired"] == 2)
            assert told(out, "revision") == new, "in the middle"
            promoted(serving, revision=new)
            serving.await_settled(replicas=2)
            more = rise.end()
        follow(serving, "scale-in", lambda status: status["scaling"]["desired"] == 1)
        serving.await_settled(replicas=1)
        prober.await_flow()
        blast = prober.end()
    check(blast, revisions={old, new})
    assert (more["failed"], more["cut"], more["open"]) == (0, 0, 0), more
    assert [one["reason"] for one in serving.decisions("Scale")][-2:] == ["ScaleUp", "ScaleDown"]
    print(json.dumps([one["message"] for one in serving.decisions("Scale")][-2:]))
