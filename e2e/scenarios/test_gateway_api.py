"""Provider GatewayAPI with an implementation that is not ours: Envoy Gateway routes to real vLLM, also while it changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import aiohttp
import httpx
import pytest

from e2e import envoy_gateway, reach
from e2e.cluster import external
from e2e.conftest import Cluster, own_llm
from e2e.llm import START_SECONDS, Llm

HOST = "chat.example.test"
ROUTING = {
    "provider": "GatewayAPI",
    "gatewayAPI": {
        "parentRefs": [{"name": envoy_gateway.GATEWAY, "namespace": envoy_gateway.NAMESPACE}],
        "hostnames": [HOST],
    },
}
BODY = {"model": "chat", "messages": [{"role": "user", "content": "Count."}], "max_tokens": 16}


@pytest.fixture(scope="module")
def gateway(modelfleet: Cluster) -> Iterator[str]:  # noqa: ARG001 - ModelFleet must be there
    """Address of Envoy Gateway's Envoy."""
    if external.configured():
        pytest.skip("Envoy Gateway's image is made for the embedded cluster")
    envoy_gateway.up()
    yield reach.address(namespace=envoy_gateway.NAMESPACE, name=envoy_gateway.GATEWAY)
    envoy_gateway.down()


@pytest.fixture(scope="module")
def served(gateway: str) -> Iterator[Llm]:  # noqa: ARG001 - the Gateway must be there
    with own_llm() as llm:
        llm.apply(accelerator={"resource": "none"}, routing=ROUTING)
        llm.await_settled(replicas=1, seconds=START_SECONDS)
        yield llm


def ask(gateway: str, *, path: str = "/v1/chat/completions", **more: object) -> httpx.Response:
    return httpx.post(f"{gateway}{path}", json=BODY | more, headers={"Host": HOST}, timeout=60)


def test_requests_reach_the_model_by_its_host_name_and_nothing_else_of_it(gateway: str, served: Llm) -> None:
    served.until("an accepted route", lambda: served.condition("RouteAccepted") == ("True", "Accepted"))
    assert served.status()["url"] == f"http://{HOST}"
    answer = served.until("an answer", lambda: (said := ask(gateway)).status_code == 200 and said)
    assert answer.json()["model"] == "chat"
    assert ask(gateway, stream=True).text.rstrip().endswith("[DONE]")
    assert ask(gateway, path="/v1/load_lora_adapter").status_code == 404
    assert httpx.get(f"{gateway}/metrics", headers={"Host": HOST}, timeout=10).status_code == 404
    assert httpx.post(f"{gateway}/v1/chat/completions", json=BODY, timeout=10).status_code == 404


def test_no_request_fails_while_a_new_revision_takes_over(gateway: str, served: Llm) -> None:
    served.until("an answer", lambda: ask(gateway).status_code == 200)
    before = {pod["metadata"]["name"] for pod in served.pods()}
    seen, problems = asyncio.run(_changed_under_load(gateway, served))
    assert Counter(problems) == {}
    assert seen["whole streams"] > 0
    assert seen["answers"] > 0
    assert seen["lists"] > 100
    assert not before & {pod["metadata"]["name"] for pod in served.pods()}
    served.until("a route to the new revision alone", lambda: _weights(served) == [1])


def _weights(served: Llm) -> list[int]:
    (rule,) = served.owned("httproutes")[0]["spec"]["rules"]
    return [backend["weight"] for backend in rule["backendRefs"]]


async def _changed_under_load(gateway: str, served: Llm) -> tuple[Counter[str], list[str]]:
    seen: Counter[str] = Counter()
    problems: list[str] = []
    done = asyncio.Event()

    async def client(session: aiohttp.ClientSession, *, stream: bool) -> None:
        while not done.is_set():
            try:
                async with session.post(f"{gateway}/v1/chat/completions", json=BODY | {"stream": stream}) as response:
                    text = await response.text()
            except aiohttp.ClientError as error:
                problems.append(repr(error))
                continue
            whole_answer = response.status == 200 and (not stream or text.rstrip().endswith("[DONE]"))
            seen["whole streams" if stream else "answers"] += whole_answer
            problems.extend([] if whole_answer else [f"{response.status}: {text[-200:]}"])

    async def look(session: aiohttp.ClientSession) -> None:
        # Quick answers, one after the other: they find a gap that is shorter than an answer of the model.
        while not done.is_set():
            try:
                async with session.get(f"{gateway}/v1/models") as response:
                    await response.read()
            except aiohttp.ClientError as error:
                problems.append(repr(error))
                continue
            seen["lists"] += response.status == 200
            problems.extend([] if response.status == 200 else [f"{response.status} for the list of models"])

    async with aiohttp.ClientSession(headers={"Host": HOST}) as session:
        clients = [asyncio.create_task(client(session, stream=stream)) for stream in (True, True, False)]
        clients.append(asyncio.create_task(look(session)))
        try:
            await asyncio.to_thread(served.change)
            await asyncio.to_thread(served.await_settled, replicas=1, seconds=START_SECONDS)
        finally:
            done.set()
            await asyncio.gather(*clients)
    return seen, problems
