"""The revisions that an LLMDeployment can go back to, and which of them a person means.

Sits in the CLI and is pure. It must not ask the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelfleet.cli.rollout_view import ago, columns, serving, taking_over
from modelfleet.core.observe import stored_revision

Json = Mapping[str, Any]


class NoSuchRevision(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """There is no such revision; the text lists those that there are."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One revision that is stored, and what runs of it."""

    number: int
    hash: str
    name: str
    created: str
    role: str
    ready: int
    replicas: int
    rendering_version: str


def kept(obj: Json, *, stored: Iterable[Json]) -> list[Kept]:
    """Join the ControllerRevisions of an LLMDeployment with what its status says, newest first."""
    known = {r.get("hash"): r for r in (obj.get("status") or {}).get("revisions") or ()}
    found = []
    for body in stored:
        if not any(owner["uid"] == obj["metadata"]["uid"] for owner in body["metadata"].get("ownerReferences") or ()):
            continue  # of an earlier object of this name
        one = stored_revision(body)
        runs = known.get(one.revision, {})
        found.append(
            Kept(
                number=one.number,
                hash=one.revision,
                name=one.name,
                created=body["metadata"].get("creationTimestamp") or "",
                role=runs.get("role", ""),
                ready=runs.get("ready", 0),
                replicas=runs.get("replicas", 0),
                rendering_version=one.rendering_version,
            )
        )
    return sorted(found, key=lambda one: (one.number, one.hash), reverse=True)


def before(obj: Json) -> str:
    """Name the revision that `undo` goes to: what served before the newest change; empty when that is not known.

    In the middle of a rollout this is the stable one, as with `kubectl rollout undo`.
    """
    status: Json = obj.get("status") or {}
    if taking_over(status) and serving(status):
        return serving(status)
    return str((status.get("rollout") or {}).get("previous") or "")


def choose(obj: Json, *, revisions: Sequence[Kept], to: str | None) -> Kept:
    """Find the revision that a person means: by hash, number or name; None is the one before.

    Raises:
        NoSuchRevision: It is not stored, or no earlier one is known.
    """
    wanted = before(obj) if to is None else to
    match = next((one for one in revisions if wanted in (one.hash, one.name)), None)
    match = match or next((one for one in revisions if wanted == str(one.number)), None)
    if match is not None:
        return match
    name = obj["metadata"]["name"]
    if to is None:
        gone = f"the revision before, {wanted}, is stored no more" if wanted else "no revision before this one is known"
        problem = f"Nothing to go back to: {gone}. Choose one with --to."
    else:
        problem = f"{name} has no revision {to}: give a number or a hash of these."
    stored = [(str(one.number), one.hash, one.role or "stored") for one in revisions]
    raise NoSuchRevision("\n".join((problem, *columns((("number", "revision", "role"), *stored)))))


def table(obj: Json, *, revisions: Sequence[Kept], now: datetime) -> str:
    """Write the history."""
    if not revisions:
        return "No revision is stored yet: the operator makes the first when it sees the LLMDeployment."
    head = ("number", "revision", "age", "role", "ready", "rendering", "")
    return "\n".join(columns((head, *_rows(obj, revisions=revisions, now=now))))


def _rows(obj: Json, *, revisions: Sequence[Kept], now: datetime) -> Iterator[tuple[str, ...]]:
    target = before(obj)
    for one in revisions:
        runs = f"{one.ready} of {one.replicas}" if one.role else "-"
        age = ago(one.created, now=now) if one.created else "-"
        mark = "<- undo goes here" if one.hash == target else ""
        yield (str(one.number), one.hash, age, one.role or "stored", runs, one.rendering_version or "-", mark)
