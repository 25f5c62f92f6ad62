"""What a person asks of a rollout: the text of the annotation `modelfleet.dev/action`, written by the CLI and read here.

Both sides use this one grammar: `<verb>[ <revision>] <id>`. The id is any new word; an id that was answered is not looked
at again. Must not decide whether an action may be done: the state machine does.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

from modelfleet.core import names

ANNOTATION: Final = f"{names.GROUP}/action"

Verb = Literal["promote", "promote-full", "pause", "resume", "abort", "rollback-to"]

FORM: Final = "write <verb>[ <revision>] <id>, the id being any new word"
ID_LIMIT: Final = 128
_REVISION = re.compile(rf"[0-9a-f]{{{names.HASH_LENGTH}}}")
_VERBS: dict[str, Verb] = {verb: verb for verb in get_args(Verb)}


@dataclass(frozen=True, kw_only=True)
class Action:
    """One wish of a person.

    Attributes:
        verb: what is asked for.
        revision: hash of the revision that it is about; None is whichever rolls out now.
        id: tells this action from every other one.
    """

    verb: Verb
    revision: str | None = None
    id: str


@dataclass(frozen=True, kw_only=True)
class BadAction:
    """A text that asks for nothing that could be done; it is answered as any other, under its id."""

    id: str
    message: str


def text(action: Action) -> str:
    """Write an action.

    >>> text(Action(verb="rollback-to", revision="0123456789", id="20260101T120000.000000Z"))
    'rollback-to 0123456789 20260101T120000.000000Z'
    >>> text(Action(verb="abort", id="1"))
    'abort 1'
    """
    return " ".join(word for word in (action.verb, action.revision, action.id) if word)


def parse(written: str | None) -> Action | BadAction | None:
    """Read an action; None when none is written.

    >>> parse("promote-full 0123456789 7")
    Action(verb='promote-full', revision='0123456789', id='7')
    >>> parse("pause 7")
    Action(verb='pause', revision=None, id='7')
    >>> parse("  ")
    >>> parse("publish 7").message
    'publish is no action; choose promote, promote-full, pause, resume, abort or rollback-to'
    >>> parse("rollback-to 0123456789").message
    'rollback-to needs a revision and an id: write rollback-to <revision> <id>'
    >>> parse("promote")
    BadAction(id='promote', message='this is no action: write <verb>[ <revision>] <id>, the id being any new word')
    """
    words = (written or "").split()
    if not words:
        return None
    verb, revision, id_ = _VERBS.get(words[0]), words[1] if words[2:] else None, words[-1]
    if problem := _problem(words=words, verb=verb, revision=revision):
        return BadAction(id=id_[:ID_LIMIT], message=problem)
    assert verb is not None  # noqa: S101 - an unknown verb is a problem
    return Action(verb=verb, revision=revision, id=id_)


def _problem(*, words: list[str], verb: Verb | None, revision: str | None) -> str:
    if len(words) not in (2, 3):
        return f"this is no action: {FORM}"
    if len(words[-1]) > ID_LIMIT:
        return f"the id is longer than {ID_LIMIT} characters: {FORM}"
    if verb is None:
        *others, last = _VERBS
        return f"{words[0][:ID_LIMIT]} is no action; choose {', '.join(others)} or {last}"
    if revision is not None and not _REVISION.fullmatch(revision):
        return f"{revision[:ID_LIMIT]} is no revision: give its hash of {names.HASH_LENGTH} hexadecimal digits"
    if verb == "rollback-to" and revision is None:
        return "rollback-to needs a revision and an id: write rollback-to <revision> <id>"
    return ""
