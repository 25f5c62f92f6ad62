"""The chart's gateway before real vLLM: keys, names, streams, and restarts of all its parts under load."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from e2e import fleet
from e2e.clients import Seen, asking
from e2e.cluster import whole
from e2e.conftest import Cluster, own_llm
from e2e.edge import Edge
from e2e.llm import START_SECONDS, Llm


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


def _replace(deployment: str) -> None:
    """Restart a Deployment, and wait until its old pods are gone: they drain first."""
    where = ("-n", fleet.NAMESPACE)
    selector = json.loads(whole.kubectl("get", "deployment", deployment, *where, "-o", "json"))["spec"]["selector"]
    labels = ",".join(f"{key}={value}" for key, value in selector["matchLabels"].items())
    before = set(whole.kubectl("get", "pods", *where, "-l", labels, "-o", "name").split())
    whole.kubectl("rollout", "restart", f"deployment/{deployment}", *where)
    deadline = time.monotonic() + 150
    while left := before & set(whole.kubectl("get", "pods", *where, "-l", labels, "-o", "name").split()):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.5)
