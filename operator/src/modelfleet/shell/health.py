"""`/metrics`, `/healthz` and `/readyz` of the operator.

Healthy: every task runs; a standby has none but the wait for its turn, with which it ends. Ready: LLMDeployments could be
listed when that was last tried; a standby is ready. Must not ask the API: probes are many.
"""

import asyncio
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


@dataclass(kw_only=True)
class Health:
    """What the probes are answered from."""

    problem: str = "starting"
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def tell(self, problem: str) -> None:
        """Say what keeps the operator from its work; nothing when nothing does."""
        self.problem = problem

    @property
    def dead(self) -> list[str]:
        """Name the tasks that should run and do not."""
        return [task.get_name() for task in self.tasks if task.done()]


async def serve(*, health: Health, port: int) -> web.AppRunner:
    """Start answering on all addresses."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(status=503 if health.dead else 200, text="; ".join(health.dead) or "ok")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(status=503 if health.problem else 200, text=health.problem or "ok")

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
