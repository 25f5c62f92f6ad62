"""The command line parses words, hands over, and fails with a sentence."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from modelfleet.cli import cluster
from modelfleet.cli.main import app

runner = CliRunner()


def test_help_names_every_command():
    told = runner.invoke(app, ["--help"]).output
    assert all(command in told for command in ("operator", "explain", "rollout", "version"))


def test_version_is_the_packages():
    assert runner.invoke(app, ["version"]).output.startswith("modelfleet 0.")


def test_help_needs_neither_kopf_nor_a_cluster_nor_the_api():
    code = "import sys; import modelfleet.cli.main; print({'kopf', 'kubernetes', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_explain_passes_name_and_namespace_on(monkeypatch: pytest.MonkeyPatch):
    asked: dict[str, Any] = {}

    def read(**words: Any) -> dict[str, Any]:
        asked.update(words)
        return {"metadata": {"name": "chat", "namespace": "team-a"}}

    monkeypatch.setattr(cluster, "read", read)
    result = runner.invoke(app, ["explain", "chat", "-n", "team-a"])
    assert result.exit_code == 0
    assert asked == {"name": "chat", "namespace": "team-a", "context": None}
    assert "chat in team-a" in result.output


def test_explain_without_a_cluster_fails_with_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Any):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    result = runner.invoke(app, ["explain", "chat"])
    assert result.exit_code == 1
    assert "kubeconfig" in result.output
    assert "Traceback" not in result.output
