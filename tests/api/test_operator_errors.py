"""What the tests of this folder have in common: an operator that logged an error fails whoever ran it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.api.fleet import Operator


def ended(folder: Path, *logged: tuple[str, str], **more: Any) -> Operator:
    """An operator that was never started, and has logged (level, event) all the same."""
    plane: Any = SimpleNamespace(audit_log=folder)
    operator = Operator(plane=plane, folder=folder, user="nobody", kubeconfig=folder, **more)
    operator.log.write_text("".join(json.dumps({"level": level, "event": event}) + "\n" for level, event in logged))
    return operator


@pytest.mark.parametrize("level", ["error", "critical"])
def test_a_pass_that_failed_and_was_tried_again_is_seen(tmp_path: Path, level: str) -> None:
    operator = ended(tmp_path, ("info", "leading"), (level, "pass.unexpected"))
    with pytest.raises(AssertionError, match=r"pass\.unexpected"):
        operator.__exit__(None, None, None)


def test_what_a_test_expects_and_names_is_none(tmp_path: Path) -> None:
    ended(tmp_path, ("warning", "not.ready"), ("error", "leadership.lost"), errors=["leadership.lost"]).__exit__(
        None, None, None
    )


def test_a_test_that_failed_by_itself_shows_its_own_cause(tmp_path: Path) -> None:
    cause = ValueError("what the test saw")
    ended(tmp_path, ("error", "pass.unexpected")).__exit__(ValueError, cause, None)
