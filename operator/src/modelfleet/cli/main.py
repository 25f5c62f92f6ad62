"""The `modelfleet` command, also reachable as `kubectl modelfleet`.

Sits at the very top: it parses words and hands over. It must not decide anything, and it imports the
operator only when asked to run it, so that `explain` starts quickly.
"""

from __future__ import annotations

import importlib.metadata

import typer

from modelfleet.cli import rollout
from modelfleet.cli.options import Context, Name, Namespace
from modelfleet.cli.screen import write

app = typer.Typer(
    name="modelfleet",
    help="Deploy, update and scale self-hosted LLMs on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(rollout.app)


@app.command()
def operator() -> None:
    """Run the operator in the foreground. Settings come from MODELFLEET_* in the environment."""
    from modelfleet.shell.main import run  # noqa: PLC0415 - kopf and the client are heavy; explain does without

    run()


@app.command()
def gateway() -> None:
    """Run the gateway's control process in the foreground. Settings come from MODELFLEET_* in the environment."""
    from modelfleet.gateway.main import run  # noqa: PLC0415 - Envoy's messages are heavy; explain does without

    run()


@app.command()
def explain(name: Name, namespace: Namespace = None, context: Context = None) -> None:
    """Tell from status why an LLMDeployment is as it is, and what to do about it."""
    from modelfleet.cli import cluster  # noqa: PLC0415 - the Kubernetes client is heavy; --help does without
    from modelfleet.cli.explain import explain as explained  # noqa: PLC0415

    try:
        text = explained(cluster.read(name=name, namespace=namespace, context=context))
    except cluster.CannotRead as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    write(text)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"modelfleet {importlib.metadata.version('modelfleet')}")


def main() -> None:
    """Entry point of the console scripts."""
    app()
