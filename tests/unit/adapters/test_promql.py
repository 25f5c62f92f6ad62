"""The queries are PromQL, one per signal type of the API, and ask for what the fleet's join needs."""

import promql_parser
import pytest

from modelfleet.adapters.promql import QUERIES
from modelfleet.core.scaling.signals import SIGNAL_TYPES


def test_every_signal_type_has_exactly_one_query():
    assert tuple(QUERIES) == SIGNAL_TYPES


@pytest.mark.parametrize("kind", SIGNAL_TYPES)
def test_it_parses_and_answers_in_value_and_age(kind):
    tree = promql_parser.parse(QUERIES[kind])
    assert type(tree).__name__ == "BinaryExpr"
    assert str(tree.op) == "or"
    parts = [side.args[2].val for side in (tree.lhs, tree.rhs)]
    assert parts == ["value", "age"]
