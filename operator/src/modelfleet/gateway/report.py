"""What every Envoy has acknowledged, and `/metrics`, `/healthz` and `/readyz`, over plain HTTP inside the cluster.

The operator asks every control replica and joins the answers by node id. Must not ask the API: probes are many. No key
and no tenant is in any answer.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from modelfleet.core.routing.model import Fleet
from modelfleet.core.routing.resolve import resolve
from modelfleet.core.routing.weights import effective, requested
from modelfleet.gateway.ads import AdsServer
from modelfleet.gateway.snapshot import Snapshot

BEHIND = Gauge(
    "modelfleet_gateway_envoys_behind", "Connected Envoys that have not taken in every model's newest routes."
)
REFUSING = Gauge("modelfleet_gateway_envoys_refusing", "Connected Envoys that refuse what they were sent last.")


@dataclass(kw_only=True)
class State:
    """What the answers are made from.

    Attributes:
        problem: why this replica serves nothing yet; empty when it does.
        tasks: what must run.
    """

    ads: AdsServer
    problem: str = "starting"
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    fleet: Fleet = field(default_factory=Fleet)
    snapshot: Snapshot = field(default_factory=Snapshot)


def acknowledgements(state: State, *, only: str = "") -> dict[str, Any]:
    """Say what is wanted of every model and what each connected Envoy has of it.

    Args:
        state: where it stands.
        only: UID of the one LLMDeployment that is asked about; empty for all.
    """
    models = [m for m in state.fleet.models if m.uid in state.snapshot.models and only in {"", m.uid}]
    lost = resolve(state.fleet.models).lost
    return {
        "models": {
            m.uid: {
                "name": m.full_name,
                "digest": state.snapshot.models[m.uid].digest,
                "requested": requested(m.revisions),
                "effective": dict(effective(m.revisions)),
                "endpoints": {r.name: [e.address for e in r.endpoints] for r in m.revisions},
                "lostNames": dict(lost.get(m.uid, {})),
            }
            for m in models
        },
        "envoys": {
            node: {
                "confirmed": {uid: digest for uid, digest in stream.confirmed.items() if only in {"", uid}},
                "rejections": {kind.rpartition(".")[2]: no.message for kind, no in stream.rejections.items()},
            }
            for node, stream in state.ads.streams().items()
        },
    }


def measure(state: State) -> None:
    """Count the Envoys that are behind and those that refuse; called for each scrape."""
    wanted = {uid: model.digest for uid, model in state.snapshot.models.items()}
    streams = state.ads.streams().values()
    BEHIND.set(sum(not wanted.items() <= stream.confirmed.items() for stream in streams))
    REFUSING.set(sum(bool(stream.rejections) for stream in streams))


async def serve(state: State, *, port: int) -> web.AppRunner:
    """Start answering on all addresses."""

    async def metrics(_: web.Request) -> web.Response:
        measure(state)
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        dead = [task.get_name() for task in state.tasks if task.done()]
        return web.Response(status=503 if dead else 200, text="; ".join(dead) or "ok")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(status=503 if state.problem else 200, text=state.problem or "ok")

    async def report(request: web.Request) -> web.Response:
        if state.problem:
            return web.json_response({"error": state.problem}, status=503)
        return web.json_response(acknowledgements(state, only=request.query.get("uid", "")))

    app = web.Application()
    app.add_routes(
        [
            web.get("/metrics", metrics),
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/v1/acknowledgements", report),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
