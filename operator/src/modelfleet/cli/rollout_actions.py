"""Asks the operator for something and waits for its answer, and follows a rollout to its end.

Sits in the CLI between the words and the cluster. It must not decide whether an action may be done: it refuses only what
it can word better than the operator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from modelfleet.cli.cluster import CannotRead, Cluster
from modelfleet.cli.rollout_outcome import Outcome, outcome
from modelfleet.cli.rollout_view import behind, headline, instead, position, rollout_of, taking_over
from modelfleet.core.rollout.actions import ANNOTATION, Action, Verb, text

Json = Mapping[str, Any]

DONE, REFUSED, NO_ANSWER = 0, 1, 3
NEEDS_A_ROLLOUT: Final = ("promote", "promote-full", "pause", "resume", "abort")
NAMES_THE_ROLLOUT: Final = ("promote", "promote-full", "pause", "resume")
"""Meant for the rollout that the person saw, and for no later one."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of an action: the exit status and the words for it."""

    code: int
    words: str


def action(obj: Json, *, verb: Verb, revision: str | None = None, now: datetime) -> Action:
    """Make an action for a rollout as a person sees it."""
    about = taking_over(obj.get("status") or {}) if verb in NAMES_THE_ROLLOUT else None
    return Action(verb=verb, revision=revision or about or None, id=now.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ"))


def pointless(obj: Json, *, verb: Verb) -> str:
    """Say why an action could not do anything; empty when it might, which the operator knows."""
    status = obj.get("status") or {}
    if verb not in NEEDS_A_ROLLOUT or position(status) or behind(obj) or not status:
        return ""
    override = rollout_of(obj).get("override")
    more = instead(override) if override else f"`rollout history {obj['metadata']['name']}` lists the revisions."
    return f"{headline(obj)}, so there is nothing to {verb}. {more}"


async def ask(cluster: Cluster, *, name: str, wish: Action, seconds: float) -> Answer:
    """Write an action and wait until the operator has answered it."""
    await cluster.annotate(name, key=ANNOTATION, value=text(wish))
    try:
        async with asyncio.timeout(seconds), aclosing(cluster.follow(name)) as changes:
            async for obj in changes:
                if answer := _answer(obj, wish=wish):
                    return answer
    except TimeoutError:
        pass
    except CannotRead as error:
        return Answer(code=NO_ANSWER, words=f"{wish.verb} is asked for, but the answer cannot be read. {error}")
    return Answer(
        code=NO_ANSWER,
        words=f"The operator has not answered within {seconds:g} s. {wish.verb} stays asked for, and is done when it runs"
        " again. Does one of its pods run and lead? `kubectl get pods,leases -n modelfleet-system`",
    )


def _answer(obj: Json, *, wish: Action) -> Answer | None:
    last: Json = rollout_of(obj).get("lastAction") or {}
    if last.get("id") == wish.id:
        message = f": {last['message']}" if last.get("message") else ""
        code = DONE if last.get("result") == "Done" else REFUSED
        return Answer(code=code, words=f"{wish.verb} {obj['metadata']['name']}: {last.get('result')}{message}")
    written = (obj["metadata"].get("annotations") or {}).get(ANNOTATION)
    if written == text(wish):
        return None
    return Answer(
        code=NO_ANSWER,
        words=f"Someone else asked for something before {wish.verb} was answered: `{written}`. Look at `rollout status`.",
    )


async def follow(cluster: Cluster, *, name: str, show: Callable[[Json], None]) -> Outcome:
    """Show an LLMDeployment at every change until its rollout has ended."""
    async with aclosing(cluster.follow(name)) as changes:
        async for obj in changes:
            show(obj)
            if end := outcome(obj):
                return end
    raise AssertionError("following ends by an error only")
