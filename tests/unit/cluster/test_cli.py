"""What the words of `python -m e2e.cluster` lead to."""

from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from e2e.cluster import cli


@pytest.mark.parametrize(("words", "purge"), [(["down"], False), (["down", "--purge"], True)])
def test_images_and_logs_go_only_when_it_is_asked(words, purge, monkeypatch):
    ended = []
    monkeypatch.setattr(cli, "_whole", lambda: SimpleNamespace(down=lambda **given: ended.append(given)))
    assert CliRunner().invoke(cli.app, words).exit_code == 0
    assert ended == [{"purge": purge}]
