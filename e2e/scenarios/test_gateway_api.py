"""Provider GatewayAPI with an implementation that is not ours: Envoy Gateway routes to real vLLM, also while it changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import httpx
import pytest

from e2e import envoy_gateway, reach
from e2e.clients import Seen, asking
from e2e.cluster import external
from e2e.conftest import Cluster, own_llm
from e2e.llm import START_SECONDS, Llm
from e2e.rollouts import CANARY, begun, follow, promoted, reasons, told

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
    seen = asyncio.run(_under_load(gateway, partial(_update, served)))
    assert Counter(seen.problems) == {}
    assert seen.whole["streams"] > 0
    assert seen.whole["answers"] > 0
    assert seen.whole["lists"] > 100
    assert not before & {pod["metadata"]["name"] for pod in served.pods()}
    served.until("a route to the new revision alone", lambda: _weights(served) == [1])


def _weights(served: Llm) -> list[int]:
    (rule,) = served.owned("httproutes")[0]["spec"]["rules"]
    return [backend["weight"] for backend in rule["backendRefs"]]


def _update(served: Llm) -> None:
    served.change()
    served.await_settled(replicas=1, seconds=START_SECONDS)


def test_a_canary_is_judged_by_its_engines_and_no_request_fails(gateway: str, served: Llm) -> None:
    """Given a Gateway that is not ours, when a canary rolls out, then the route splits, and what engines count decides."""
    served.until("an answer", lambda: ask(gateway).status_code == 200)
    served.patch({"rollout": CANARY})
    seen = asyncio.run(_under_load(gateway, partial(_climb, served)))
    assert Counter(seen.problems) == {}
    assert seen.whole["streams"] > 0
    assert reasons(served.status())[-1] == "Promoted"


def _climb(served: Llm) -> None:
    served.change()
    new = begun(served)
    compared = follow(served, "a comparison", lambda status: (told(status, "analysis") or {}).get("results"))
    assert sorted(_weights(served)) == [20, 80]
    assert any(note.startswith("errors are not judged") for note in told(compared, "analysis")["notes"])
    promoted(served, revision=new)


async def _under_load(gateway: str, work: Callable[[], None]) -> Seen:
    async with asking(gateway, model="chat", headers={"Host": HOST}) as seen:
        await asyncio.to_thread(work)
    return seen
