"""The judgement's queries are PromQL, ask for one LLMDeployment only, and name what real vLLM and our Envoys write."""

import re

import promql_parser
import pytest

from modelfleet.adapters.analysis_promql import of_engines, of_gateway
from modelfleet.core.judgement.series import BORN, BUCKETS, FINISHED, GENERATED, HISTOGRAMS
from modelfleet.core.routing import measures
from tests.unit.adapters.test_promql import RECORDED, each_release, series
from tests.unit.judgement.counted import CANARY, STABLE, question

QUERIES = {"gateway": of_gateway(question()), "engines": of_engines(question())}


@pytest.mark.parametrize("name", QUERIES)
def test_it_parses_and_tells_fresh_samples_from_old_ones(name):
    tree = promql_parser.parse(QUERIES[name])
    assert type(tree).__name__ == "AggregateExpr"
    assert "timestamp(" in QUERIES[name]
    # One and a half intervals of 15 s.
    assert "> time() - 22.5" in QUERIES[name]


@pytest.mark.parametrize("name", QUERIES)
def test_it_fits_into_an_address_whatever_the_names(name):
    """Proxies cut addresses at 8 KiB."""
    asked = question(namespace="n" * 63, name="m" * 45)
    build = {"gateway": of_gateway, "engines": of_engines}[name]
    assert len(build(asked)) < 2048


def matching(pattern: str, names: set[str]) -> set[str]:
    return {name for name in names if re.fullmatch(pattern, name)}


def names_asked(query: str) -> str:
    return re.search(r'__name__=~"([^"]+)"', query)[1]


@each_release
def test_every_counter_is_there_in_real_vllm(recorded):
    there = set(series(recorded.read_text()))
    found = matching(names_asked(QUERIES["engines"]), there)
    assert {FINISHED, GENERATED, BORN} <= found
    for names in HISTOGRAMS.values():
        used = [name for name in names if f"{name}_count" in found]
        assert len(used) == 1, f"{used or 'none'} of {names}"
        assert f"{used[0]}_bucket" in found
    assert len(found) == 7, found


@each_release
def test_the_bounds_are_those_of_real_vllm(recorded):
    for metric, names in HISTOGRAMS.items():
        bounds = re.findall(rf'^(?:{"|".join(names)})_bucket{{.*le="([^"]+)"', recorded.read_text(), re.MULTILINE)
        assert tuple(float(bound) for bound in bounds) == (*BUCKETS[metric], float("inf"))


@each_release
def test_every_bound_is_matched_as_real_vllm_writes_it(recorded):
    text = recorded.read_text()
    for name, bounds, field in (
        ("time_to_first_token", BUCKETS["ttft"], "ttft_within"),
        ("inter_token_latency", BUCKETS["interToken"], "inter_token_within"),
    ):
        written = re.findall(rf'^vllm:{name}_seconds_bucket{{.*le="([^"]+)"', text, re.MULTILINE)
        for bound in bounds:
            pattern = re.search(r'le=~"([^"]+)"', of_engines(question(**{field: bound})))[1]
            assert [float(le) for le in written if re.fullmatch(pattern, le)].count(bound) == 1


def test_pods_of_both_revisions_are_asked_for_and_no_others():
    pattern = re.search(r'pod=~"([^"]+)"', QUERIES["engines"])[1]
    pods = {
        *{f"chat-{CANARY}-7d9f6c-x2x4z", f"chat-{STABLE}-1-abcde", f"chat-{'0' * 10}-1-abcde"},
        *{f"chat2-{CANARY}-1-abcde", f"a-chat-{CANARY}-1-abcde"},
    }
    assert matching(pattern, pods) == {f"chat-{CANARY}-7d9f6c-x2x4z", f"chat-{STABLE}-1-abcde"}


def test_the_gateway_is_asked_for_what_it_counts_by_revision_and_outcome():
    asked = names_asked(QUERIES["gateway"])
    by_outcome = (measures.ATTEMPTS, measures.FIRST_ATTEMPTS, measures.REQUESTS)
    counters = (measures.STARTED, measures.ATTEMPTS_STARTED, *by_outcome)
    assert matching(asked, {measure.name for measure in measures.ALL}) == {counter.name for counter in counters}
    for counter in counters:
        assert {measures.NAMESPACE, measures.NAME, measures.REVISION, measures.TENANT} <= set(counter.labels)
    assert all(measures.OUTCOME in counter.labels for counter in by_outcome)


def test_a_release_was_recorded():
    assert RECORDED
