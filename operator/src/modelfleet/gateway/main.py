"""The gateway's control process: watches, renders, serves Envoys, reports what they acknowledged.

Stateless and equal to its other replicas: no Lease, no writes. Nothing is served before every listing is in, for half a
picture would take models away. Stops with an error when a task dies: the Deployment starts it again.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from prometheus_client import Gauge, Histogram

from modelfleet.adapters.kube import connect
from modelfleet.adapters.logs import configure_logging
from modelfleet.adapters.watch import Kind, Watcher
from modelfleet.core import names
from modelfleet.gateway.ads import AdsServer
from modelfleet.gateway.credentials import server_credentials
from modelfleet.gateway.objects import Objects
from modelfleet.gateway.render_listener import ListenerSettings, edge_secret
from modelfleet.gateway.report import State, serve
from modelfleet.gateway.settings import GatewaySettings
from modelfleet.gateway.snapshot import Renderer
from modelfleet.settings import SettingsError, read

log = structlog.get_logger(__name__)

MODELS = Gauge("modelfleet_gateway_models", "LLMDeployments in the route table.")
RENDER_SECONDS = Histogram(
    "modelfleet_gateway_render_seconds",
    "Seconds from a change to its resources.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)


def run() -> None:
    """Run until SIGTERM."""
    configure_logging()
    try:
        settings = read(GatewaySettings, os.environ)
    except SettingsError as error:
        raise SystemExit(str(error)) from error
    raise SystemExit(asyncio.run(control(settings)))


async def control(settings: GatewaySettings) -> int:
    """Serve until asked to stop; returns the exit status."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    api, ads = await connect(), AdsServer()
    state = State(ads=ads)
    server = await serve(state, port=settings.metrics_port)
    credentials = server_credentials(settings.ads_tls_dir) if settings.ads_tls_dir else None
    objects, changed = _objects(settings), asyncio.Event()
    watchers = _watchers(settings, api=api, objects=objects, changed=changed)
    state.tasks = [asyncio.create_task(w.follow(), name=f"watch-{n}") for n, w in enumerate(watchers)]
    publishing = _publish(settings, state=state, objects=objects, watchers=watchers, changed=changed)
    state.tasks.append(asyncio.create_task(publishing, name="publish"))
    try:
        await ads.start(address=f"{settings.ads_address}:{settings.ads_port}", credentials=credentials)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((*state.tasks, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in state.tasks:
            if task.done() and (error := task.exception()):
                log.error("task.failed", task=task.get_name(), exc_info=error)
        stopping.cancel()
        return 0 if stop.is_set() else 1
    finally:
        for task in state.tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*state.tasks, return_exceptions=True)
        await ads.stop()
        await server.cleanup()
        await api.close()


def _objects(settings: GatewaySettings) -> Objects:
    named = settings.tenants.items()
    return Objects(
        access=settings.access,
        namespaces={tenant: one.namespaces for tenant, one in named if one.namespaces is not None},
        rates={tenant: one.rate for tenant, one in named if one.rate is not None},
    )


def _watchers(settings: GatewaySettings, *, api: Any, objects: Objects, changed: asyncio.Event) -> list[Watcher]:
    def watcher(kind: Kind, observe: Callable[..., None]) -> Watcher:
        def see(body: Mapping[str, Any], deleted: bool) -> None:  # noqa: FBT001 - an event's own two words
            observe(body, deleted=deleted)
            changed.set()

        return Watcher(api=api, kind=kind, observe=see)

    found = []
    for namespace in settings.watch_namespaces or ("",):
        fleet = Kind(api_version=names.API_VERSION, kind=names.KIND, namespace=namespace)
        found.append(watcher(fleet, objects.llmdeployment))
        for api_version, kind, slim, observe in (
            ("v1", "Pod", False, objects.pod),
            ("apps/v1", "ReplicaSet", True, objects.owner),
            ("apps/v1", "Deployment", True, objects.owner),
        ):
            owned = Kind(
                api_version=api_version,
                kind=kind,
                namespace=namespace,
                selector=names.OWNED_SELECTOR,
                metadata_only=slim,
            )
            found.append(watcher(owned, observe))
    keys = Kind(api_version="v1", kind="Secret", namespace=settings.namespace, selector=names.API_KEY)
    found.append(watcher(keys, objects.keys))
    if settings.tls_secret:
        named = f"metadata.name={settings.tls_secret}"
        edge = Kind(api_version="v1", kind="Secret", namespace=settings.namespace, fields=named)
        found.append(watcher(edge, objects.edge_secret))
    return found


async def _publish(
    settings: GatewaySettings, *, state: State, objects: Objects, watchers: list[Watcher], changed: asyncio.Event
) -> None:
    """Render what changed and hand it out, as often as something did."""
    for watcher in watchers:
        state.problem = f"waiting for the first listing of {watcher.what}; check the API server and the chart's RBAC"
        await watcher.synced.wait()
    renderer = Renderer(settings=ListenerSettings(port=settings.request_port, tls=bool(settings.tls_secret)))
    changed.set()
    while True:
        await changed.wait()
        changed.clear()
        with RENDER_SECONDS.time():
            fleet = objects.fleet()
            secrets = [edge_secret(certificate=objects.edge[0], key=objects.edge[1])] if objects.edge else []
            snapshot = renderer.render(fleet, secrets=secrets)
        state.fleet, state.snapshot, state.problem = fleet, snapshot, ""
        MODELS.set(len(fleet.models))
        state.ads.publish(snapshot)
        await asyncio.sleep(0)  # what else has arrived meanwhile is taken in before the next rendering
