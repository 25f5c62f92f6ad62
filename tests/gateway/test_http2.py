"""HTTP/2 at an edge that speaks TLS, through the real Envoy: the same rights, limits and answers as in HTTP/1.1.

What HTTP/1.1 says by lines HTTP/2 says by fields: a line end within a field, or a length that is not true, must not
become a line or a length of the request that the engine gets.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from e2e.cluster.certs import Authority
from modelfleet.gateway import headers
from tests.gateway.certificates import edge, trusting
from tests.gateway.gateway import gateway
from tests.gateway.http2 import Answer, Headers, connected
from tests.gateway.test_malformed import BODY, Two, two_tenants

MIB = 1024 * 1024
METHOD, SCHEME, PATH = (b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/v1/chat/completions")
HOST, KEY, KIND = (
    (b":authority", b"x"),
    (b"authorization", b"Bearer key-of-team-a"),
    (b"content-type", b"application/json"),
)
WHOLE = (METHOD, SCHEME, PATH, HOST, KEY, KIND)
THEIRS = b'{"model": "secret"}'
TENANT = (headers.TENANT.encode(), b"team-b")
LINE = b"\r\n" + headers.TENANT.encode() + b": team-b"

REFUSED: dict[str, tuple[Headers, bytes, Headers]] = {
    "a tenant in capitals": ((*WHOLE, (TENANT[0].title(), b"team-b")), BODY, ()),
    "a length that is too short": ((*WHOLE, (b"content-length", b"10")), BODY, ()),
    "a length that is too long": ((*WHOLE, (b"content-length", b"1000")), BODY, ()),
    "two lengths": ((*WHOLE, (b"content-length", b"%d" % len(BODY)), (b"content-length", b"1")), BODY, ()),
    "chunks": ((*WHOLE, (b"transfer-encoding", b"chunked")), b"0\r\n\r\n" + BODY, ()),
    "a tenant named hop by hop": ((*WHOLE, (b"connection", TENANT[0])), BODY, ()),
    "a line end in a value": ((*WHOLE, (b"x-word", b"a" + LINE)), BODY, ()),
    "a bare line end in a value": ((*WHOLE, (b"x-word", b"a" + LINE.replace(b"\r", b""))), BODY, ()),
    "a line end in a name": ((*WHOLE, (b"x-word: a" + LINE[:-8], b"team-b")), BODY, ()),
    "a null in a value": ((*WHOLE, (b"x-word", b"a\0b")), BODY, ()),
    "a line end in the path": ((METHOD, SCHEME, (PATH[0], PATH[1] + b" HTTP/1.1" + LINE), HOST, KEY, KIND), BODY, ()),
    "a line end in the method": (((METHOD[0], b"POST / HTTP/1.1" + LINE), SCHEME, PATH, HOST, KEY, KIND), BODY, ()),
    "a line end in the host": ((METHOD, SCHEME, PATH, (HOST[0], b"x" + LINE), KEY, KIND), BODY, ()),
    "a space in the path": ((METHOD, SCHEME, (PATH[0], PATH[1] + b" HTTP/1.1"), HOST, KEY, KIND), BODY, ()),
    "two paths": ((PATH, *WHOLE), BODY, ()),
    "a path after the rest": ((METHOD, SCHEME, HOST, KEY, KIND, PATH), BODY, ()),
    "no path": ((METHOD, SCHEME, HOST, KEY, KIND), BODY, ()),
    "no method": ((SCHEME, PATH, HOST, KEY, KIND), BODY, ()),
    "a pseudo-header that is none": (((b":tenant", b"team-b"), *WHOLE), BODY, ()),
    "an answer's pseudo-header": (((b":status", b"200"), *WHOLE), BODY, ()),
    "a path in the trailers": (WHOLE, BODY, (PATH,)),
    "the key in the trailers": ((METHOD, SCHEME, PATH, HOST, KIND), BODY, (KEY,)),
    "a tunnel": (((METHOD[0], b"CONNECT"), (HOST[0], b"127.0.0.1:80"), KEY), b"", ()),
    "a tunnel of another protocol": (((METHOD[0], b"CONNECT"), (b":protocol", b"websocket"), *WHOLE[1:]), b"", ()),
    "a hundred kilobytes of headers": ((*WHOLE, *((b"x-word-%d" % n, b"x" * 1000) for n in range(100))), BODY, ()),
    "two keys": ((*WHOLE, (KEY[0], b"Bearer key-of-team-b")), THEIRS, ()),
}


class Edge:
    """What a test holds."""

    def __init__(self, *, two: Two, authority: Authority) -> None:
        self.two, self.authority = two, authority

    async def ask(self, given: Headers, body: bytes, trailers: Headers = ()) -> Answer:
        """Send one request on a connection of its own."""
        async with connected(self.two.gate.address, self.authority) as http2:
            return await http2.ask(given, body, trailers=trailers)


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Edge]:
    authority = Authority.create(tmp_path / "pki")
    async with gateway(tmp_path, edge=edge(authority, stem="edge")) as gate:
        gate.trusted = trusting(authority)
        async with two_tenants(gate) as two:
            yield Edge(two=two, authority=authority)


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["error"]["code"]


async def test_with_a_key_there_is_an_answer_and_without_one_there_is_none(front: Edge):
    answer = await front.ask(WHOLE, BODY)
    assert (answer.status, answer.headers[headers.REVISION], answer.refusal) == (200, "r1", "")
    assert json.loads(answer.body)["object"] == "chat.completion"
    assert code(await front.ask([one for one in WHOLE if one != KEY], BODY)) == (401, "invalid_api_key")
    assert len(front.two.mine.requests) == 1
    await front.two.well()


async def test_bodies_have_the_same_limit_as_in_http_1(front: Edge):
    large, larger = (b'{"model": "chat", "prompt": "' + b"x" * size * MIB + b'"}' for size in (31, 33))
    assert (await front.ask(WHOLE, large)).status == 200
    assert [len(body["prompt"]) for _, _, body in front.two.mine.requests] == [31 * MIB]
    assert code(await front.ask(WHOLE, larger)) == (413, "request_too_large")
    assert len(front.two.mine.requests) == 1
    await front.two.well()


async def test_a_tenant_that_the_client_names_is_not_believed(front: Edge):
    assert code(await front.ask((*WHOLE, TENANT), THEIRS)) == (403, "model_not_allowed")
    assert code(await front.ask(WHOLE, THEIRS, (TENANT,))) == (403, "model_not_allowed")
    assert [(await front.ask((*WHOLE, TENANT), BODY)).status, (await front.ask(WHOLE, BODY, (TENANT,))).status] == [
        200
    ] * 2
    assert len(front.two.mine.requests) == 2
    await front.two.well()


async def test_what_no_honest_client_says_reaches_no_engine(front: Edge):
    # All at once: Envoy waits a second before it closes a connection on which it was told nonsense.
    answers = await asyncio.gather(*(front.ask(*sent) for sent in REFUSED.values()))
    said = {name: (answer.status, answer.refusal) for name, answer in zip(REFUSED, answers, strict=True)}
    refused = {name: status in range(400, 500) or (status == 0 and why) for name, (status, why) in said.items()}
    assert all(refused.values()), said
    assert front.two.mine.requests == []
    await front.two.well()
