"""A whole gateway for one test: control server, Envoy, and a client. Used by tests only."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from e2e.cluster.process import free_ports
from modelfleet.core.routing.model import ApiKey, Endpoint, Fleet, Revision, Served
from modelfleet.gateway import headers
from modelfleet.gateway.ads import AdsServer
from modelfleet.gateway.render_listener import ListenerSettings
from modelfleet.gateway.snapshot import Renderer, Snapshot
from modelfleet.gateway.stream import Rejection
from tests.gateway.envoy import Envoy, eventually, running

KEY = ApiKey(tenant="team-a", key="key-of-team-a")


def revision(name: str, *engines: Any, weight: int | None = None) -> Revision:
    return Revision(name=name, weight=weight, endpoints=tuple(engine.endpoint for engine in engines))


def served(name: str, *revisions: Revision, namespace: str = "team-a", **more: Any) -> Served:
    given = {"uid": f"uid-{namespace}-{name}", "created": "2026-01-01T00:00:00Z", "served_name": name, **more}
    return Served(namespace=namespace, name=name, revisions=revisions, **given)


class Client:
    """Whoever asks a gateway, at one address."""

    address = ""
    scheme = "http"
    trusted: ssl.SSLContext | bool = True
    """Whose certificates it takes from an edge that speaks TLS."""
    session: aiohttp.ClientSession

    @contextlib.asynccontextmanager
    async def ask(
        self, body: Any = None, *, path: str = "/v1/chat/completions", key: str | None = KEY.key, **more: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request as a client does."""
        given = dict(more.pop("headers", {}))
        if key is not None:
            given["Authorization"] = f"Bearer {key}"
        if body is not None:
            more["json"] = body
        method = more.pop("method", "POST")
        url = f"{self.scheme}://{self.address}{path}"
        async with self.session.request(method, url, headers=given, ssl=self.trusted, **more) as response:
            yield response


class Gateway(Client):
    """What a test holds."""

    def __init__(self, *, folder: Path, **listener: Any) -> None:
        self.rejections: list[Rejection] = []
        self.ads = AdsServer(on_rejection=lambda _node, no: self.rejections.append(no))
        self.renderer = Renderer(settings=ListenerSettings(address="127.0.0.1", port=0, **listener))
        self.secrets: tuple[Any, ...] = ()
        self.fleet = Fleet()
        self.folder = folder
        self.scheme = "https" if listener.get("tls") else "http"
        self.envoy: Envoy

    def publish(self, *models: Served, **more: Any) -> Snapshot:
        """Serve these models; returns at once."""
        self.fleet = Fleet(models=models, **{"keys": (KEY,), "access": "Namespaced", **more})
        snapshot = self.renderer.render(self.fleet, secrets=self.secrets)
        self.ads.publish(snapshot)
        return snapshot

    async def apply(self, *models: Served, **more: Any) -> Snapshot:
        """Serve these models, and wait until Envoy has acknowledged every one."""
        snapshot = self.publish(*models, **more)
        await self.acknowledged(snapshot)
        return snapshot

    async def acknowledged(self, snapshot: Snapshot, *, node: str = "envoy-0") -> None:
        wanted = {uid: model.digest for uid, model in snapshot.models.items()}

        async def same() -> bool:
            stream = self.ads.streams().get(node)
            return stream is not None and stream.confirmed == wanted

        await eventually(same, what="acknowledgement", tell=self.seen)

    def seen(self) -> str:
        states = {node: (s.confirmed, s.rejections, s.stuck) for node, s in self.ads.streams().items()}
        return f"streams: {states}; Envoy's log ends: {self.envoy.child.tail()}"

    async def chat(self, model: str, **more: Any) -> tuple[int, dict[str, Any], str]:
        """Ask a model; gives status, answer, and the revision that answered."""
        async with self.ask({"model": model, "messages": []}, **more) as response:
            return response.status, await response.json(), response.headers.get(headers.REVISION, "")

    async def listener_version(self) -> str:
        """What Envoy itself says of the listener that it runs."""
        dump = await self.envoy.ask("/config_dump?resource=dynamic_listeners")
        return str(dump["configs"][0]["active_state"]["version_info"])


@contextlib.asynccontextmanager
async def gateway(
    folder: Path, *, pki: Path | None = None, credentials: Any = None, edge: Any = None, **listener: Any
) -> AsyncIterator[Gateway]:
    """Start all of it; `edge` is the certificate of an edge that speaks TLS, `listener` further settings of it."""
    whole = Gateway(folder=folder, tls=edge is not None, **listener)
    whole.secrets = () if edge is None else (edge,)
    # A server that comes back must find its port free: the kernel gives this one to nobody.
    (port,) = free_ports(1)
    await whole.ads.start(address=f"127.0.0.1:{port}", credentials=credentials)
    whole.publish()
    whole.envoy = Envoy(folder=folder, control_port=port, pki=pki)
    try:
        async with running(whole.envoy) as address, aiohttp.ClientSession() as session:
            whole.address, whole.session = address, session
            yield whole
            log = whole.envoy.child.log.read_text()
            assert "script log" not in log, log
    finally:
        await whole.ads.stop()


NOWHERE = Endpoint(address="127.0.0.1", port=1)
"""Where nothing listens."""
