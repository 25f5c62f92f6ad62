"""When an image is built anew: when what goes in has changed, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e import images


@pytest.fixture
def recipe(tmp_path: Path) -> images.Recipe:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "_main.py").write_text("print(1)\n")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return images.Recipe(
        name="r/one:dev", context=str(tmp_path), dockerfile=str(tmp_path / "Dockerfile"), inputs=("src",)
    )


@pytest.mark.parametrize("folder", ["__pycache__", ".mypy_cache/3.11"])
def test_what_tools_leave_behind_changes_nothing(recipe, tmp_path, folder):
    before = images.content_key(recipe)
    left = tmp_path / "src" / folder
    left.mkdir(parents=True)
    (left / "cache.db").write_text("left behind")
    assert images.content_key(recipe) == before


@pytest.mark.parametrize("path", ["src/_main.py", "src/more.py", "Dockerfile"])
def test_an_input_that_changes_makes_another_image(recipe, tmp_path, path):
    before = images.content_key(recipe)
    (tmp_path / path).write_text("changed\n")
    assert images.content_key(recipe) != before
