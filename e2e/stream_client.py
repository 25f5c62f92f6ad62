"""Clients of one model, run in a pod: each has one streamed answer at a time, and how each stream ended is counted.

Runs alone (`python -c`): it has httpx and nothing of this repository. Prints the counts as JSON whenever they change.
With SIGTERM, or after its time, no new stream begins and those that have begun are read to their end.
It must not retry: a request that fails is counted, and its client pauses before the next.
"""

import asyncio
import json
import signal
import sys
import time
from collections import Counter

import httpx

PAUSE_SECONDS = 0.5
"""After a failure, so that a missing replica gives tens of failures and not thousands."""
WAIT_SECONDS = 120.0
"""For a connection and for each next part: a busy machine is slow, but a lost answer never comes."""

counts: Counter[str] = Counter(open=0, finished=0, cut=0, failed=0)
"""open: streams that gave a token and go on; finished: whole, with [DONE]; cut: begun, not whole; failed: no token."""
problems: Counter[str] = Counter()


async def stream(*, url: str, model: str, tokens: int) -> str:
    """Read one streamed answer; returns how it ended, and counts it as open while it runs."""
    body = {
        "model": model, "prompt": "Once upon a time", "max_tokens": tokens, "ignore_eos": True, "temperature": 0,
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    events: list[str] = []
    begun = False
    try:
        async with (
            # A connection of its own: the Service may send it to another replica.
            httpx.AsyncClient(timeout=WAIT_SECONDS, trust_env=False) as client,
            client.stream("POST", f"{url}/v1/completions", json=body) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                problems[f"HTTP {answer.status_code} {(await answer.aread())[:200]!r}"] += 1
                return "failed"
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    events.append(line.removeprefix("data: "))
                    # An engine that is leaving answers 200 and then an event with an error.
                    if not begun and '"choices"' in events[-1]:
                        begun = True
                        tell(open=1)
    except httpx.HTTPError as error:
        problems[repr(error)] += 1
    finally:
        if begun:
            tell(open=-1)
    if events[-1:] == ["[DONE]"] and given(events) == tokens:
        return "finished"
    if events:
        problems[f"ended after {len(events)} events with {events[-2:]}"[:400]] += 1
    return "cut" if begun else "failed"


def given(events: list[str]) -> int:
    """Tokens of the whole answer, as the engine counted them in the event before [DONE]; 0 when it did not."""
    usage = json.loads(events[-2]).get("usage") if len(events) > 1 else None
    return int(usage["completion_tokens"]) if usage else 0


def tell(**change: int) -> None:
    """Change the counts and print them."""
    counts.update(change)
    print(json.dumps({**counts, "problems": dict(problems.most_common(5))}), flush=True)


async def main(url: str, model: str, streams: int, seconds: float, tokens: int) -> None:
    """Run the clients until the time is over or SIGTERM comes."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    end = time.monotonic() + seconds

    async def client() -> None:
        while not stop.is_set() and time.monotonic() < end:
            ended = await stream(url=url, model=model, tokens=tokens)
            tell(**{ended: 1})
            if ended != "finished":
                await asyncio.sleep(PAUSE_SECONDS)

    tell()
    await asyncio.gather(*(client() for _ in range(streams)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])))
