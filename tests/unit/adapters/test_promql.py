"""The queries are PromQL, one per signal type of the API, ask for what the fleet's join needs, and name what is there."""

import re
from pathlib import Path

import promql_parser
import pytest

from modelfleet.adapters.promql import QUERIES
from modelfleet.core.scaling.series import NAMES
from modelfleet.core.scaling.signals import SIGNAL_TYPES

RECORDED = sorted(Path(__file__).parent.glob("vllm-*-metrics.txt"))
"""What /metrics of real vLLM said while it served eleven streams, by release."""
SUPERVISOR = Path(__file__).resolve().parents[3] / "runtime-image" / "supervisor" / "modelfleet_supervisor"

each_release = pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)


def series(text: str) -> dict[str, set[str]]:
    """Name of every series of an exposition, and its labels."""
    found = re.findall(r"^([a-zA-Z_:]+)(?:\{(.*)\})? \S+$", text, re.MULTILINE)
    return {name: set(re.findall(r'(\w+)="', labels)) for name, labels in found}


def test_every_signal_type_has_exactly_one_query():
    assert tuple(QUERIES) == SIGNAL_TYPES


@pytest.mark.parametrize("kind", SIGNAL_TYPES)
def test_it_parses_and_answers_in_value_and_age(kind):
    tree = promql_parser.parse(QUERIES[kind])
    assert type(tree).__name__ == "BinaryExpr"
    assert str(tree.op) == "or"
    parts = [side.args[2].val for side in (tree.lhs, tree.rhs)]
    assert parts == ["value", "age"]


def test_a_release_was_recorded():
    assert [path.stem for path in RECORDED] == ["vllm-0.32.0-metrics"]


@each_release
def test_every_meaning_has_a_name_that_real_vllm_uses(recorded):
    there = series(recorded.read_text())
    for meaning, names in NAMES.items():
        used = [name for name in names if name in there]
        assert len(used) == 1, f"{meaning}: {used or 'none'} of {names}"
        assert {"engine", "model_name"} <= there[used[0]]


@each_release
@pytest.mark.parametrize("kind", SIGNAL_TYPES)
def test_every_query_finds_what_it_asks_for_in_real_vllm(kind, recorded):
    named = set(re.findall(r"vllm:\w+", QUERIES[kind]))
    assert bool(named) == (kind != "GPUUtilization")  # that one asks for DCGM's
    aliases = [set(names) for names in NAMES.values() if named & set(names)]
    assert set().union(*aliases) == named, "a name that the table does not know"
    assert all(names & set(series(recorded.read_text())) for names in aliases)


@each_release
def test_the_supervisor_reads_what_real_vllm_writes(recorded):
    named = {word for path in SUPERVISOR.glob("*.py") for word in re.findall(r'"(vllm:\w+)"', path.read_text())}
    assert named
    assert named <= set(series(recorded.read_text()))
