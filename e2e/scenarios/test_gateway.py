"""The chart's gateway before real vLLM: keys, names, streams, and restarts of all its parts under load."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp
import httpx
import pytest

from e2e import fleet, images
from e2e.cluster import whole
from e2e.conftest import Cluster, own_llm
from e2e.llm import START_SECONDS, Llm

GATEWAY = f"{fleet.RELEASE}-gateway"
SMALL = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
VALUES: dict[str, Any] = {
    "gateway": {
        "enabled": True,
        "drainSeconds": 60,
        "control": {"resources": SMALL},
        "envoy": {
            "concurrency": 1,
            "resources": SMALL,
            "image": {"repository": images.ENVOY.name.rpartition(":")[0], "tag": "dev", "pullPolicy": "Never"},
        },
    }
}


class Edge:
    """The gateway as a client with one key sees it."""

    def __init__(self, *, tenant: str) -> None:
        self.tenant, self.key = tenant, uuid.uuid4().hex
        path = "jsonpath={.spec.clusterIP}"
        self.url = f"http://{whole.kubectl('get', 'service', GATEWAY, '-n', fleet.NAMESPACE, '-o', path)}"
        self.secret: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": f"key-{tenant}",
                "namespace": fleet.NAMESPACE,
                "labels": {"modelfleet.dev/api-key": ""},
                "annotations": {"modelfleet.dev/tenant": tenant},
            },
            "stringData": {"key": self.key},
        }

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def ask(self, model: str, *, tokens: int = 4, **more: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "Count."}], "max_tokens": tokens, **more}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=self.headers, timeout=60)

    def until(self, model: str, status: int, *, seconds: float = 60.0) -> httpx.Response:
        deadline = time.monotonic() + seconds
        while (answer := self.ask(model)).status_code != status:
            assert time.monotonic() < deadline, f"no {status} in {seconds:.0f} s; last {answer.text}"
            time.sleep(0.2)
        return answer


@pytest.fixture(scope="module")
def installed(cluster: Cluster) -> Iterator[Cluster]:
    """Today's chart with its gateway; without it again for those who come after."""
    fleet.load_images(images.OPERATOR, images.VLLM_CPU, images.ENVOY)
    fleet.install(values=VALUES)
    yield cluster
    fleet.install()


@pytest.fixture(scope="module")
def served(installed: Cluster) -> Iterator[Llm]:  # noqa: ARG001 - the gateway must be there
    with own_llm() as llm:
        llm.apply(accelerator={"resource": "none"})
        llm.await_settled(replicas=1, seconds=START_SECONDS)
        yield llm


@pytest.fixture(scope="module")
def edge(served: Llm) -> Iterator[Edge]:
    found = Edge(tenant=served.namespace)
    whole.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(found.secret))
    yield found
    whole.kubectl("delete", "secret", found.secret["metadata"]["name"], "-n", fleet.NAMESPACE)


def test_a_key_opens_the_models_of_its_namespace(edge: Edge, served: Llm) -> None:
    answer = edge.until(f"{served.namespace}/chat", 200)
    (revision,) = {pod["metadata"]["labels"]["modelfleet.dev/revision"] for pod in served.pods()}
    assert answer.headers["x-modelfleet-revision"] == revision
    assert answer.json()["model"] == "chat", "the engine was asked by the name that it knows"
    listed = httpx.get(f"{edge.url}/v1/models", headers=edge.headers, timeout=10).json()["data"]
    assert {one["owned_by"] for one in listed} == {served.namespace}
    stranger = Edge(tenant=served.namespace)
    assert stranger.ask("chat").status_code == 401
    streamed = edge.ask(f"{served.namespace}/chat", stream=True)
    assert streamed.text.rstrip().endswith("[DONE]")


def test_no_request_fails_while_every_part_of_the_gateway_is_replaced(edge: Edge, served: Llm) -> None:
    edge.until(f"{served.namespace}/chat", 200)
    seen, problems = asyncio.run(_replaced_under_load(edge, f"{served.namespace}/chat"))
    assert problems == []
    assert seen["whole streams"] > 0
    assert seen["answers"] > 0


async def _replaced_under_load(edge: Edge, model: str) -> tuple[Counter[str], list[str]]:
    seen: Counter[str] = Counter()
    problems: list[str] = []
    done = asyncio.Event()

    async def client(session: aiohttp.ClientSession, *, stream: bool) -> None:
        body = {"model": model, "messages": [{"role": "user", "content": "Count."}], "max_tokens": 16, "stream": stream}
        while not done.is_set():
            try:
                async with session.post(f"{edge.url}/v1/chat/completions", json=body) as response:
                    text = await response.text()
            except aiohttp.ClientError as error:
                problems.append(repr(error))
                continue
            whole_answer = response.status == 200 and (not stream or text.rstrip().endswith("[DONE]"))
            seen["whole streams" if stream else "answers"] += whole_answer
            problems.extend([] if whole_answer else [f"{response.status}: {text[-200:]}"])

    async with aiohttp.ClientSession(headers=edge.headers) as session:
        clients = [asyncio.create_task(client(session, stream=stream)) for stream in (True, True, False)]
        try:
            for part in (f"{GATEWAY}-control", GATEWAY):
                await asyncio.to_thread(_replace, part)
        finally:
            done.set()
            await asyncio.gather(*clients)
    return seen, problems


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
