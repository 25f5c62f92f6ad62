"""What a person sees when the demo ends early: what happened and the way on, and no stack trace."""

from __future__ import annotations

import subprocess

import pytest
from rich.console import Console

from e2e import demo
from e2e.cluster.process import ProcessError
from e2e.image_delivery import DeliveryError


@pytest.mark.parametrize(
    ("happens", "status", "said"),
    [
        (None, 0, ""),
        (demo.DemoError("a scale-out did not happen"), 1, "a scale-out did not happen"),
        (RuntimeError("kubectl get: [/unknown] is no path"), 1, "[/unknown] is no path"),
        (TimeoutError("the node"), 1, "the node"),
        (ProcessError("the port-forward ended"), 1, "the port-forward ended"),
        (ValueError("no JSON in the load's log"), 1, "no JSON in the load's log"),
        (DeliveryError("no way for images"), 1, "no way for images"),
        (subprocess.CalledProcessError(2, ["helm", "upgrade"]), 1, "helm ended with 2"),
        (subprocess.TimeoutExpired(["kubectl", "wait"], 120.0), 1, "kubectl did not end within 120 s"),
        (KeyboardInterrupt(), 130, "make cluster-down"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_the_demo_says_what_ended_it(monkeypatch, happens, status, said):
    def walk():
        if happens is not None:
            raise happens

    console = Console(width=200, record=True, quiet=False)
    monkeypatch.setattr(demo, "walk", walk)
    monkeypatch.setattr(demo, "console", console)
    assert demo.main() == status
    text = console.export_text()
    assert said in text
    assert "Traceback" not in text
