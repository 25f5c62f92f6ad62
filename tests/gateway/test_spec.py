"""`spec.routing` in a real API server: what is admitted, and that it acts."""

import uuid
from typing import Any

import pytest

from e2e.cluster.api_only import ApiServer
from tests.gateway.cluster import GROUP, Fleet
from tests.gateway.engines import serving
from tests.gateway.test_process import Whole, engine, whole

__all__ = ["whole"]


@pytest.fixture(scope="module")
def fleet(api_server: ApiServer) -> Fleet:
    return Fleet(api=api_server, namespace=f"spec-{uuid.uuid4().hex[:8]}")


@pytest.mark.parametrize(
    "routing",
    [
        {},
        {"allowedTenants": ["team-a", "b"], "balance": "PrefixAffinity"},
        {"sessionAffinity": {"header": "X-Session-Id"}},
        {"sessionAffinity": {"cookie": "session_id"}},
        {"sessionAffinity": {"apiKey": True}},
    ],
)
def test_admitted(fleet: Fleet, routing: dict[str, Any]):
    fleet.llmdeployment(f"m-{uuid.uuid4().hex[:8]}", routing=routing)


@pytest.mark.parametrize(
    ("routing", "message"),
    [
        ({"allowedTenants": ["Team A"]}, "should match"),
        ({"balance": "Random"}, "Unsupported value"),
        ({"sessionAffinity": {}}, "set exactly one of header, cookie and apiKey"),
        ({"sessionAffinity": {"header": "a", "cookie": "b"}}, "set exactly one of header, cookie and apiKey"),
        ({"sessionAffinity": {"apiKey": False}}, "set exactly one of header, cookie and apiKey"),
        ({"sessionAffinity": {"header": "a b"}}, "should match"),
        ({"sessionAffinity": {"cookie": "a;b"}}, "should match"),
    ],
)
def test_refused_with_what_to_do(fleet: Fleet, routing: dict[str, Any], message: str):
    spec = {"model": {"uri": "hf://org/model"}, "replicas": 1, "routing": routing}
    body = {"apiVersion": "modelfleet.dev/v1alpha1", "kind": "LLMDeployment", "metadata": {"name": "x"}, "spec": spec}
    answer = fleet.api.http.post(f"{GROUP}/namespaces/{fleet.namespace}/llmdeployments", json=body)
    assert (answer.status_code, message in answer.text) == (422, True), answer.text


async def test_allowed_tenants_and_affinity_act_when_they_are_written(whole: Whole):
    old, new = engine(11), engine(12)
    async with serving(old, new):
        owner = whole.fleet.llmdeployment("chat")
        whole.fleet.pod(whole.fleet.revision(owner, "r1"), "old", old.address)
        whole.fleet.pod(whole.fleet.revision(owner, "r2"), "new", new.address)
        whole.fleet.key("stranger", tenant="team-other", value="key-of-stranger")
        await whole.until("chat", (200, "e11"))
        await whole.until("chat", (200, "e12"))
        await whole.until("chat", (403, ""), key="key-of-stranger")

        def write(routing: dict[str, Any]) -> None:
            path = f"{GROUP}/namespaces/{whole.fleet.namespace}/llmdeployments/chat"
            whole.fleet.merge(path, {"spec": {"routing": routing}})

        write({"allowedTenants": ["team-other"], "sessionAffinity": {"apiKey": True}})
        await whole.until("chat", (403, ""))
        seen = {await whole.chat("chat", key="key-of-stranger") for _ in range(10)}
        assert len(seen) == 1, f"one key, several revisions: {seen}"
        assert {status for status, _ in seen} == {200}
        write({"provider": "Service"})
        await whole.until("chat", (404, ""), key="key-of-stranger")
