"""The gateway's reader of JSON against Python's: the same bodies are objects, and they name the same model."""

import asyncio
import json
import random
from typing import Any

import pytest

from tests.gateway.engines import Engine, serving
from tests.gateway.gateway import Gateway, revision, served

GOOD = (
    '{"model": "chat"}',
    ' {"messages": [{"role": "user", "content": "say \\"model\\": \\"x\\""}], "model"\n:\t"chat" , "n": 1}\r\n',
    '{"model": "x", "model": "chat"}',
    '{"mo\\u0064el": "\\u0063hat"}',
    '{"model": "chat", "metadata": {"model": "x", "a": [[], {}, [{"model": "y"}]]}}',
    '{"model": "chat", "n": [0, -0, 1.5, -1e9, 2E-3, 0.0, 10e+1], "a": [true, false, null], "": ""}',
    '{"model": "chat", "prompt": "\\\\", "b": "\\\\\\"", "c": "\\u00e9\\ud83d\\ude00 \\/ \\b\\f\\n\\r\\t é"}',
    '{"model": "chat", "deep": ' + "[" * 400 + "]" * 400 + "}",
    '{"model": "chat", "long": "' + '\\n\\"a' * 20_000 + '"}',
    '{"model": "chat", "ids": [' + ", ".join(map(str, range(20_000))) + "]}",
)
BAD = (
    "",
    " ",
    "null",
    '"model"',
    '[{"model": "chat"}]',
    '{"model": "chat"',
    '{"model": "chat"}}',
    '{"model": "chat"} {}',
    '{"model": "chat",}',
    '{,"model": "chat"}',
    '{"model" "chat"}',
    '{"model": "chat" "n": 1}',
    "{'model': 'chat'}",
    '{model: "chat"}',
    '{"model": "chat", "n": 01}',
    '{"model": "chat", "n": 1.}',
    '{"model": "chat", "n": .5}',
    '{"model": "chat", "n": +1}',
    '{"model": "chat", "n": NaN}',
    '{"model": "chat", "n": tru}',
    '{"model": "chat", "n": [1,]}',
    '{"model": "chat", "n": [1 2]}',
    '{"model": "chat", "n": [1}]',
    '{"model": "chat", "s": "\\x"}',
    '{"model": "chat", "s": "\\u12g4"}',
    '{"model": "chat", "s": "open}',
    '{"model": "chat", "s": "open\\"}',
    '{"model": "chat"} // no',
    "\ufeff" + '{"model": "chat"}',
    '{"model": "chat", "deep": ' + "[" * 100_000,
)
UNNAMED = ('{"a": "chat"}', '{"model": "chat", "model": 1}', '{"model": ["chat"]}', '{"model": ""}', '{"model": true}')
UNKNOWN = (
    '{"model": "Chat"}',
    '{"model": " chat"}',
    '{"model": "chat\\u0000"}',
    '{"model": "ch\\u00e4t"}',
    '{"model": "?"}',
)
LETTERS = '{}[]",:\\ \n0129.-+eEtruefalsnulmodch/ux'


def wanted(body: str) -> int:
    """What Python's reader says of it; control characters in strings are left to engines."""

    def none(_word: str) -> Any:
        raise ValueError

    try:
        found = json.loads(body, strict=False, parse_constant=none)
    except ValueError:
        return 400
    model = found.get("model") if isinstance(found, dict) else None
    if not isinstance(model, str) or not model:
        return 400
    return 200 if model == "chat" else 404


async def status(gate: Gateway, body: str) -> int:
    async with gate.ask(data=body.encode(), headers={"Content-Type": "application/json"}) as response:
        await response.read()
        return response.status


@pytest.mark.parametrize(("bodies", "code"), [(GOOD, 200), (BAD, 400), (UNNAMED, 400), (UNKNOWN, 404)])
async def test_bodies(gate: Gateway, bodies: tuple[str, ...], code: int):
    engine = Engine(name="a")
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        assert {body[:80]: await status(gate, body) for body in bodies} == {body[:80]: code for body in bodies}
        assert len(engine.requests) == (len(bodies) if code == 200 else 0), "what is refused reaches no engine"


def broken(body: str, chance: random.Random) -> str:
    """Change a body in one to three places."""
    text = list(body)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(text) + 1)
        match chance.randrange(4):
            case 0:
                text[at : at + chance.randint(1, 4)] = []
            case 1:
                text.insert(at, chance.choice(LETTERS))
            case 2:
                text[at : at + 1] = chance.choice(LETTERS)
            case _:
                start = chance.randrange(len(text) + 1)
                text[at:at] = text[start : start + 8]
    return "".join(text)


async def test_what_chance_makes_of_bodies_is_read_as_python_reads_it(gate: Gateway):
    chance = random.Random(4)  # noqa: S311 - no secret
    bodies = [broken(chance.choice((*GOOD[:7], *BAD[6:27], *UNNAMED)), chance) for _ in range(600)]
    assert {wanted(body) for body in bodies} == {200, 400, 404}, "all of it happens"
    engine = Engine(name="a")
    limit = asyncio.Semaphore(20)
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))

        async def judged(body: str) -> int:
            async with limit:
                found = await status(gate, body)
                return 200 if found == 500 else found  # a control character, which the engine does not take

        found = await asyncio.gather(*(judged(body) for body in bodies))
        differ = [(body, code, wanted(body)) for body, code in zip(bodies, found, strict=True) if code != wanted(body)]
        assert differ == []


async def test_an_alias_is_replaced_where_it_counts_and_nowhere_else(gate: Gateway):
    engine = Engine(name="a")
    sent = (
        '{"metadata": {"model": "team-a/chat"}, "user": "\\"model\\": \\"team-a/chat\\"", "model" :\n"team-a\\/chat"}'
    )
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        assert await status(gate, sent) == 200
        assert engine.requests[0][2] == {**json.loads(sent), "model": "chat"}
