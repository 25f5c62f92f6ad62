"""The cluster's commands; what they print is for people, and everything they do is done elsewhere."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from enum import StrEnum
from types import ModuleType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from e2e.cluster import build, host, served
from e2e.cluster.certs import CertificateError
from e2e.cluster.process import ProcessError

app = typer.Typer(help="The embedded Kubernetes cluster of the demo and the tests.", no_args_is_help=True)
_say = Console()


class Level(StrEnum):
    """How much of a cluster."""

    API = "api"
    CONTROL = "control"
    WHOLE = "whole"


LevelOption = Annotated[
    Level, typer.Option("--level", help="api: API server; control: + faked nodes; whole: real pods")
]
PurgeOption = Annotated[bool, typer.Option("--purge", help="of whole: remove its node's images and its logs too")]


@app.command()
def up(level: LevelOption = Level.WHOLE) -> None:
    """Bring the cluster up, building what is missing; returns at once when it is up."""
    begin = time.monotonic()
    kubeconfig = _whole().up() if level is Level.WHOLE else served.up(level)
    _say.print(f"[green]✓[/green] {level} is up after {served.elapsed(begin)}. Look around with:")
    _say.print(f"  export KUBECONFIG={kubeconfig} PATH={build.tool('kubectl').parent}:$PATH", soft_wrap=True)


@app.command()
def down(level: LevelOption = Level.WHOLE, *, purge: PurgeOption = False) -> None:
    """End exactly what `up` started, and remove its state; what is costly to make stays for the next one."""
    begin = time.monotonic()
    if level is Level.WHOLE:
        _whole().down(purge=purge)
        _say.print(f"[green]✓[/green] whole is down after {served.elapsed(begin)}")
    else:
        said = f"is down after {served.elapsed(begin)}" if served.down(level) else "was not up"
        _say.print(f"[green]✓[/green] {level} {said}")


@app.command()
def status() -> None:
    """Say which levels are up."""
    for level in Level:
        said = _whole_status() if level is Level.WHOLE else served.status(level) or "down"
        _say.print(f"{level:8} {said}", soft_wrap=True)


@app.command("build")
def build_tools(
    names: Annotated[list[str] | None, typer.Argument(help="Tools; all when none is named")] = None,
) -> None:
    """Build the cluster's programs, and print where each lies."""
    for name, path in build.ensure(names or build.TOOLS).items():
        _say.print(f"{name:24} {path}", soft_wrap=True)


@app.command(hidden=True)
def serve(level: Level) -> None:
    """Hold a level in this process until SIGTERM."""
    served.serve(level)


def main() -> None:
    """Runs a command; what the user can act on is one message, not a stack trace."""
    try:
        app()
    except (
        host.HostError,
        build.BuildError,
        CertificateError,
        ProcessError,
        TimeoutError,
        RuntimeError,
        subprocess.SubprocessError,
    ) as error:
        Console(stderr=True).print(f"[red]✗[/red] {escape(str(error))}", soft_wrap=True, highlight=False)
        sys.exit(1)


def _whole_status() -> str:
    return ", ".join(f"{key} {value}" for key, value in _whole().status().items())


def _whole() -> ModuleType:
    return importlib.import_module("e2e.cluster.whole")  # only that level needs what it imports
