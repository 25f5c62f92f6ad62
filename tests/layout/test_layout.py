"""The repository is laid out so that imports, reviews and strangers find their way."""

from __future__ import annotations

import operator
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON_LINES = 400
SKIPPED = {
    ".venv",
    ".git",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
    "build",
    "dist",
}
# Written in two parts so that this file does not hold what it forbids.
FORBIDDEN = [
    "/wo" + "rk/",
    "GOPRO" + "XY=http",
    "PIP_IN" + "DEX_URL=",
    "index-" + "url http",
    "index-" + "url=http",
    "127.0.0.1:3" + "128",
]


def files() -> list[Path]:
    """Files that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = (ROOT / name for name in listed.split("\0") if name)
    return [path for path in found if path.is_file() and not SKIPPED & set(path.relative_to(ROOT).parts)]


def test_the_operator_folder_does_not_shadow_the_standard_library():
    assert list((ROOT / "operator").glob("*.py")) == []
    stdlib = Path(sysconfig.get_path("stdlib"))
    assert Path(operator.__file__).is_relative_to(stdlib)


def test_python_files_stay_small():
    counted = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in files() if path.suffix == ".py"}
    assert {path: lines for path, lines in counted.items() if lines > PYTHON_LINES} == {}


@pytest.mark.parametrize("words", FORBIDDEN)
def test_nothing_names_a_place_that_others_do_not_have(words: str):
    found = [path for path in files() if words.encode() in path.read_bytes()]
    assert found == []


def test_no_lock_file_records_where_it_was_downloaded_from():
    locks = [path for path in files() if path.suffix == ".lock" or path.name.startswith("requirements")]
    assert [p for p in locks if re.search(r"https?://", p.read_text())] == []


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "Makefile"]
)
def test_a_stranger_finds(name: str):
    assert (ROOT / name).is_file()


def test_modules_say_where_they_sit():
    package = ROOT / "operator" / "src" / "modelfleet"
    without = [
        path for path in package.rglob("*.py") if path.read_text().strip() and not path.read_text().startswith('"""')
    ]
    assert without == []
