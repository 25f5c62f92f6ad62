"""The nightly run looks at more, and at others: no property of this folder says otherwise for itself."""

import ast
from pathlib import Path

import pytest
from hypothesis import settings

from tests.property.effort import portion

HERE = Path(__file__).parent


def pinned(source: str) -> list[str]:
    """Settings that would hold in every profile: a number of examples, or that they are always the same."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    given = [word for call in calls if ast.unparse(call.func) == "settings" for word in call.keywords]
    fixed = [word for word in given if isinstance(word.value, ast.Constant)]
    return [ast.unparse(word) for word in fixed if word.arg in {"max_examples", "derandomize"}]


def test_what_is_pinned_is_seen() -> None:
    found = pinned("@settings(max_examples=30, deadline=None, derandomize=True)\ndef test(): ...")
    assert found == ["max_examples=30", "derandomize=True"]


@pytest.mark.parametrize("path", sorted(HERE.glob("test_*.py")), ids=lambda path: path.stem)
def test_no_property_pins_what_the_profile_says(path: Path) -> None:
    assert pinned(path.read_text()) == []


def test_a_portion_grows_with_the_profile() -> None:
    in_force = settings().max_examples
    assert portion(30) * 10 == in_force * 3
    nightly = settings.get_profile("nightly")
    assert (nightly.max_examples, nightly.derandomize) == (1000, False)
