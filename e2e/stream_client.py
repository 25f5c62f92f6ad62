"""Clients of one model, run in a pod: each has one streamed answer at a time, and how each stream ended is counted.

Behind the gateway also by the revision that answered, as its header says.

Runs alone (`python -c`): it has httpx and nothing of this repository. Prints the counts as JSON whenever they change.
With SIGTERM, or after its time, no new stream begins and those that have begun are read to their end.
It must not retry: a request that fails is counted, and its client pauses before the next.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter

import httpx

PAUSE_SECONDS = 0.5
"""After a failure, so that a missing replica gives tens of failures and not thousands."""
WAIT_SECONDS = 120.0
"""For a connection and for each next part: a busy machine is slow, but a lost answer never comes."""

REVISION = "x-modelfleet-revision"
KEY = os.environ.get("OPENAI_API_KEY", "")
HEADERS = {"Authorization": f"Bearer {KEY}"} if KEY else {}

BEGUN = time.monotonic()
"""Moments are told in seconds since then: one clock for all streams, which no other clock is compared with."""

counts: Counter[str] = Counter(open=0, finished=0, cut=0, failed=0)
"""open: streams that gave a token and go on; finished: whole, with [DONE]; cut: begun, not whole; failed: no token."""
problems: Counter[str] = Counter()
revisions: dict[str, Counter[str]] = {}
"""How the streams ended, by revision; without one where nobody said which it was.

unshaped: failed with something else than an OpenAI error, or than a reset once the head of a good answer had come: no
error can follow that; strayed: tokens of more than one answer; short: cut, though it said [DONE].
"""
newest: dict[str, dict[str, float]] = {}
"""When the newest stream began that has ended, and the newest that failed or was cut, by revision."""


async def stream(client: httpx.AsyncClient, *, url: str, model: str, tokens: int) -> None:
    """Read one streamed answer, and count it: as open while it runs, then by how it ended."""
    body = {
        "model": model, "prompt": "Once upon a time", "max_tokens": tokens, "ignore_eos": True, "temperature": 0,
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    events: list[str] = []
    begun, reset, revision, status = False, False, "", 0
    at = moment()
    tell()  # what began is told before it can end: a line's `at` is never before the start of a stream
    try:
        async with client.stream("POST", f"{url}/v1/completions", json=body, headers=HEADERS) as answer:
            revision, status = answer.headers.get(REVISION, ""), answer.status_code
            if status != httpx.codes.OK:
                events.append((await answer.aread()).decode(errors="replace"))
            else:
                async for line in answer.aiter_lines():
                    if line.startswith("data: "):
                        events.append(line.removeprefix("data: "))
                        # An engine that is leaving answers 200 and then an event with an error.
                        if not begun and '"choices"' in events[-1]:
                            begun = True
                            tell(open=1)
    except httpx.HTTPError as error:
        problems[repr(error)] += 1
        reset = status == httpx.codes.OK
    finished = events[-1:] == ["[DONE]"] and given(events) == tokens
    if events and not finished:
        problems[f"HTTP {status}: ended after {len(events)} events with {events[-2:]}"[:400]] += 1
    ended = "finished" if finished else "cut" if begun else "failed"
    of = revisions.setdefault(revision, Counter())
    of[ended] += 1
    of["unshaped"] += ended == "failed" and not reset and not any(map(is_error, events))
    of["strayed"] += len(set(map(id_of, events)) - {None}) > 1
    of["short"] += ended == "cut" and events[-1:] == ["[DONE]"]
    last = newest.setdefault(revision, {"begun": 0.0, "lost": 0.0})
    for kind in ("begun",) if finished else ("begun", "lost"):
        last[kind] = max(last[kind], at)
    tell(**{"open": -int(begun), ended: 1})
    if not finished:
        await asyncio.sleep(PAUSE_SECONDS)


def moment() -> float:
    """Tell the time; a thousandth of a second is much less than an answer takes."""
    return round(time.monotonic() - BEGUN, 3)


def read(event: str) -> dict[str, object]:
    """Read an event, or an answer; empty for what is none."""
    try:
        found = json.loads(event)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def id_of(event: str) -> object:
    """Tell which answer an event belongs to."""
    return read(event).get("id")


def is_error(event: str) -> bool:
    """Whether it is an error as OpenAI's clients expect it."""
    error = read(event).get("error")
    return isinstance(error, dict) and bool(error.get("message"))


def given(events: list[str]) -> int:
    """Tokens of the whole answer, as the engine counted them in the event before [DONE]; 0 when it did not."""
    usage = json.loads(events[-2]).get("usage") if len(events) > 1 else None
    return int(usage["completion_tokens"]) if usage else 0


def tell(**change: int) -> None:
    """Change the counts and print them."""
    counts.update(change)
    told = {**counts, "problems": dict(problems.most_common(5)), "revisions": revisions, "newest": newest}
    told["at"] = moment()
    print(json.dumps(told), flush=True)


async def main(url: str, model: str, streams: int, seconds: float, tokens: int) -> None:
    """Run the clients until the time is over or SIGTERM comes."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    end = time.monotonic() + seconds

    # A connection for each stream: the Service may send it to another replica.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)

    async def one_after_another(client: httpx.AsyncClient) -> None:
        while not stop.is_set() and time.monotonic() < end:
            await stream(client, url=url, model=model, tokens=tokens)

    tell()
    async with httpx.AsyncClient(timeout=WAIT_SECONDS, trust_env=False, limits=limits) as client:
        await asyncio.gather(*(one_after_another(client) for _ in range(streams)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])))
