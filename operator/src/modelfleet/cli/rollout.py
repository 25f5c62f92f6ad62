"""The commands `modelfleet rollout …`.

Sits at the very top, beside `main`: it parses words and hands over. It must not decide anything, and imports the
Kubernetes client and the words for a status only when a command runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from modelfleet.cli.options import Context, Name, Namespace
from modelfleet.cli.screen import Output, Screen, as_json, write

if TYPE_CHECKING:
    from modelfleet.cli.cluster import Cluster
    from modelfleet.core.rollout.actions import Verb

app = typer.Typer(
    name="rollout",
    help="Look at a rollout and take it further, back, or hold it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Timeout = Annotated[
    float, typer.Option(min=1, help="Seconds to wait for the operator's answer; without one the exit status is 3.")
]
WAIT_SECONDS = 30.0


@app.command()
def status(
    name: Name,
    *,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", "-w", help="Show every change until it has ended. Exit status 0: taken over. 1: it has not."
        ),
    ] = False,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="json: the parts rollout and revisions of status, as they are.")
    ] = Output.text,
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """Tell where a rollout stands: steps, weights, replicas, judgement, what holds it and what comes next."""

    async def run(cluster: Cluster) -> None:
        if not watch:
            from modelfleet.cli.rollout_view import describe  # noqa: PLC0415 - see the module

            obj = await cluster.read(name)
            write(as_json(obj) if output is Output.json else describe(obj, now=_now()))
            return
        from modelfleet.cli.rollout_actions import follow  # noqa: PLC0415 - see the module

        with Screen(output=output) as screen:
            end = await follow(cluster, name=name, show=screen.show)
        if output is Output.text:
            write(f"{name}: {end.message}")
        raise typer.Exit(0 if end.good else 1)

    _with_cluster(run, namespace=namespace, context=context)


@app.command()
def promote(
    name: Name,
    *,
    full: Annotated[bool, typer.Option("--full", help="Go to 100 % now, without further steps and verdicts.")] = False,
    timeout: Timeout = WAIT_SECONDS,
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """End the present pause or hold and go to the next step."""
    verb: Verb = "promote-full" if full else "promote"
    _ask(verb, name=name, timeout=timeout, namespace=namespace, context=context)


@app.command()
def abort(name: Name, *, timeout: Timeout = WAIT_SECONDS, namespace: Namespace = None, context: Context = None) -> None:
    """Take the new revision out of the traffic at once; the stable one serves until the spec changes."""
    _ask("abort", name=name, timeout=timeout, namespace=namespace, context=context)


@app.command()
def undo(
    name: Name,
    *,
    to: Annotated[
        str | None, typer.Option(help="Number or hash from `history`. Default: what served before the newest change.")
    ] = None,
    timeout: Timeout = WAIT_SECONDS,
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """Go back to an earlier revision and stay there until the spec changes."""
    _ask("rollback-to", name=name, to=to, timeout=timeout, namespace=namespace, context=context)


@app.command()
def pause(name: Name, *, timeout: Timeout = WAIT_SECONDS, namespace: Namespace = None, context: Context = None) -> None:
    """Hold a rollout where it is: weights and replicas stay."""
    _ask("pause", name=name, timeout=timeout, namespace=namespace, context=context)


@app.command()
def resume(
    name: Name, *, timeout: Timeout = WAIT_SECONDS, namespace: Namespace = None, context: Context = None
) -> None:
    """Go on after a pause, at the same step."""
    _ask("resume", name=name, timeout=timeout, namespace=namespace, context=context)


@app.command()
def history(name: Name, *, namespace: Namespace = None, context: Context = None) -> None:
    """List the revisions that are stored, and which of them `undo` goes to."""

    async def run(cluster: Cluster) -> None:
        from modelfleet.cli import rollout_history  # noqa: PLC0415 - see the module

        obj = await cluster.read(name)
        revisions = rollout_history.kept(obj, stored=await cluster.revisions(name))
        write(rollout_history.table(obj, revisions=revisions, now=_now()))

    _with_cluster(run, namespace=namespace, context=context)


def _ask(
    verb: Verb, *, name: str, timeout: float, namespace: str | None, context: str | None, to: str | None = None
) -> None:
    async def run(cluster: Cluster) -> None:
        from modelfleet.cli import rollout_actions, rollout_history  # noqa: PLC0415 - see the module

        obj = await cluster.read(name)
        revision = None
        if problem := rollout_actions.pointless(obj, verb=verb):
            _fail(problem)
        if verb == "rollback-to":
            try:
                stored = rollout_history.kept(obj, stored=await cluster.revisions(name))
                revision = rollout_history.choose(obj, revisions=stored, to=to).hash
            except rollout_history.NoSuchRevision as error:
                _fail(str(error))
        wish = rollout_actions.action(obj, verb=verb, revision=revision, now=_now())
        answer = await rollout_actions.ask(cluster, name=name, wish=wish, seconds=timeout)
        if answer.code == rollout_actions.DONE:
            write(answer.words)
        else:
            _fail(answer.words, code=answer.code)

    _with_cluster(run, namespace=namespace, context=context)


def _with_cluster(
    run: Callable[[Cluster], Coroutine[Any, Any, None]], *, namespace: str | None, context: str | None
) -> None:
    from modelfleet.cli import cluster as clusters  # noqa: PLC0415 - the Kubernetes client is heavy

    async def connected() -> None:
        async with clusters.connect(namespace=namespace, context=context) as cluster:
            await run(cluster)

    try:
        asyncio.run(connected())
    except clusters.CannotRead as error:
        _fail(str(error))


def _fail(text: str, *, code: int = 1) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(code)


def _now() -> datetime:
    return datetime.now(UTC)
