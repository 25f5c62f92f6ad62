"""Whatever restarts and whatever is not scraped: what is counted is what happened, or is not known."""

from hypothesis import given
from hypothesis import strategies as st

from modelfleet.core.judgement.counters import Series, falls, increases, unexplained

COUNTS = st.lists(st.integers(0, 50), min_size=1, max_size=30)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], list[float | None], list[float | None]]:
    """What a process counted in each block, and two counters of it as scraped; it may begin anew after any block.

    The second counter grows so much in each life that a new life always shows.
    """
    truth = draw(COUNTS)
    anew = draw(st.lists(st.booleans(), min_size=len(truth), max_size=len(truth)))
    missing = draw(st.lists(st.booleans(), min_size=len(truth) + 1, max_size=len(truth) + 1))
    value, other, height = draw(st.integers(0, 100)), 10_000, 10_000
    values, others = [value], [other]
    for count, again in zip(truth, anew, strict=True):
        height -= 100
        value, other = (count, height) if again else (value + count, other + 1)
        values.append(value)
        others.append(other)

    def scraped(row: list[int]) -> list[float | None]:
        return [None if gone else float(one) for one, gone in zip(row, missing, strict=True)]

    return truth, scraped(values), scraped(others)


@given(histories())
def test_every_known_block_is_what_happened(history):
    truth, values, others = history
    found = increases(Series(values=values, begins=0, resets=falls([values, others])))
    for i, count in enumerate(truth):
        missing = values[i] is None or values[i + 1] is None
        assert found[i] == (None if missing else count)


@given(COUNTS, st.data())
def test_what_is_unexplained_is_never_more_than_there_is_and_is_nothing_when_all_is_explained(events, data):
    blocks = len(events)
    by = data.draw(st.lists(st.integers(0, 50), min_size=blocks, max_size=blocks))
    found = unexplained(tuple(events), by=tuple(by))
    assert all(0 <= rest <= count for rest, count in zip(found, events, strict=True))
    assert sum(found) >= sum(events[1:-1]) - sum(by)
    assert not any(unexplained(tuple(events), by=tuple(events)))
    late = (0, *events[:-1])
    assert not any(unexplained(tuple(events), by=late)[:-1])
