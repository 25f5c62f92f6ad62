"""A cluster for the commands, with one LLMDeployment and an operator that answers what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from typing import Any

from typer.testing import CliRunner, Result

from modelfleet.cli.main import app
from modelfleet.core.rollout.actions import ANNOTATION, Action, parse
from tests.unit.cli.statuses import HISTORY

Json = dict[str, Any]


class ScriptedCluster:
    """A cluster with one LLMDeployment, whose operator answers what the test says."""

    namespace = "team-a"

    def __init__(self, obj: Json, *, revisions: tuple[Json, ...] = HISTORY) -> None:
        self.obj, self.stored = obj, revisions
        self.answer: tuple[str, str] | None = ("Done", "at 50 % now")
        self.then: list[Json] = []
        self.written: list[str] = []
        self.opened: Json = {}

    async def read(self, name: str) -> Json:
        return deepcopy(self.obj)

    async def annotate(self, name: str, *, key: str, value: str) -> None:
        assert (name, key) == ("chat", ANNOTATION)
        self.written.append(value)
        self.obj["metadata"]["annotations"] = {key: value}

    async def revisions(self, name: str) -> list[Json]:
        return list(self.stored)

    async def follow(self, name: str) -> AsyncIterator[Json]:
        yield deepcopy(self.obj)
        for obj in self.then:
            yield obj
        if self.written and self.answer:
            result, message = self.answer
            said = {"id": self.asked.id, "result": result, "message": message}
            self.obj["status"].setdefault("rollout", {})["lastAction"] = said
            yield deepcopy(self.obj)
        await asyncio.Event().wait()

    @property
    def asked(self) -> Action:
        """The one action that was written."""
        (text,) = self.written
        read = parse(text)
        assert isinstance(read, Action)
        return read


Use = Callable[[ScriptedCluster], ScriptedCluster]


def call(*words: str) -> Result:
    return CliRunner().invoke(app, ["rollout", *words])
