"""The chart's gateway before real vLLM: keys, names, streams, and restarts of all its parts under load."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from e2e import fleet
from e2e.clients import Seen, asking
from e2e.cluster import external, whole
from e2e.conftest import Cluster, own_llm
from e2e.edge import Edge
from e2e.llm import START_SECONDS, Llm, Pod, kill, restarts, uids

SOON = 1.0
"""Seconds within which a client has an answer after an Envoy was killed."""
BACK_SECONDS = 60.0
"""Within which its container runs again; the kubelet waits ten seconds before it starts one that ended twice."""


@pytest.fixture(scope="module")
def served(modelfleet: Cluster) -> Iterator[Llm]:  # noqa: ARG001 - the gateway must be there
    with own_llm() as llm:
        llm.apply(accelerator={"resource": "none"})
        llm.await_settled(replicas=1, seconds=START_SECONDS)
        yield llm


@pytest.fixture(scope="module")
def edge(served: Llm) -> Iterator[Edge]:
    found = fleet.edge(tenant=served.namespace)
    yield found
    found.revoke()


def test_a_key_opens_the_models_of_its_namespace(edge: Edge, served: Llm) -> None:
    answer = edge.until(f"{served.namespace}/chat", 200)
    (revision,) = {pod["metadata"]["labels"]["modelfleet.dev/revision"] for pod in served.pods()}
    assert answer.headers["x-modelfleet-revision"] == revision
    assert answer.json()["model"] == "chat", "the engine was asked by the name that it knows"
    listed = httpx.get(f"{edge.url}/v1/models", headers=edge.headers, timeout=10).json()["data"]
    assert {one["owned_by"] for one in listed} == {served.namespace}
    stranger = Edge(tenant=served.namespace, namespace=fleet.NAMESPACE, service=fleet.GATEWAY)
    assert stranger.ask("chat").status_code == 401
    streamed = edge.ask(f"{served.namespace}/chat", stream=True)
    assert streamed.text.rstrip().endswith("[DONE]")


def test_no_request_fails_while_every_part_of_the_gateway_is_replaced(edge: Edge, served: Llm) -> None:
    edge.until(f"{served.namespace}/chat", 200)
    seen = asyncio.run(_replaced_under_load(edge, f"{served.namespace}/chat"))
    assert Counter(seen.problems) == {}
    assert seen.whole["streams"] > 0
    assert seen.whole["answers"] > 0
    assert seen.whole["lists"] > 100


async def _replaced_under_load(edge: Edge, model: str) -> Seen:
    async with asking(edge.url, model=model, headers=edge.headers) as seen:
        for part in (f"{fleet.GATEWAY}-control", fleet.GATEWAY):
            await asyncio.to_thread(_replace, part)
    return seen


@pytest.mark.skipif(external.configured() is not None, reason="kills a container as only its node can")
def test_a_killed_envoy_keeps_no_client_waiting_for_a_second(edge: Edge, served: Llm) -> None:
    """Given two Envoys behind the Service, when one is killed, then who asks again has an answer within a second."""
    edge.until(f"{served.namespace}/chat", 200)
    victim, *others = _pods(fleet.GATEWAY)
    assert others, "one goes on"
    kill(victim)
    waited, url, deadline = list[float](), f"{edge.url}/v1/models", time.monotonic() + BACK_SECONDS
    # One client: each would read the machine's certificates anew. Every question has a connection of its own.
    with httpx.Client(
        headers=edge.headers,
        timeout=httpx.Timeout(BACK_SECONDS, connect=SOON),
        limits=httpx.Limits(max_keepalive_connections=0),
    ) as client:
        while not waited or not _restarted(victim):
            assert time.monotonic() < deadline, f"{victim['metadata']['name']} does not come back"
            waited += [_seconds_to_an_answer(url, client) for _ in range(20)]
    assert max(waited) < SOON, sorted(waited)[-20:]


def _seconds_to_an_answer(url: str, client: httpx.Client) -> float:
    """Ask on a new connection, and again where nobody takes it, as clients do.

    Raises:
        httpx.TimeoutException: it was not refused, but lost; a client would wait.
    """
    began = time.monotonic()
    while (waited := time.monotonic() - began) < BACK_SECONDS:
        with suppress(httpx.NetworkError, httpx.RemoteProtocolError):
            answer = client.get(url)
            assert answer.status_code == httpx.codes.OK, answer.text
            return time.monotonic() - began
    raise AssertionError(f"nobody answered for {waited:.0f} s")


def _restarted(before: Pod) -> bool:
    """Whether a pod is ready again in containers that are not those of before."""
    (now,) = (pod for pod in _pods(fleet.GATEWAY) if pod["metadata"]["uid"] == before["metadata"]["uid"])
    conditions = {one["type"]: one["status"] for one in now["status"]["conditions"]}
    return restarts([now]) > restarts([before]) and conditions["Ready"] == "True"


def _pods(deployment: str) -> list[Pod]:
    where = ("-n", fleet.NAMESPACE, "-o", "json")
    selector = json.loads(whole.kubectl("get", "deployment", deployment, *where))["spec"]["selector"]
    labels = ",".join(f"{key}={value}" for key, value in selector["matchLabels"].items())
    found: list[Pod] = json.loads(whole.kubectl("get", "pods", *where, "-l", labels))["items"]
    return found


def _replace(deployment: str) -> None:
    """Restart a Deployment, and wait until its old pods are gone: they drain first."""
    before = uids(_pods(deployment))
    whole.kubectl("rollout", "restart", f"deployment/{deployment}", "-n", fleet.NAMESPACE)
    deadline = time.monotonic() + 150
    while left := before & uids(_pods(deployment)):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.5)
