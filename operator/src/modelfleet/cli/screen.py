"""Writes to the person's terminal: in colour where there is one, and a rollout as one picture that lives.

Sits under the commands. It must not read the cluster or choose the words, and imports who does only to show them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

Json = Mapping[str, Any]

COLOURS = {
    r"\b(Pass|Done)\b": "green",
    r"\b(Fail|Refused|Aborting)\b": "red",
    r"\b(Inconclusive|NoData|Stale|Hold|Paused|held by \w+)\b": "yellow",
}


class Output(StrEnum):
    """How a rollout is written."""

    text = "text"
    json = "json"


class Screen:
    """Shows a rollout that goes on: on a terminal as one picture, elsewhere as a line per change."""

    def __init__(self, *, output: Output) -> None:
        self._output = output
        self._last = ""
        self._seen: Json | None = None
        self._console = Console(highlight=False)
        # The picture is drawn anew by itself, for it says how long ago things were.
        self._live = Live(get_renderable=self._picture, console=self._console, refresh_per_second=2)

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live:
            self._live.stop()

    def show(self, obj: Json) -> None:
        """Show the newest state."""
        self._seen = obj
        if self._is_live:
            return
        from modelfleet.cli.rollout_view import headline  # noqa: PLC0415 - see the module

        line = as_json(obj, indent=None) if self._output is Output.json else headline(obj)
        if line != self._last:
            self._last = line
            write(line)

    @property
    def _is_live(self) -> bool:
        return self._console.is_terminal and self._output is Output.text

    def _picture(self) -> Text:
        from modelfleet.cli.rollout_view import describe  # noqa: PLC0415 - see the module

        return _painted(describe(self._seen, now=datetime.now(UTC))) if self._seen else Text("")


def as_json(obj: Json, *, indent: int | None = 2) -> str:
    """Write what status says of rollout and revisions, as it is."""
    said = obj.get("status") or {}
    return json.dumps({part: said[part] for part in ("rollout", "revisions") if part in said}, indent=indent)


def write(text: str) -> None:
    """Print a text as it is, in colour on a terminal."""
    Console(highlight=False).print(_painted(text), soft_wrap=True)


def _painted(text: str) -> Text:
    painted = Text(text)
    for words, colour in COLOURS.items():
        painted.highlight_regex(words, colour)
    return painted
