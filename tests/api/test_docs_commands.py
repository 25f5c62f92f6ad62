"""Every kubectl command that a page shows is one of the real kubectl, with its options, about a kind that is served."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

import pytest

from e2e.cluster.build import tool
from tests.layout.commands import PAGE_IDS, PAGES, commands, options

ELSEWHERE = {"httproute", "gateways", "podmonitors"}
"""Kinds of other projects that the pages speak of."""
ABOUT_A_KIND = {"get", "describe", "delete", "scale", "annotate", "label", "patch", "wait", "explain"}
GROUPS = {("create",), ("create", "secret"), ("rollout",), ("config",), ("top",)}
"""Commands that are followed by another word of theirs."""
OPTION = re.compile(r"^ +(?:(-\w), )?(--[\w-]+)=(.*?):?$", re.MULTILINE)


@functools.cache
def known_options(verb: tuple[str, ...]) -> dict[str, bool]:
    """Each option of a command, and whether a value follows it; empty for a command that does not exist."""
    asked = [subprocess.run(
        [str(tool("kubectl")), *words], capture_output=True, text=True, check=False
    ) for words in ((*verb, "--help"), ("options",))]  # fmt: skip
    if asked[0].returncode:
        return {}
    found = {"-n": True, "--help": False}
    for short, long, default in OPTION.findall("".join(each.stdout for each in asked)):
        found |= dict.fromkeys({short, long} - {""}, default not in {"true", "false"})
    return found


def plain(words: list[str], *, takes_value: dict[str, bool]) -> list[str]:
    """The words that are neither an option nor its value."""
    found, skip = [], False
    for word in words:
        if not skip and not word.startswith("-"):
            found.append(word)
        skip = word.startswith("-") and "=" not in word and takes_value.get(word, False)
    return found


@pytest.fixture(scope="module")
def kinds(api_server) -> set[str]:
    """Every word that kubectl knows a kind by."""
    table = api_server.kubectl("api-resources", "--no-headers").splitlines()
    listed = [line.split() for line in table]
    short = {word for row in listed if len(row) == 5 for word in row[1].split(",")}
    return {"all"} | short | {name for row in listed for name in (row[0], row[-1].lower())}


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_every_kubectl_command_of_a_page_is_one(kinds: set[str], page: Path):
    for words in commands(page.read_text(), program="kubectl"):
        common = plain(words[1:], takes_value=known_options(()))
        if not common or common[0] == "modelfleet":
            continue
        verb = (common[0],)
        while verb in GROUPS:
            verb = tuple(common[: len(verb) + 1])
        known = known_options(verb)
        assert known, f"no such command: {' '.join(words)}"
        assert options(words) <= set(known), " ".join(words)
        rest = plain(words[1:], takes_value=known)[len(verb) :]
        if verb[0] in ABOUT_A_KIND and rest and "-f" not in words:
            about = set(re.split(r"[/.]", rest[0])[0].split(","))
            assert about <= kinds | ELSEWHERE, " ".join(words)
