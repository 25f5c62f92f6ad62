"""Clients that ask one model all the time while a test changes what is behind it, and tell of every answer that is not whole.

Used by the scenarios. It must not decide whether what the clients saw is right.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp


@dataclass(kw_only=True)
class Seen:
    """What the clients got so far."""

    whole: Counter[str] = field(default_factory=Counter)
    """Whole answers: `streams`, `answers`, and `lists` of models."""
    problems: list[str] = field(default_factory=list)


@asynccontextmanager
async def asking(url: str, *, model: str, headers: Mapping[str, str]) -> AsyncIterator[Seen]:
    """Let two clients stream, one wait for whole answers, and one read the list of models, until the block ends."""
    seen, done = Seen(), asyncio.Event()
    question = {"model": model, "messages": [{"role": "user", "content": "Count."}], "max_tokens": 16}

    async def ask(session: aiohttp.ClientSession, kind: str) -> None:
        while not done.is_set():
            try:
                if kind == "lists":
                    asked = session.get(f"{url}/v1/models")
                else:
                    asked = session.post(f"{url}/v1/chat/completions", json=question | {"stream": kind == "streams"})
                async with asked as response:
                    text = await response.text()
            except aiohttp.ClientError as error:
                seen.problems.append(repr(error))
                continue
            if response.status == 200 and (kind != "streams" or text.rstrip().endswith("[DONE]")):
                seen.whole[kind] += 1
            else:
                seen.problems.append(f"{response.status}: {text[-200:]}")

    async with aiohttp.ClientSession(headers=headers) as session:
        # Lists come quickly, one after the other: they find a gap that is shorter than an answer of the model.
        clients = [asyncio.create_task(ask(session, kind)) for kind in ("streams", "streams", "answers", "lists")]
        try:
            yield seen
        finally:
            done.set()
            await asyncio.gather(*clients)
