"""Whatever is written into the action annotation is read as an action, or answered with what to write instead."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.core.rollout.actions import ID_LIMIT, Action, BadAction, Verb, parse, text

IDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=ID_LIMIT)
HASHES = st.text("0123456789abcdef", min_size=10, max_size=10)


@st.composite
def actions(draw: st.DrawFn) -> Action:
    verb = draw(st.sampled_from(get_args(Verb)))
    revision = draw(HASHES if verb == "rollback-to" else st.none() | HASHES)
    return Action(verb=verb, revision=revision, id=draw(IDS))


@given(actions())
def test_what_the_command_line_writes_is_what_the_operator_reads(wish: Action):
    assert parse(text(wish)) == wish


@given(st.text() | st.lists(st.sampled_from(["promote", "rollback-to", "0123456789", "x" * 200, "7"])).map(" ".join))
def test_anything_else_is_answered_in_words_that_fit_the_status(written: str):
    read = parse(written)
    if read is None:
        assert not written.strip()
        return
    assert 0 < len(read.id) <= ID_LIMIT
    if isinstance(read, BadAction):
        assert 0 < len(read.message) < 500


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("promote chat-0123456789 1", "is no revision: give its hash"),
        ("promote a b c", "write <verb>[ <revision>] <id>"),
        (f"promote {'1' * 129}", "longer than 128"),
        ("undo 0123456789 1", "undo is no action"),
    ],
)
def test_a_mistake_is_told_with_what_to_write(written: str, word: str):
    read = parse(written)
    assert isinstance(read, BadAction)
    assert word in read.message


def test_no_annotation_asks_for_nothing():
    assert parse(None) is None
