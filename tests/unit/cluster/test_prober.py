"""The blast radius: how the prober's clients count a stream, and which losses of a rollout are too late."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e import images
from e2e.prober import Blast, check

PROGRAM: Path = images.ROOT / "e2e" / "stream_client.py"
WORD = 'data: {"id": "1", "choices": [{"text": "w"}]}\n\n'
USAGE = 'data: {"id": "1", "usage": {"completion_tokens": %d}}\n\n'
DONE = "data: [DONE]\n\n"
ERROR = {"error": {"message": "busy", "type": "server_error"}}


class Broken(httpx.AsyncByteStream):
    """A body whose connection breaks after its first part."""

    async def __aiter__(self) -> Any:
        yield WORD.encode()
        raise httpx.ReadError("reset")


async def counted(answer: httpx.Response, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The last line of a client that has had this answer alone."""
    program = runpy.run_path(str(PROGRAM))
    program["stream"].__globals__["PAUSE_SECONDS"] = 0.0
    answer.headers[program["REVISION"]] = "new"
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer)) as client:
        await program["stream"](client, url="http://gateway", model="chat", tokens=2)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    begun = lines[-1]["newest"]["new"]["begun"]
    assert begun <= lines[0]["at"] <= lines[-1]["at"], "a stream is told of before it can end"
    return dict(lines[-1])


@pytest.mark.parametrize(
    ("answer", "ended", "marks"),
    [
        (httpx.Response(200, text=WORD + WORD + USAGE % 2 + DONE), "finished", {}),
        (httpx.Response(200, stream=Broken()), "cut", {}),
        (httpx.Response(200, text=WORD + USAGE % 0 + DONE), "cut", {"short": 1}),
        (httpx.Response(503, json=ERROR), "failed", {}),
        (httpx.Response(500, text="oops"), "failed", {"unshaped": 1}),
    ],
)
async def test_each_end_of_a_stream_is_told_apart(answer, ended, marks, capsys):
    told = await counted(answer, capsys)
    assert {kind: many for kind, many in told["revisions"]["new"].items() if many} == {ended: 1, **marks}
    newest = told["newest"]["new"]
    assert newest["lost"] == (0 if ended == "finished" else newest["begun"])


def blast(*, lost: float, **ends: int) -> Blast:
    """Stable lost nothing; the newest stream that the canary lost began at this moment."""
    return Blast(
        revisions={"old": {"finished": 9}, "new": {"finished": 3, **ends}},
        problems={},
        newest={"old": {"begun": 60.0, "lost": 0.0}, "new": {"begun": 45.0, "lost": lost}},
    )


def judged(found: Blast, **more: Any) -> None:
    check(found, revisions={"old", "new"}, spared={"old"}, until={"new": 40.0}, **more)


def test_a_canary_may_lose_what_was_routed_to_it_before_it_had_no_weight():
    judged(blast(lost=40.0, cut=2, failed=1))
    judged(blast(lost=0.0))


def test_a_stream_that_began_later_must_not_be_lost():
    with pytest.raises(AssertionError, match=r"lost on new: began 0\.001 s after"):
        judged(blast(lost=40.001, cut=1))


def test_a_cut_stream_has_no_done_unless_its_engine_is_the_fault():
    with pytest.raises(AssertionError, match="1 cut"):
        judged(blast(lost=30.0, cut=1, short=1))
    judged(blast(lost=30.0, cut=1, short=1), short=True)


def test_stable_loses_nothing_whatever_the_moment():
    found = Blast(revisions={"old": {"failed": 1}, "new": {}}, problems={})
    with pytest.raises(AssertionError, match="1 failed"):
        judged(found)
