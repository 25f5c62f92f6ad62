"""From counters to counts: resets, gaps, processes that come and go."""

import pytest

from modelfleet.core.judgement.counters import Series, falls, increases, summed, unexplained


def test_a_reset_counts_from_zero_and_a_gap_is_unknown():
    assert increases(Series(values=[10, 14, 1, 3])) == (4, 1, 2)
    assert increases(Series(values=[10, None, 14, float("nan"), 15])) == (None, None, None, None)


def test_a_counter_that_outgrew_its_old_value_is_reset_when_another_of_its_process_fell():
    values, other = [5, 6, 9, 10], [100, 120, 30, 40]
    assert increases(Series(values=values)) == (1, 3, 1)
    assert increases(Series(values=values, resets=falls([values, other]))) == (1, 9, 1)


@pytest.mark.parametrize(
    ("series", "counted"),
    [
        # Nobody knows when it began: its first value tells.
        (Series(values=[None, None, 4, 6]), (0, 0, 2)),
        # It has served since before the window: what is missing is missing.
        (Series(values=[None, None, 4, 6], begins=0), (None, None, 2)),
        # Ready at the second edge, first scraped at the third.
        (Series(values=[None, None, 4, 6], begins=1), (0, None, 2)),
        # It was not ready for a while and is again: what it counted before stays.
        (Series(values=[1, 3, 4, 6], begins=3), (2, 1, 2)),
        # Serving, and never scraped.
        (Series(values=[None, None, None, None], begins=2), (0, 0, None)),
        (Series(values=[None, None, None, None]), (None, None, None)),
        (Series(values=[None, None, None, None], gone=True), (0, 0, 0)),
    ],
)
def test_what_is_missing_is_zero_only_where_nothing_can_have_been(series, counted):
    assert increases(series) == counted


def test_one_missing_pod_makes_the_interval_unknown_but_a_pod_that_left_does_not():
    here = increases(Series(values=[0, 2, 4]))
    assert summed([here, increases(Series(values=[0, 3, None]))]) == (5, None)
    assert summed([here, increases(Series(values=[0, 3, None], gone=True))]) == (5, 2)
    assert summed([here, increases(Series(values=[None, 7, 9]))]) == (2, 4)


def test_an_event_is_explained_by_the_same_scrape_or_the_next():
    assert unexplained((0, 3, 0, 0), by=(0, 3, 0, 0)) == (0, 0, 0, 0)
    assert unexplained((0, 3, 0, 0), by=(0, 0, 3, 0)) == (0, 0, 0, 0)
    assert unexplained((0, 3, 0, 0), by=(3, 0, 0, 0)) == (0, 0, 0, 0)
    assert unexplained((0, 3, 0, 0), by=(0, 1, 0, 0)) == (0, 2, 0, 0)


def test_each_explanation_serves_once():
    assert unexplained((0, 2, 2, 0, 0), by=(0, 1, 1, 0, 0)) == (0, 0, 2, 0, 0)


def test_nothing_is_unexplained_where_its_explanation_may_be_out_of_sight():
    assert unexplained((2, 0, 2), by=(0, 0, 0)) == (0, 0, 0)
    assert unexplained((0, 2, None, 2, 0), by=(0, 0, 0, 0, 0)) == (0, 2, None, 2, 0)
    assert unexplained((0, 2, 0, 0), by=(0, 0, None, 0)) == (0, 0, None, 0)
