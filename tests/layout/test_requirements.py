"""What a clone installs is pinned: every package that pyproject.toml asks for, by version and hash, from nowhere special."""

import ast
import importlib.metadata
import re
import sys
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


def test_the_operator_imports_nothing_that_its_image_does_not_install():
    """The tests' environment has more: what only it has breaks nothing but the image."""
    installed = with_theirs(PROJECT["dependencies"])
    providers = importlib.metadata.packages_distributions()
    missing = {}
    for path in (ROOT / "operator" / "src").rglob("*.py"):
        for name in imported(ast.parse(path.read_text())) - {"modelfleet"} - sys.stdlib_module_names:
            if not installed & {canonicalize_name(each) for each in providers.get(name, ())}:
                missing[name] = path.name
    assert missing == {}, "add the package to the dependencies in pyproject.toml"


def with_theirs(words):
    """Names of the packages that are asked for, and of all that these ask for in turn."""
    found, todo = set(), list(words)
    while todo:
        one = Requirement(todo.pop())
        name = canonicalize_name(one.name)
        if name not in found and (one.marker is None or one.marker.evaluate({"extra": ""})):
            found.add(name)
            todo += importlib.metadata.requires(name) or ()
    return found


def imported(tree):
    """Top-level names of the packages that a module imports."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names}
