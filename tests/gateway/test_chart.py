"""The chart's own bootstrap, certificates and drain script, in a real Envoy: only addresses and folders differ."""

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from e2e.cluster.process import free_ports
from modelfleet.gateway.ads import AdsServer
from modelfleet.gateway.credentials import server_credentials
from tests.chart.helm import NAMESPACE, only, render
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import SECONDS, Envoy, eventually
from tests.gateway.gateway import Gateway, revision, served

HOST = f"modelfleet-gateway-control.{NAMESPACE}.svc"


SERVER, CLIENT = "modelfleet-gateway-control-tls", "modelfleet-gateway-tls"
"""Secrets of the two ends of the control connection."""


Secrets = Mapping[str, Mapping[str, str]]
"""Data of the Secrets of both ends, by name."""


def chart_secrets(**values: Any) -> Secrets:
    """What the chart makes itself; other values, another authority."""
    manifests = render(**values)
    return {name: only(manifests, "Secret", name)["data"] for name in (SERVER, CLIENT)}


def mount(folder: Path, data: Mapping[str, str]) -> None:
    """Write a Secret as the kubelet does: what is there already changes in one moment, by one link."""
    version = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    for key, value in data.items():
        (version / key).write_bytes(base64.b64decode(value))
        if not (folder / key).is_symlink():
            (folder / key).symlink_to(Path("..data") / key)
    (folder / "..next").symlink_to(version.name)
    (folder / "..next").rename(folder / "..data")


class Installed(Gateway):
    """What helm would install, in a folder; without Secrets given, the chart's own."""

    def __init__(self, *, folder: Path, secrets: Secrets | None = None) -> None:
        super().__init__(folder=folder)
        self.admin_port, self.probe_port, self.control_port = free_ports(3)
        manifests = render()
        for place in ("server", "client"):
            (folder / place).mkdir()
        self.renew(secrets or chart_secrets())
        changes = {
            f"address: {HOST}, port_value: 18000": f"address: 127.0.0.1, port_value: {self.control_port}",
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - what the chart says is replaced
            "port_value: 9901": f"port_value: {self.admin_port}",
            "port_value: 8002": f"port_value: {self.probe_port}",
            "/etc/modelfleet/tls": str(folder / "client"),
            "/etc/modelfleet/envoy": str(folder),
        }
        for name, text in only(manifests, "ConfigMap")["data"].items():
            for was, now in changes.items():
                text = text.replace(was, now)  # noqa: PLW2901 - one replacement after the other
            (folder / name).write_text(text)
        config = folder / "bootstrap.yaml"
        self.envoy = Envoy(folder=folder / "run", control_port=self.control_port, config=config)

    def renew(self, secrets: Secrets) -> None:
        """Mount these Secrets at both ends, over what is mounted there."""
        mount(self.folder / "server", secrets[SERVER])
        mount(self.folder / "client", secrets[CLIENT])

    async def control(self) -> None:
        credentials = server_credentials(self.folder / "server")
        await self.ads.start(address=f"127.0.0.1:{self.control_port}", credentials=credentials)

    async def reconnect(self) -> None:
        """Let the Envoy connect anew, to another control process with the same Secret."""
        await self.ads.stop()
        self.ads = AdsServer()
        self.publish(*self.fleet.models)
        await self.control()

    async def probe(self, path: str) -> int:
        """Status of what the kubelet or Prometheus asks; 0 while nobody listens."""
        try:
            async with self.session.get(f"http://127.0.0.1:{self.probe_port}{path}") as response:
                return response.status
        except aiohttp.ClientConnectionError:
            return 0

    async def state(self) -> str:
        """What Envoy says of itself; empty while it is not up."""
        try:
            return str((await self.envoy.ask("/server_info"))["state"])
        except (OSError, aiohttp.ClientError):
            return ""

    async def drain(self, seconds: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "bash", str(self.folder / "drain.sh"), str(self.admin_port), str(seconds)
        )


@asynccontextmanager
async def started(whole: Installed) -> AsyncIterator[Installed]:
    """Its Envoy runs, and waits for a control server."""
    whole.publish()
    whole.envoy.child.start()
    try:
        async with aiohttp.ClientSession() as whole.session:
            yield whole
    finally:
        whole.envoy.child.stop(grace_seconds=3)
        await whole.ads.stop()


@pytest.fixture
async def installed(tmp_path: Path) -> AsyncIterator[Installed]:
    async with started(Installed(folder=tmp_path)) as whole:
        yield whole


async def until(look: Any, wanted: Any, gate: Gateway) -> None:
    seen: list[Any] = []

    async def there() -> bool:
        seen.append(await look())
        return seen[-1] == wanted

    await eventually(there, what=str(wanted), tell=lambda: f"{seen[-1]}; {gate.seen()}")


async def test_an_envoy_is_ready_when_it_has_its_configuration_and_not_before(installed: Installed):
    await until(installed.state, "PRE_INITIALIZING", installed)
    assert await installed.probe("/ready") == 0, "nothing to serve yet"
    await installed.control()
    await until(lambda: installed.probe("/ready"), 200, installed)
    assert await installed.probe("/stats/prometheus") == 200
    assert await installed.probe("/config_dump") == 404, "the rest of the admin port is not for the network"
    assert await installed.probe("/quitquitquit") == 404
    installed.address = await installed.envoy.ready()
    await installed.apply(served("chat"))
    assert (await installed.chat("chat"))[0] == 503


async def test_the_pre_stop_hook_waits_for_the_last_stream_and_asks_clients_to_leave(installed: Installed):
    engine = Engine(name="a")
    await installed.control()
    installed.address = await installed.envoy.ready()
    async with serving(engine):
        await installed.apply(served("chat", revision("r1", engine)))
        async with installed.ask({"model": "chat", "stream": True, "max_tokens": 3}) as response:
            first = await response.content.readuntil(b"\n\n")
            hook = await installed.drain(600)

            async def leaving() -> bool:
                async with installed.ask(path="/v1/models", method="GET") as answer:
                    assert answer.status == 200, "what still comes is served"
                    return answer.headers.get("connection") == "close"

            await eventually(leaving, what="Connection: close", tell=installed.seen)
            assert await installed.probe("/ready") == 503, "the kubelet takes its address out of the Service"
            assert hook.returncode is None, "a stream is still open"
            engine.go_on.set()
            assert (first + await response.read()).endswith(b"data: [DONE]\n\n")
        async with asyncio.timeout(SECONDS):
            assert await hook.wait() == 0


async def test_the_pre_stop_hook_does_not_wait_for_ever(installed: Installed):
    engine = Engine(name="a")
    await installed.control()
    installed.address = await installed.envoy.ready()
    async with serving(engine):
        await installed.apply(served("chat", revision("r1", engine)))
        async with installed.ask({"model": "chat", "stream": True}) as response:
            await response.content.readuntil(b"\n\n")
            hook = await installed.drain(2)
            async with asyncio.timeout(SECONDS):
                assert await hook.wait() == 0
            assert engine.open_streams == 1
            engine.go_on.set()
            await response.read()
