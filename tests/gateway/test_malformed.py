"""Malformed HTTP and JSON through the real Envoy: a corpus, one file each, and bounded fuzzing around valid requests.

Whatever is sent, no engine sees what another tenant owns, no engine is asked anything but its operations in the name of
the key's own tenant, and the gateway serves on.
"""

import asyncio
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelfleet.core.routing.model import ApiKey
from modelfleet.gateway import headers
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import SECONDS
from tests.gateway.gateway import KEY, Gateway, revision, served

CORPUS = Path(__file__).parent / "corpus"
OTHER = ApiKey(tenant="team-b", key="key-of-team-b")
EXAMPLES = int(os.environ.get("MODELFLEET_TEST_FUZZ", "150"))
"""Requests per fuzzing test."""
QUIET_SECONDS = 0.1
"""When nothing comes for so long, the client hangs up; too short a time only tests less."""
FUZZ = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
BODY = b'{"model": "chat", "messages": [{"role": "user", "content": "hi"}], "stream": false}'
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-of-team-a\r\n"
WHOLE = HEAD + b"Connection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
HIDDEN = HEAD + b"Content-Length: 19\r\n\r\n" + b'{"model": "secret"}'
PIECES = [
    *(b"\r\n", b"\n", b"\r", b"\x00", b" ", b":", b"\r\n\r\n", b"0\r\n\r\n", b"/../", b"%2f", b"%00", b"\xff"),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 0\r\n", b"x-modelfleet-tenant: team-b\r\n", HIDDEN),
    *(b'"', b"\\", b"{", b"}", b"[", b",", b'"model": "secret",', b"\\u0000", b"\xed\xa0\x80", b"null", b"1e999"),
]


STATUS = re.compile(rb"HTTP/1.[01] (\d+) ")
KNOWN = {b"100", b"200", b"400", b"401", b"403", b"404", b"405", b"408", b"413", b"426", b"431", b"501"}


@st.composite
def broken(draw: Any, whole: bytes) -> bytes:
    """A valid text with a few pieces put in, taken out or doubled."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(whole)))
        to = draw(st.integers(at, min(len(whole), at + 40)))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8) | st.just(whole[at:to] * 2))
        whole = whole[:at] + piece + whole[to if draw(st.booleans()) else at :]
    return whole


def bodies() -> Any:
    names = st.sampled_from(["chat", "secret", "team-b/secret", "team-a/chat", "", "model"]) | st.text(max_size=10)
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | names
    trees = st.recursive(
        leaves, lambda t: st.lists(t, max_size=3) | st.dictionaries(names, t, max_size=3), max_leaves=8
    )
    objects = st.fixed_dictionaries({"model": names}, optional={"messages": trees, "stream_options": trees, "x": trees})
    return broken(BODY) | (objects | trees).map(lambda tree: json.dumps(tree).encode()) | st.binary(max_size=60)


async def _part(reader: asyncio.StreamReader, *, quiet: float) -> bytes:
    """What comes next; nothing where it is quiet."""
    try:
        async with asyncio.timeout(quiet):
            return await reader.read(65536)
    except TimeoutError:
        return b""


class Two:
    """A gateway with a model of each of two tenants; the client has the key of one."""

    def __init__(self, gate: Gateway, mine: Engine, theirs: Engine) -> None:
        self.gate, self.mine, self.theirs = gate, mine, theirs

    async def raw(self, sent: bytes, *, answers: int = 9, quiet: float = QUIET_SECONDS) -> bytes:
        """Send bytes and no more; gives all that comes back, or so many pieces of it."""
        host, _, port = self.gate.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        got = b""
        with contextlib.suppress(OSError):
            writer.write(sent)
            while answers and (part := await _part(reader, quiet=quiet)):
                got, answers = got + part, answers - 1
            if not reader.at_eof():
                writer.write_eof()  # it waits for the rest of a request, or for the next one
                async with asyncio.timeout(SECONDS):
                    got += await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return got

    async def well(self) -> None:
        """What must hold after anything."""
        assert self.gate.envoy.child.alive, self.gate.envoy.child.tail()
        assert (await self.gate.chat("chat"))[0] == 200
        assert self.theirs.requests == [], "another tenant's engine was asked"
        for path, given_headers, _ in self.mine.requests:
            found = {name.lower(): value for name, value in given_headers.items()}
            assert path in headers.OPERATIONS
            assert found[headers.TENANT] == "team-a"
            assert KEY.key not in json.dumps(found)
        self.mine.requests.clear()


async def lenient(_engine: Engine, _request: web.Request, _body: Any) -> web.Response:
    return web.json_response({"object": "chat.completion"})


@contextlib.asynccontextmanager
async def two_tenants(gate: Gateway) -> AsyncIterator[Two]:
    """Let the gateway serve a model of each."""
    mine, theirs = Engine(name="mine", script=lenient, strict=False), Engine(name="theirs", strict=False)
    async with serving(mine, theirs):
        models = served("chat", revision("r1", mine)), served("secret", revision("r1", theirs), namespace="team-b")
        await gate.apply(*models, keys=(KEY, OTHER))
        assert (await gate.chat("secret", key=OTHER.key))[0] == 200, "it is there, for its own tenant"
        theirs.requests.clear()
        yield Two(gate, mine, theirs)


@pytest.fixture
async def two(gate: Gateway) -> AsyncIterator[Two]:
    async with two_tenants(gate) as found:
        yield found


async def test_the_corpus_of_http(two: Two):
    paths = sorted((CORPUS / "http").iterdir())
    # All at once: what is asked of them has its answer, however busy the machine is.
    answers = await asyncio.gather(*(two.raw(path.read_bytes(), quiet=3) for path in paths))
    said = {path.stem: STATUS.findall(answer) for path, answer in zip(paths, answers, strict=True)}
    assert {name: found for name, found in said.items() if not set(found) <= KNOWN} == {}
    assert said["trailers-that-name-a-tenant"] == [b"200"]
    assert said["chunked-then-hidden-request"] == [b"200", b"403"], "two requests, each with its own rights"
    assert said["length-and-chunks"] == [b"400"]
    await two.well()


async def test_the_corpus_of_json(two: Two):
    for path in sorted((CORPUS / "json").iterdir()):
        await answered(two, path.read_bytes(), told=path.name)
        await two.well()


async def answered(two: Two, body: bytes, *, told: str = "") -> None:
    """A body is either the engine's, or refused in words that clients read."""
    async with two.gate.ask(data=body, headers={"Content-Type": "application/json"}) as response:
        answer = await response.text()
        assert response.status in {200, 400, 403, 404}, f"{told}: {response.status} {answer}"
        if response.status != 200:
            assert json.loads(answer)["error"]["type"] in {"invalid_request_error", "permission_error"}, told


@FUZZ
@given(body=bodies())
async def test_any_body(two: Two, body: bytes):
    await answered(two, body)
    await two.well()


@FUZZ
@given(sent=broken(WHOLE))
async def test_any_bytes(two: Two, sent: bytes):
    answer = await two.raw(sent, answers=1)
    assert set(STATUS.findall(answer)) <= KNOWN, answer[:200]
    await two.well()
