"""The server of Envoy's delta ADS: moves the responses of each stream, and tells who has acknowledged what.

Stateless: what it serves comes with `publish`, what an Envoy has it says itself when it connects. Must not render.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
import structlog
from prometheus_client import Counter, Gauge

from modelfleet.gateway import proto
from modelfleet.gateway.snapshot import Snapshot
from modelfleet.gateway.stream import Rejection, Stream

log = structlog.get_logger(__name__)

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
HOLD_SECONDS = 5
"""How long routes wait for an Envoy to ask for a new cluster's endpoints: it does so within milliseconds, but without a core
for itself within seconds, and a route to a cluster that it does not have answers 503."""
LARGEST_MESSAGE_BYTES = 64 * 1024 * 1024
KEEPALIVE = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES),
    ("grpc.max_send_message_length", LARGEST_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
)

NACKS = Counter("modelfleet_gateway_rejections_total", "Configurations that an Envoy refused.", ["type"])
ENVOYS = Gauge("modelfleet_gateway_envoys", "Envoys connected to this control replica.")


class AdsServer:
    """Serves the last published snapshot.

    Attributes:
        on_rejection: called with the node's id and its no.
    """

    def __init__(self, *, on_rejection: Callable[[str, Rejection], None] | None = None) -> None:
        self.on_rejection = on_rejection or (lambda _node, _rejection: None)
        self._snapshot: Snapshot | None = None
        self._streams: dict[Stream, asyncio.Event] = {}
        self._server: Any = None

    def publish(self, snapshot: Snapshot) -> None:
        """Hand a snapshot to every Envoy. Until the first, connected ones wait rather than serve nothing."""
        self._snapshot = snapshot
        for wake in self._streams.values():
            wake.set()

    def streams(self) -> dict[str, Stream]:
        """Give the newest stream of each connected Envoy, by node id."""
        return {stream.node: stream for stream in self._streams if stream.node}

    async def start(self, *, address: str, credentials: Any = None) -> int:
        """Listen; returns the port. Without credentials the connection is plain: for tests on loopback."""
        server = grpc.aio.server(options=KEEPALIVE)
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve,
            request_deserializer=proto.discovery.DeltaDiscoveryRequest.FromString,
            response_serializer=proto.discovery.DeltaDiscoveryResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"DeltaAggregatedResources": handler}),)
        )
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
        await server.start()
        self._server = server
        return int(port)

    async def stop(self) -> None:
        """Close every stream; Envoys keep what they have and connect to another replica."""
        if self._server is not None:
            await self._server.stop(grace=None)

    async def _serve(self, requests: AsyncIterator[Any], context: Any) -> None:
        stream, wake = Stream(), asyncio.Event()
        self._streams[stream] = wake
        ENVOYS.set(len(self._streams))
        reading = asyncio.create_task(self._read(requests, stream, wake))
        held: dict[str, float] = {}
        try:
            while not reading.done():
                wake.clear()
                await self._write(stream, context)
                held = await self._news(stream, wake, held=held)
            await reading
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            del self._streams[stream]
            ENVOYS.set(len(self._streams))

    async def _read(self, requests: AsyncIterator[Any], stream: Stream, wake: asyncio.Event) -> None:
        try:
            async for request in requests:
                rejection = stream.take(request, snapshot=self._snapshot or Snapshot())
                if rejection is not None:
                    kind = rejection.kind.rpartition(".")[2]
                    NACKS.labels(kind).inc()
                    log.error("envoy.rejected", node=stream.node, type=kind, message=rejection.message)
                    self.on_rejection(stream.node, rejection)
                wake.set()
        finally:
            wake.set()

    async def _write(self, stream: Stream, context: Any) -> None:
        if self._snapshot is not None:
            for response in stream.due(self._snapshot):
                await context.write(response)

    async def _news(self, stream: Stream, wake: asyncio.Event, *, held: Mapping[str, float]) -> dict[str, float]:
        """Wait for something to do; returns for how long routes have waited for each cluster.

        Other news does not prolong that. A second counts as one however long it took: where this process had no core
        meanwhile, what came must be read before it counts.
        """
        waiting = set() if self._snapshot is None else stream.waiting(self._snapshot)
        if not waiting:
            await wake.wait()
            return {}
        clock = asyncio.get_running_loop().time
        begun = clock()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await wake.wait()
        passed = min(clock() - begun, 1.0)
        longer = {name: held.get(name, 0.0) + passed for name in waiting}
        stream.stuck |= {name for name, seconds in longer.items() if seconds >= HOLD_SECONDS}
        return longer
