"""A window that stays open for days: it is seen by its latest blocks, and nothing waits for more than those can hold."""

import pytest

from modelfleet.core.judgement import default_config, judge, judge_alone
from modelfleet.core.judgement.question import MOST_BLOCKS, countable
from tests.unit.judgement.counted import CANARY, INTERVAL, POD, fleet, hide, question, seen


@pytest.mark.parametrize(("interval", "warmup"), [(15.0, 120.0), (5.0, 120.0), (5.0, 3600.0)])
def test_what_stays_open_for_days_is_seen_by_as_many_blocks_after_the_warm_up(interval, warmup):
    asked = question(blocks=30_000, interval_seconds=interval, warmup_seconds=warmup)
    window = seen(fleet(blocks=len(asked.edges) - 1), asked=asked)
    assert sum(not block.warming for block in window.blocks) == MOST_BLOCKS


def test_a_least_time_of_a_day_is_no_wait_for_ever_though_some_scrapes_failed():
    asked = question(blocks=30_000, warmup_seconds=120)
    window = seen(hide(fleet(blocks=len(asked.edges) - 1), process=POD[CANARY], edges=range(200, 203)), asked=asked)
    config = default_config(min_seconds=countable(seconds=86_400, interval_seconds=INTERVAL))
    assert judge(window, config=config).outcome == "Pass"
    assert judge_alone(window, config=config, required=frozenset({"errors"})).outcome == "Pass"
