"""From start to end of one engine: the phases, and what a signal means in each.

    Loading -> Serving -> Draining -> gone        asked by SIGTERM
    Loading -> Stopping -> gone                   SIGTERM before the first token
    any     -> gone                               the engine ended, hung or never answered

Ties the other modules together. It must not parse logs or metrics, nor read the environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from enum import StrEnum
from typing import Any

from modelfleet_supervisor.client import EngineClient, EngineError
from modelfleet_supervisor.engine import Engine, out_of_memory_kills
from modelfleet_supervisor.progress import Progress
from modelfleet_supervisor.reasons import Reason, reason_of
from modelfleet_supervisor.server import State, serve
from modelfleet_supervisor.settings import Settings

EXIT_DRAINED = 0
EXIT_FAILED = 1
EXIT_KILLED = 128 + signal.SIGKILL
EXIT_STOPPED_LOADING = 128 + signal.SIGTERM


class Phase(StrEnum):
    """Where the engine is in its life."""

    LOADING = "Loading"
    SERVING = "Serving"
    DRAINING = "Draining"
    STOPPING = "Stopping"
    HUNG = "Hung"
    ENDED = "Ended"


class Supervisor:
    """Runs one engine and answers for it."""

    def __init__(self, *, settings: Settings) -> None:
        self.settings = settings
        self.phase = Phase.LOADING
        self.message = "the engine has not answered yet"
        self._asked = asyncio.Event()
        self._client = EngineClient(url=settings.engine_url, api_key=settings.api_key)
        self._out_of_memory_kills = out_of_memory_kills()

    async def run(self) -> int:
        """Start the engine and return the exit code when everything has ended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked.set)
        server = await serve(port=self.settings.port, state=self.state)
        try:
            engine = Engine(command=self.settings.command)
        except OSError as error:
            return self._fail(Reason(reason="InvalidEngineArgument", message=f"{error}; check spec.engine.image"))
        watching = asyncio.create_task(self._watch())
        asked = asyncio.create_task(self._asked.wait())
        try:
            await _first_of(engine.exited, watching, asked)
            if engine.exited.done():
                return self._ended(engine)
            if watching.done():
                return await self._failed_alive(engine, asked, watching.result())
            return await self._stop(engine)
        finally:
            self.phase = Phase.ENDED
            watching.cancel()
            asked.cancel()
            with contextlib.suppress(TimeoutError):
                await engine.kill_all()
            server.close()

    def state(self) -> State:
        """What the probes are told now."""
        return State(
            ready=self.phase is Phase.SERVING,
            live=self.phase is not Phase.HUNG,
            phase=self.phase.value,
            message=self.message,
        )

    async def _watch(self) -> Reason:
        """Wait for the first token, then for a hang; returns only with a reason to end the engine."""
        try:
            async with asyncio.timeout(self.settings.start_deadline):
                while not await self._one_token():  # noqa: ASYNC110  # the engine announces nothing: it must be asked
                    await asyncio.sleep(self.settings.poll_interval)
        except TimeoutError:
            return Reason(
                reason="ProbeTimeout",
                message=f"no token within {self.settings.start_deadline:g} s of the start: {self.message}; "
                "raise the start deadline if the model is still loading",
            )
        self.phase, self.message = Phase.SERVING, "the first token has been generated"
        progress = Progress(hang_after=self.settings.hang_after, idle_probe_after=self.settings.idle_probe_after)
        progress.moved(now=time.monotonic())
        while True:
            await asyncio.sleep(self.settings.watch_interval)
            sample = None
            with contextlib.suppress(EngineError):
                sample = await asyncio.to_thread(self._client.sample, timeout=self.settings.watch_interval)
            if not progress.observe(sample=sample, now=time.monotonic()):
                continue
            if await self._one_token():
                progress.moved(now=time.monotonic())
            elif not await self._moved_meanwhile(progress):
                self.phase = Phase.HUNG
                return Reason(
                    reason="EngineHung", message=f"no token came for {self.settings.probe_timeout:g} s: {self.message}"
                )

    async def _one_token(self) -> bool:
        try:
            await asyncio.to_thread(self._client.one_token, timeout=self.settings.probe_timeout)
        except EngineError as error:
            self.message = str(error)[:300]
            return False
        return True

    async def _moved_meanwhile(self, progress: Progress) -> bool:
        """A probe that waited behind others fails too: other requests' tokens prove life."""
        before = progress.last_moved
        with contextlib.suppress(EngineError):
            sample = await asyncio.to_thread(self._client.sample, timeout=self.settings.watch_interval)
            progress.observe(sample=sample, now=time.monotonic())
        return progress.last_moved != before

    async def _stop(self, engine: Engine) -> int:
        serving = self.phase is Phase.SERVING
        if serving:
            self.phase, self.message = Phase.DRAINING, "SIGTERM: requests in flight are being finished"
            engine.signal(signal.SIGTERM)
            patience = self.settings.drain_timeout + self.settings.drain_margin
        else:
            # vLLM ignores SIGTERM for minutes while it loads, and nobody has a request in flight.
            self.phase, self.message = Phase.STOPPING, "SIGTERM while loading"
            engine.signal(signal.SIGINT)
            patience = self.settings.loading_grace
        await _first_of(engine.exited, timeout=patience)
        if not serving:
            return EXIT_STOPPED_LOADING
        if engine.exited.done():
            return EXIT_DRAINED
        self._record(
            Reason(
                reason="DrainTimeout",
                message=f"requests were still in flight {patience:g} s after SIGTERM; raise spec.drain.timeoutSeconds",
            )
        )
        return EXIT_KILLED

    def _ended(self, engine: Engine) -> int:
        status = engine.exited.result()
        killed = status == -signal.SIGKILL and out_of_memory_kills() > self._out_of_memory_kills
        self._fail(reason_of(tail=engine.tail(), status=status, out_of_memory_killed=killed))
        return status if status > 0 else EXIT_FAILED if status == 0 else 128 - status

    async def _failed_alive(self, engine: Engine, asked: asyncio.Task[bool], reason: Reason) -> int:
        code = self._fail(reason)
        if self.phase is Phase.HUNG:
            # Liveness tells the kubelet, which asks; should no probe be set, do not stay hung for ever.
            await _first_of(engine.exited, asked, timeout=self.settings.hang_after)
        return code

    def _fail(self, reason: Reason) -> int:
        self.message = reason.message
        self._record(reason)
        return EXIT_FAILED

    def _record(self, reason: Reason) -> None:
        print(f"modelfleet-supervise: {reason.reason}: {reason.message}", flush=True)
        with contextlib.suppress(OSError):
            self.settings.termination_log.write_text(reason.as_json(), encoding="utf-8")


async def _first_of(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:  # noqa: ASYNC109  # passed on to wait
    await asyncio.wait(set(futures), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
