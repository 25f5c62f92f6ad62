"""The shell commands that the documentation shows, as words; whether they exist is for the tests beside it to say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "runtime-image").glob("*.md")])
PAGE_IDS = [str(page.relative_to(ROOT)) for page in PAGES]
END = "|;&()\n"
"""What ends a command, or begins one."""


def commands(text: str, *, program: str) -> Iterator[list[str]]:
    r"""Find every command of a program in a page, each from its name on.

    >>> page = "See `helm get notes`.\n\n    X=$(helm list -q)  # all\n    a | helm template . \\\n      --set 'b=c d'; e\n"
    >>> list(commands(page, program="helm"))
    [['helm', 'list', '-q'], ['helm', 'template', '.', '--set', 'b=c d'], ['helm', 'get', 'notes']]
    """
    for block in _code(text):
        for found in re.finditer(
            rf"(?:^|[|;&(]|(?<=[$] ))[ \t]*(?:\.venv/bin/)?(?={program}[ \t\n]|{program}$)", block, re.MULTILINE
        ):
            yield list(_words(block[found.end() :]))


def options(words: list[str]) -> set[str]:
    """The options among a command's words, without their values.

    >>> sorted(options(["kubectl", "get", "-n", "a", "--output=yaml"]))
    ['--output', '-n']
    """
    return {word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}


def _code(text: str) -> Iterator[str]:
    fences = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?:^ {4}.*\n)+", text, re.MULTILINE)
    for block in (*fences, *indented, *re.findall(r"`([^`\n]+)`", text)):
        yield re.sub(r"\s+# .*$", "", block.replace("\\\n", " "), flags=re.MULTILINE)


def _words(text: str) -> Iterator[str]:
    """Split as a shell does, up to where the command ends."""
    reader = shlex.shlex(text, posix=True, punctuation_chars=END)
    reader.whitespace, reader.whitespace_split, reader.commenters = " \t", True, ""
    for word in reader:
        if not set(word) - set(END):
            return
        yield word
