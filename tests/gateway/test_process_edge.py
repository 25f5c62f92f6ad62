"""What `modelfleet gateway` is told at start and by Secrets, through the running process: the edge, access, rates, keys."""

import base64
import json
from pathlib import Path

import pytest

from e2e.cluster.api_only import ApiServer
from e2e.cluster.certs import Authority, Pair
from modelfleet.core.routing.model import ApiKey
from tests.gateway.certificates import edge_pair, peer, trusting
from tests.gateway.cluster import Fleet
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import eventually
from tests.gateway.load import asking, echo
from tests.gateway.test_clients import known
from tests.gateway.test_process import KEY, engine, fresh, whole_gateway

pytestmark = pytest.mark.slow

EDGE = "edge"
ROTATIONS = 5


@pytest.fixture
def fleet(api_server: ApiServer) -> Fleet:
    return fresh(api_server)


def pem(pair: Pair) -> dict[str, str]:
    """A pair as the data of a Secret."""
    files = {"tls.crt": pair.cert, "tls.key": pair.key}
    return {key: base64.b64encode(path.read_bytes()).decode() for key, path in files.items()}


def serve(fleet: Fleet, one: Engine) -> None:
    """Let one engine serve a model."""
    fleet.pod(fleet.revision(fleet.llmdeployment("chat"), "r1"), "p1", one.address)


async def test_the_certificate_of_the_edge_follows_its_secret_and_cuts_nothing(fleet: Fleet, tmp_path: Path):
    one, authority = engine(11), Authority.create(tmp_path / "pki")
    fleet.make(
        "/api/v1/namespaces/{ns}/secrets",
        {"metadata": {"name": EDGE}, "type": "kubernetes.io/tls", "data": pem(edge_pair(authority, stem="first"))},
    )
    path = f"/api/v1/namespaces/{fleet.namespace}/secrets/{EDGE}"
    one.script = echo
    async with serving(one), whole_gateway(fleet, tmp_path, MODELFLEET_TLS_SECRET=EDGE) as whole:
        whole.scheme, whole.trusted = "https", trusting(authority)
        serve(fleet, one)
        await whole.until("chat", (200, one.name))
        assert await peer(whole.address, authority) == "first"
        keys = {"chat": ApiKey(tenant=fleet.namespace, key=KEY)}
        streamed = whole.ask({"model": "chat", "stream": True, "max_tokens": 3}, key=KEY)
        async with streamed as response, asking(whole, keys) as load:
            first = await response.content.readuntil(b"\n\n")

            async def shows(name: str) -> None:
                async def shown() -> bool:
                    return await peer(whole.address, authority) == name

                await eventually(shown, what=f"the certificate {name}", tell=whole.seen)

            fleet.merge(path, {"data": pem(edge_pair(authority, stem="second"))})
            await shows("second")
            broken = base64.b64encode(b"no certificate").decode()
            fleet.merge(path, {"data": {"tls.crt": broken, "tls.key": broken}})
            await load.until(20)
            assert await peer(whole.address, authority) == "second", "what Envoy cannot read changes nothing"
            fleet.merge(path, {"data": pem(edge_pair(authority, stem="third"))})
            await shows("third")
            await load.until(20)
            one.go_on.set()
            assert (first + await response.read()).endswith(b"data: [DONE]\n\n")
        assert set(load.seen) == {"chat 200"}


async def test_tenants_have_the_namespaces_and_the_rate_that_the_settings_give_them(fleet: Fleet, tmp_path: Path):
    guest = {"namespaces": [fleet.namespace], "requestsPerSecond": 0.01}
    tenants = {"guest": guest, "elsewhere": {"namespaces": ["another"]}}
    for name in (*tenants, "stranger"):
        fleet.key(name, tenant=name, value=f"key-of-{name}")
    one = engine(12)
    async with serving(one), whole_gateway(fleet, tmp_path, MODELFLEET_TENANTS=json.dumps(tenants)) as whole:
        serve(fleet, one)
        await whole.until("chat", (200, one.name))
        found = [await whole.chat("chat", key=f"key-of-{name}") for name in ("guest", "guest", "elsewhere", "stranger")]
        assert [status for status, _ in found] == [200, 429, 403, 403]
        assert {await whole.chat("chat") for _ in range(20)} == {(200, one.name)}, "nobody else has that rate"


@pytest.mark.parametrize(("access", "without"), [("AnyKey", 401), ("Open", 200)])
async def test_access_is_what_the_settings_say(fleet: Fleet, tmp_path: Path, access: str, without: int):
    fleet.key("stranger", tenant="stranger", value="key-of-stranger")
    one = engine(13)
    async with serving(one), whole_gateway(fleet, tmp_path, MODELFLEET_ACCESS=access) as whole:
        serve(fleet, one)
        await whole.until("chat", (200, one.name))
        found = [(await whole.chat("chat", key=key))[0] for key in ("key-of-stranger", "key-of-nobody", None)]
        assert found == [200, 401, without]


async def test_keys_rotate_by_their_secrets_under_load_and_no_request_fails(fleet: Fleet, tmp_path: Path):
    one = engine(14)
    one.script = echo
    async with serving(one), whole_gateway(fleet, tmp_path) as whole:
        serve(fleet, one)
        await whole.until("chat", (200, one.name))
        name, keys = "first", {"chat": ApiKey(tenant=fleet.namespace, key=KEY)}
        streamed = whole.ask({"model": "chat", "stream": True, "max_tokens": 3}, key=KEY)
        async with streamed as response, asking(whole, keys) as load:
            first = await response.content.readuntil(b"\n\n")
            for number in range(ROTATIONS):
                old, new = dict(keys), {"chat": ApiKey(tenant=fleet.namespace, key=f"key-{number}")}
                fleet.key(f"key-{number}", tenant=fleet.namespace, value=f"key-{number}")
                await known(whole, new, status=200)
                keys.update(new)
                await load.unused(*old.values())
                fleet.delete(f"/api/v1/namespaces/{{ns}}/secrets/{name}")
                await known(whole, old, status=401)
                name = f"key-{number}"
            one.go_on.set()
            assert (first + await response.read()).endswith(b"data: [DONE]\n\n")
        assert set(load.seen) == {"chat 200"}
