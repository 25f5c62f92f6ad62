"""What a clone installs is pinned: every package that pyproject.toml asks for, by version and hash, from nowhere special."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PINNED = (ROOT / "requirements-dev.txt").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WANTED = [Requirement(word) for word in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])]
PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+)( ; .+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


def test_it_holds_names_versions_and_hashes_and_nothing_else():
    odd = [line for line in PINNED.splitlines() if not PIN.match(line) and not HASH.match(line)]
    assert odd == []


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_it_pins_what_the_project_asks_for(wanted):
    found = [match.groupdict() for line in PINNED.splitlines() if (match := PIN.match(line))]
    versions = [pin["version"] for pin in found if canonicalize_name(pin["name"]) == canonicalize_name(wanted.name)]
    assert versions, "run: make requirements"
    assert all(wanted.specifier.contains(version) for version in versions), f"{versions}; run: make requirements"
