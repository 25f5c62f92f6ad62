"""Clients of several tenants that ask all the time and check that every answer is their own. Used by tests only."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientError, web

from modelfleet.core.routing.model import ApiKey
from modelfleet.gateway import headers
from tests.gateway.engines import Engine
from tests.gateway.envoy import eventually
from tests.gateway.gateway import Gateway

_words = itertools.count()


async def echo(engine: Engine, request: web.Request, body: Any) -> Any:
    """Answer with what was asked and by whom; a stream is the engine's own."""
    if body.get("stream"):
        return None
    said = {"word": body.get("user"), "tenant": request.headers.get(headers.TENANT, ""), "model": body["model"]}
    return web.json_response({"object": "chat.completion", "served_by": engine.name, **said})


@dataclass(kw_only=True)
class Load:
    """What the clients have seen so far."""

    gate: Gateway
    keys: dict[str, ApiKey]
    """Model → the key with which it is asked; a test may change it."""
    seen: Counter[str] = field(default_factory=Counter)
    """`MODEL STATUS` → how many; `MODEL foreign` for an answer that is not the asker's own."""

    using: Counter[str] = field(default_factory=Counter)
    """Key → requests under way with it."""

    async def unused(self, *keys: ApiKey) -> None:
        """Wait until no request with these keys is under way; the clients must have others by then."""

        async def none() -> bool:
            return not any(self.using[key.key] for key in keys)

        await eventually(none, what="the last request with an old key", tell=lambda: str(self.using))

    async def until(self, more: int) -> None:
        """Wait until so many further requests were answered for every model."""
        before = self.seen.copy()

        async def enough() -> bool:
            return all(self.answered(model) - _of(before, model) >= more for model in self.keys)

        await eventually(enough, what=f"{more} more answers", tell=lambda: f"{dict(self.seen)}; {self.gate.seen()}")

    def answered(self, model: str) -> int:
        return _of(self.seen, model)

    async def ask(self, model: str) -> None:
        word, key = f"word-{next(_words)}", self.keys[model]
        self.using[key.key] += 1
        try:
            async with self.gate.ask({"model": model, "user": word}, key=key.key) as response:
                status, body = response.status, await response.json()
        except ClientError as error:
            self.seen[f"{model} {type(error).__name__}"] += 1
            return
        finally:
            self.using[key.key] -= 1
        own = {"word": word, "tenant": key.tenant, "model": model}
        good = status != 200 or {name: body.get(name) for name in own} == own
        self.seen[f"{model} {status if good else 'foreign'}"] += 1


@contextlib.asynccontextmanager
async def asking(gate: Gateway, keys: dict[str, ApiKey], *, clients: int = 3) -> AsyncIterator[Load]:
    """Let so many clients of each model ask until the block ends."""
    load, done = Load(gate=gate, keys=keys), asyncio.Event()

    async def client(model: str) -> None:
        while not done.is_set():
            await load.ask(model)

    tasks = [asyncio.create_task(client(model)) for model in _times(keys, clients)]
    try:
        yield load
    finally:
        done.set()
        await asyncio.gather(*tasks)


def _of(seen: Counter[str], model: str) -> int:
    return sum(count for name, count in seen.items() if name.startswith(model + " "))


def _times(keys: Iterable[str], clients: int) -> list[str]:
    return [key for key in keys for _ in range(clients)]
