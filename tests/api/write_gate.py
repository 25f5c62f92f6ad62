"""Stands between an operator and the API server, and lets through as many writes as the test allows.

A write beyond that waits. Reads, watches, dry runs and the Lease pass. It changes nothing that passes, and it decides
nothing: what happens when the last allowed write has landed, before its writer hears of it, is up to the test.
"""

import asyncio
import base64
import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import aiohttp
import yaml
from aiohttp import web
from yarl import URL

WRITES = {"POST", "PUT", "PATCH", "DELETE"}
HOP_BY_HOP = {"connection", "content-encoding", "content-length", "host", "keep-alive", "transfer-encoding"}
"""Headers of one connection only, or that no longer hold for a body that was read."""


class Write(NamedTuple):
    """One write that the API server took; `resource` includes a subresource, as in `deployments/scale`."""

    method: str
    resource: str
    name: str

    def about(self, name: str) -> bool:
        """Whether it concerns this LLMDeployment or what is named after it."""
        return self.name == name or self.name.startswith(f"{name}-")


def changes(landed: Iterable[Write], *, name: str) -> Counter[str]:
    """What was done to an LLMDeployment's own objects, how often; without what was said about it."""
    said = ("events", "llmdeployments/status")
    return Counter(f"{one.method} {one.resource}" for one in landed if one.about(name) and one.resource not in said)


class WriteGate:
    """A context manager; `kubeconfig` leads through it, with the rights of the one it was given.

    Attributes:
        landed: What the API server took, in order.
        refused: What it did not take, with the status of its answer.
        held: How many writes wait now.
        spent: Whether the last allowed write has landed.
    """

    def __init__(self, *, upstream: Path, folder: Path, when_spent: Callable[[], None]) -> None:
        self._config = yaml.safe_load(upstream.read_text())
        self._server = self._config["clusters"][0]["cluster"]["server"]
        self._folder, self._when_spent = folder, when_spent
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._changed = asyncio.Condition()
        self._left = 0
        self._sockets: list[socket.socket] = []
        self.landed: list[Write] = []
        self.refused: list[tuple[Write, int]] = []
        self.held = 0
        self.spent = False

    def __enter__(self):
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(60)
        self.kubeconfig = self._folder / "gate.kubeconfig"
        cluster = {"name": "modelfleet", "cluster": {"server": f"http://127.0.0.1:{port}"}}
        user = {"name": "modelfleet", "user": {"token": "none-is-needed"}}
        self.kubeconfig.write_text(yaml.safe_dump({**self._config, "clusters": [cluster], "users": [user]}))
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def allow(self, writes: int) -> None:
        """Let exactly so many more writes land."""

        async def change():
            async with self._changed:
                self.spent, self._left = False, writes
                self._changed.notify_all()

        asyncio.run_coroutine_threadsafe(change(), self._loop).result(60)

    async def _start(self) -> int:
        self._upstream = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls(), limit=0, socket_factory=self._socket),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._pass)
        # The held write of an operator that died must not land later.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return self._runner.addresses[0][1]

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, *_ = address
        self._sockets.append(socket.socket(family=family, type=kind, proto=protocol))
        return self._sockets[-1]

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._upstream.close()
        # Of a connection that was dropped before, aiohttp no longer knows; its TLS farewell may still be under way.
        async with asyncio.timeout(40):
            while any(one.fileno() != -1 for one in self._sockets):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)

    def _tls(self) -> ssl.SSLContext:
        data = {**self._config["clusters"][0]["cluster"], **self._config["users"][0]["user"]}
        read = lambda name: base64.b64decode(data[name])  # noqa: E731
        pair = self._folder / "gate.pem"
        pair.touch(mode=0o600)
        pair.write_bytes(read("client-certificate-data") + read("client-key-data"))
        context = ssl.create_default_context(cadata=read("certificate-authority-data").decode())
        context.load_cert_chain(pair)
        return context

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        counts = request.method in WRITES and "dryRun" not in request.query and "/leases" not in request.path
        body = await request.read()
        if counts:
            await self._take_permit()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        headers.pop("Authorization", None)
        url = URL(self._server + request.path_qs, encoded=True)  # the query goes on as it came
        async with self._upstream.request(request.method, url, headers=headers, data=body or None) as answer:
            if counts and answer.ok:
                self._count(request, body)
            elif counts:
                self.refused.append((_write(request, body), answer.status))
                self._left += 1  # nothing has landed
            return await _answer(request, answer)

    async def _take_permit(self) -> None:
        async with self._changed:
            self.held += 1
            try:
                await self._changed.wait_for(lambda: self._left > 0)
            finally:
                self.held -= 1
            self._left -= 1

    def _count(self, request: web.Request, body: bytes) -> None:
        self.landed.append(_write(request, body))
        if self._left == 0:
            self._when_spent()
            self.spent = True


async def _answer(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
    response = web.StreamResponse(status=answer.status, headers=kept)
    try:
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except (aiohttp.ClientError, ConnectionError):
        return response  # one of the two sides is gone: nobody to tell
    return response


def _write(request: web.Request, body: bytes) -> Write:
    """Read `…/namespaces/NAMESPACE/RESOURCE[/NAME[/SUBRESOURCE]]`; a creation has its name in the body."""
    resource, *more = request.path.split("/namespaces/", 1)[1].split("/")[1:]
    name = more[0] if more else json.loads(body)["metadata"].get("name", "")
    return Write(method=request.method, resource="/".join([resource, *more[1:]]), name=name)
