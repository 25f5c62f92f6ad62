"""The operator process: health server, leadership, listing, watches, workers, the metrics tick.

Stops with an error on a lost Lease or a dead worker: the Deployment starts it again, and nothing is lost by that.
"""

import asyncio
import contextlib
import gc
import secrets
import signal
import socket
import time
from collections.abc import Coroutine
from typing import Any

import kopf
import structlog

from modelfleet import settings as settings_module
from modelfleet.adapters.analysis import PrometheusAnalysis
from modelfleet.adapters.asking import PrometheusOptions
from modelfleet.adapters.errors import ApiProblem
from modelfleet.adapters.gateway import Gateway
from modelfleet.adapters.kube import Kube, connect
from modelfleet.adapters.lease import Lease
from modelfleet.adapters.prometheus import Prometheus
from modelfleet.core import names
from modelfleet.core.scaling.signals import no_signals
from modelfleet.core.world import RenderSettings
from modelfleet.settings import Settings
from modelfleet.shell import telemetry
from modelfleet.shell.analyses import Analyses
from modelfleet.shell.cache import Cache
from modelfleet.shell.controller import Controller
from modelfleet.shell.envoys import Envoys
from modelfleet.shell.handlers import make_registry
from modelfleet.shell.health import Health, serve
from modelfleet.shell.listing import Listing
from modelfleet.shell.queue import WorkQueue
from modelfleet.shell.routes import Routes

log = structlog.get_logger(__name__)
COLLECT_AFTER = 20_000
"""New containers between two searches for cycles. By Python's 700, every few events of a watch, they take a tenth of the CPU."""


def run() -> None:
    """Run until SIGTERM, or until the Lease is lost (then the exit status is 1)."""
    gc.freeze()  # modules stay: there is nothing to be found in them
    gc.set_threshold(COLLECT_AFTER)
    telemetry.configure_logging()
    try:
        settings = settings_module.load()
    except settings_module.SettingsError as error:
        raise SystemExit(str(error)) from error
    raise SystemExit(asyncio.run(operate(settings)))


async def operate(settings: Settings) -> int:
    """Lead when it is our turn; returns the exit status."""
    stop = asyncio.Event()
    _stop_on_signals(stop)
    api = await connect()
    lease = Lease(
        kube=Kube(api=api),
        namespace=settings.namespace,
        name=settings.lease_name,
        identity=settings.identity or f"{socket.gethostname()}-{secrets.token_hex(4)}",
        seconds=settings.lease_seconds,
    )
    health = Health()
    server = await serve(health=health, port=settings.metrics_port)
    try:
        if not await _until(stop, _wait_for_turn(lease=lease, kube=Kube(api=api), settings=settings, health=health)):
            return 0
        if not lease.held:
            return 1  # waiting failed, and that was logged
        log.info("leading")
        telemetry.LEADING.set(1)
        stopped = not await _until(
            stop, _lead(settings=settings, api=api, lease=lease, health=health, asked_to_stop=stop)
        )
        if not stopped:
            log.error("leadership.lost", message="the Lease was lost or a worker died; exiting to start anew")
        await lease.release()
        return 0 if stopped else 1
    finally:
        telemetry.LEADING.set(0)
        await server.cleanup()
        await api.close()


def _stop_on_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _take_signals_back(*, started: asyncio.Event, stop: asyncio.Event) -> None:
    """Kopf takes the signals for itself as it starts; an ordinary end is ours to tell from a failure."""
    await started.wait()
    _stop_on_signals(stop)
    await asyncio.Event().wait()


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Run `work`; False when `stop` came first."""
    task, stopper = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((task, stopper), return_when=asyncio.FIRST_COMPLETED)
    stopper.cancel()
    if not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return False
    if error := task.exception():
        log.error("task.failed", exc_info=error)
    return True


async def _wait_for_turn(*, lease: Lease, kube: Kube, settings: Settings, health: Health) -> None:
    while True:
        try:
            for namespace in settings.watch_namespaces or ("",):
                await kube.list(api_version=names.API_VERSION, kind=names.KIND, namespace=namespace)
            break
        except ApiProblem as error:
            health.tell(f"llmdeployments cannot be listed ({error}); install the CRD and the chart's RBAC")
            log.warning("not.ready", message=health.problem)
            await asyncio.sleep(2.0)
    health.tell("")
    await lease.acquire()


async def _lead(*, settings: Settings, api: Any, lease: Lease, health: Health, asked_to_stop: asyncio.Event) -> None:
    cache = Cache()
    queue = WorkQueue(clock=time.monotonic, debounce=settings.debounce_seconds)
    telemetry.QUEUE_DEPTH.set_function(lambda: len(queue))
    kube = Kube(api=api, guard=lease.check)
    gateway = Gateway(kube=kube, namespace=settings.namespace) if settings.gateway_url else None
    namespaces = settings.watch_namespaces or ("",)
    judging = PrometheusAnalysis(options=_prometheus(settings)) if settings.prometheus_url else None
    analyses = Analyses(cache=cache, queue=queue, gateway_url=settings.gateway_url, source=judging)
    routes = Routes(api=api, kube=kube, cache=cache, namespaces=namespaces)
    controller = Controller(
        kube=kube,
        cache=cache,
        queue=queue,
        render=RenderSettings(
            engine_images=settings.engine_images,
            rendering_version=settings.rendering_version,
            gateway_url=settings.gateway_url,
            engine_peers=settings.engine_peers,
            ack_timeout_seconds=settings.gateway_ack_timeout_seconds,
        ),
        read_nodes=settings.read_nodes,
        envoys=Envoys(source=gateway),
        analyses=analyses,
        routes=routes,
    )
    renewing = asyncio.create_task(lease.keep(), name="lease")
    try:
        listing = Listing(kube=kube, cache=cache, namespaces=namespaces, read_nodes=settings.read_nodes)
        await listing.refresh()  # half a picture must not be decided on
        await routes.look()
        for key in cache.fleet:
            queue.add(key)
        stop, started = asyncio.Event(), asyncio.Event()
        watching = kopf.operator(
            registry=make_registry(cache=cache, queue=queue, read_nodes=settings.read_nodes),
            standalone=True,
            clusterwide=not settings.watch_namespaces,
            namespaces=settings.watch_namespaces,
            stop_flag=stop,
            ready_flag=started,
        )
        named = {
            "watches": watching,
            "signals": _take_signals_back(started=started, stop=asked_to_stop),
            "listing": listing.keep(queue=queue, tell=health.tell),
            "routes": routes.keep(queue=queue, seconds=settings.discovery_seconds),
            "metrics": _tick(settings=settings, controller=controller, queue=queue),
            "analyses": analyses.keep(),
            "gateway": _look_at_routes(settings=settings, controller=controller),
            **{f"worker-{number}": controller.work() for number in range(settings.workers)},
        }
        tasks = [renewing, *(asyncio.create_task(work, name=name) for name, work in named.items())]
        health.tasks = tasks
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if error := task.exception():
                    log.error("task.failed", exc_info=error)
        finally:
            stop.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        renewing.cancel()
        if gateway is not None:
            await gateway.close()
        if judging is not None:
            judging.close()


def _prometheus(settings: Settings) -> PrometheusOptions:
    return PrometheusOptions(
        url=settings.prometheus_url,
        timeout_seconds=settings.prometheus_timeout_seconds,
        headers_dir=settings.prometheus_headers_dir,
        ca_file=settings.prometheus_ca_file,
    )


async def _look_at_routes(*, settings: Settings, controller: Controller) -> None:
    """Ask now and then whether an Envoy refused something; who drains asks for itself."""
    if not settings.gateway_url:
        await asyncio.Event().wait()
    while True:
        await asyncio.sleep(settings.tick_seconds)
        try:
            await controller.refresh_routes()
        except ApiProblem as error:
            log.warning("gateway.unknown", error=str(error), retry_seconds=settings.tick_seconds)


async def _tick(*, settings: Settings, controller: Controller, queue: WorkQueue) -> None:
    """Ask Prometheus for the whole fleet, then let everyone who follows metrics look."""
    if not settings.prometheus_url:
        controller.signals = no_signals(observed_at=0.0, error="prometheus.url is not set in the chart's values")
        await asyncio.Event().wait()
    source = Prometheus(options=_prometheus(settings))
    try:
        while True:
            started = time.monotonic()
            if controller.fleet_size:  # the load of replicas also orders who leaves first, where nothing is scaled
                controller.signals = await source.fetch()
                if controller.signals.available:
                    telemetry.METRICS_AGE.set_to_current_time()
                for key in controller.scaled():
                    queue.add(key)
            await asyncio.sleep(max(0.0, settings.tick_seconds - (time.monotonic() - started)))
    finally:
        source.close()
