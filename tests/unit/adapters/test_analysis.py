"""From a real Prometheus to a judged window: what is known of a small fleet comes back as exact counts."""

import json
import math
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from e2e.cluster.process import free_ports
from modelfleet.adapters.analysis import PrometheusAnalysis
from modelfleet.adapters.asking import PrometheusOptions
from modelfleet.core.judgement.question import CustomQuery, Question
from modelfleet.core.judgement.window import window
from modelfleet.ports import Analysis
from tests.unit.adapters.prometheus_server import http_server, prometheus
from tests.unit.judgement.counted import CANARY, POD, STABLE

BLOCKS, INTERVAL = 8, 15
SINCE = math.floor(time.time()) - 600
NOW = SINCE + BLOCKS * INTERVAL + 3
YOUNG, DOUBLE = f"chat-{STABLE}-6f4-young", f"chat-{STABLE}-6f4-double"
Value = Callable[[int], float]
"""The value of a counter after so many blocks."""


def question(**changes) -> Question:
    given = {
        "namespace": "team",
        "name": "chat",
        "stable": STABLE,
        "canary": CANARY,
        "since": SINCE,
        "now": NOW,
        "interval_seconds": INTERVAL,
        "warmup_seconds": 30,
        "ttft_within": 0.8,
        "inter_token_within": 0.05,
        **changes,
    }
    return Question(**given)


def scraped(*, phase: float, series: dict[str, Value], missing: tuple[int, int] = (0, 0)) -> Iterator[str]:
    """A target that is scraped every 5 s, each time `phase` seconds after a full five; `missing` seconds are not."""
    for name, value in series.items():
        for number in range(-6, BLOCKS * 3 + 3):
            at = number * 5 + phase
            if not missing[0] < at < missing[1]:
                yield f"{name} {value(math.floor(at / INTERVAL) + 1)} {SINCE + at:.3f}"


def steady(per_block: float, start: float = 0) -> Value:
    return lambda blocks: start + per_block * max(0, blocks)


def engine(pod: str, *, requests: float, slow: float = 0, gaps: str = "inter_token_latency", **labels: str) -> dict:
    """The counters of one engine; `slow` requests of a block have a late first token and late gaps."""
    which = "".join(f',{key}="{value}"' for key, value in {"engine": "0", **labels}.items())
    where = f'namespace="team",pod="{pod}",model_name="chat"{which}'
    first, gap = "vllm:time_to_first_token_seconds", f"vllm:{gaps}_seconds"
    finished = "vllm:request_success_total"
    return {
        f"{first}_count{{{where}}}": steady(requests, 50),
        f'{first}_bucket{{{where},le="1.0"}}': steady(requests - slow, 50),
        f'{first}_bucket{{{where},le="0.05"}}': steady(requests, 7),
        f'{first}_bucket{{{where},le="+Inf"}}': steady(requests, 50),
        f"{gap}_count{{{where}}}": steady(requests * 20, 50),
        f'{gap}_bucket{{{where},le="0.05"}}': steady((requests - slow) * 20, 50),
        f'{gap}_bucket{{{where},le="1.0"}}': steady(requests * 20, 9),
        f'{finished}{{{where},finished_reason="stop"}}': steady(requests, 50),
        f'{finished}{{{where},finished_reason="abort"}}': steady(0),
        f'{finished}{{{where},finished_reason="repetition"}}': steady(slow),
        f"vllm:generation_tokens_total{{{where}}}": steady(requests * 21, 50),
        f"process_start_time_seconds{{{where}}}": lambda _: 1000.0,
        f"vllm:num_requests_running{{{where}}}": lambda _: 4.0,
    }


def envoy(pod: str, *, canary: float, stable: float, anew_after: int = 99, **more: Value) -> dict:
    """The counters of one Envoy for two tenants; it begins anew after so many blocks."""

    def counter(per_block: float) -> Value:
        return lambda blocks: per_block * (blocks if blocks < anew_after else blocks - anew_after + 1)

    found: dict[str, Value] = {}
    for revision, requests in ((CANARY, canary), (STABLE, stable)):
        for tenant in ("a", "b"):
            where = (
                f'namespace="gateway",pod="{pod}",model_namespace="team",llmdeployment="chat",revision="{revision}"'
                f',tenant="{tenant}"'
            )
            name = "envoy_modelfleet"
            found[f"{name}_requests_started_total{{{where}}}"] = counter(requests / 2)
            found[f"{name}_attempts_started_total{{{where}}}"] = counter(requests / 2)
            found[f'{name}_attempts_total{{{where},outcome="ok"}}'] = counter(requests / 2)
            found[f'{name}_first_attempts_total{{{where},outcome="ok"}}'] = counter(requests / 2)
            found[f'{name}_requests_total{{{where},outcome="ok"}}'] = counter(requests / 2)
            foreign = where.replace('"chat"', '"chat2"')
            found[f"{name}_requests_started_total{{{foreign}}}"] = counter(1000)
    for outcome, value in more.items():
        for tries in ("attempts", "first_attempts"):
            found[f'envoy_modelfleet_{tries}_total{{{where.replace(STABLE, CANARY)},outcome="{outcome}"}}'] = value
    return found


def named(series: dict, *, job: str) -> dict:
    return {name.replace("{", f'{{job="{job}",', 1): value for name, value in series.items()}


@pytest.fixture(scope="module")
def server(prometheus_programs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prometheus")
    # Both names of a histogram, as some releases have them: the newer one counts.
    old = engine(POD[CANARY], requests=10, slow=9, gaps="time_per_output_token")
    both = engine(POD[CANARY], requests=10, slow=2) | {name: old[name] for name in old if "per_output" in name}
    parts = engine(DOUBLE, requests=6) | engine(DOUBLE, requests=4, engine="1")
    lines = [
        *scraped(phase=3.7, series=both),
        # A release of before, and the same pod found by a second job, as with annotations and a PodMonitor.
        *scraped(phase=1.2, series=named(engine(POD[STABLE], requests=20, gaps="time_per_output_token"), job="one")),
        *scraped(phase=4.9, series=named(engine(POD[STABLE], requests=20, gaps="time_per_output_token"), job="two")),
        *scraped(phase=2.2, series=parts, missing=(53, 79)),
        *scraped(phase=0.4, series=envoy("envoy-1", canary=10, stable=30, unavailable=lambda b: max(0, min(b, 5) - 3))),
        *scraped(phase=2.9, series=envoy("envoy-2", canary=4, stable=12, anew_after=3)),
    ]
    text = folder / "truth.txt"
    text.write_text("\n".join([*lines, "# EOF\n"]))
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "data")]
    subprocess.run(command, check=True, capture_output=True)
    with prometheus(folder=folder, scrape_configs=[], until="vector(1)", at_least=1) as url:
        yield url


async def fetch(url, asked, *, timeout_seconds=30.0):
    source: Analysis
    source = adapter = PrometheusAnalysis(options=PrometheusOptions(url=url, timeout_seconds=timeout_seconds))
    try:
        return await source.fetch(asked)
    finally:
        adapter.close()


async def test_what_is_known_of_a_fleet_comes_back_as_exact_counts(server):
    answers = await fetch(server, question())
    assert answers.errors == ()
    serving = dict.fromkeys((*POD.values(), DOUBLE), 0.0)
    seen = window(answers, now=NOW, weight=0.25, serving=serving)
    assert [block.end for block in seen.blocks] == [SINCE + INTERVAL * (i + 1) for i in range(BLOCKS)]
    assert [block.warming for block in seen.blocks] == [True] * 2 + [False] * 6
    for block in seen.blocks:
        assert block.canary.started == 14, "two Envoys, two tenants, one Envoy began anew"
        assert block.stable.started == 42
        ttft, gaps = block.canary.known("ttft"), block.canary.known("interToken")
        assert (ttft.bad, ttft.total) == (2, 10), "0.8 s is judged by the bucket at 1 s"
        assert (gaps.bad, gaps.total, gaps.units) == (40, 200, 10), "the newer name counts"
        assert block.canary.known("badOutputs").kinds == {"repetition": 2}
        assert block.canary.replicas == 1
    assert [block.canary.known("errors").bad for block in seen.blocks] == [0, 0, 0, 1, 1, 0, 0, 0]
    # The second pod of stable was not scraped from second 53 to 79: at the edge of 75 s there is nothing fresh.
    stable = [block.stable.known("ttft") for block in seen.blocks]
    assert [one and one.total for one in stable] == [30, 30, 30, 30, None, None, 30, 30]
    assert [block.stable.known("interToken") is None for block in seen.blocks] == [one is None for one in stable]
    assert [block.stable.replicas for block in seen.blocks] == [2, 2, 2, 2, 1, 2, 2, 2]
    assert seen.canary_restarts == seen.stable_restarts == 0


async def test_a_longer_window_shows_where_the_data_end(server):
    """As after an outage: what Prometheus still calls current is old."""
    answers = await fetch(server, question(now=NOW + 60))
    seen = window(answers, now=NOW + 60, weight=0.25, serving=dict.fromkeys(POD.values(), 0.0))
    assert [block.canary is None for block in seen.blocks] == [False] * (BLOCKS + 2) + [True] * 2


async def test_without_the_gateway_only_engines_are_asked(server):
    answers = await fetch(server, question(gateway=False))
    assert {key.part for key in answers.series} == {
        *("first_tokens", "first_tokens_in_time", "gaps", "gaps_in_time", "finished", "generated", "born")
    }


async def test_queries_of_the_users_own(server):
    running = 'sum(vllm:num_requests_running{namespace="$namespace",pod=~"$name-$canary-.+"})'
    custom = (
        CustomQuery("load", running),
        CustomQuery("nothing", "sum(no_such_series)"),
        CustomQuery("undefined", f"{running} / 0 - {running} / 0"),
        CustomQuery("many", "vllm:num_requests_running"),
        CustomQuery("wrong", "sum(("),
        CustomQuery("number", "7"),
    )
    answers = await fetch(server, question(custom=custom))
    assert answers.custom["load"] == (4.0, 4.0, 4.0, 4.0)
    assert answers.custom["nothing"] == (None,) * 4
    assert all(math.isnan(value) for value in answers.custom["undefined"])
    assert answers.custom["number"] == (7.0,) * 4
    assert answers.custom["many"] == answers.custom["wrong"] == ()
    many, wrong = answers.errors
    assert many.startswith("many: Prometheus at ")
    assert "gave 5 series where one number is wanted" in many
    assert "refused the query (HTTP 400, bad_data); check its PromQL" in wrong


async def test_trouble_is_told_once_and_nothing_is_made_up():
    answers = await fetch(f"http://127.0.0.1:{free_ports(1)[0]}", question(custom=(CustomQuery("mine", "1"),)))
    assert not answers.series
    both, mine = answers.errors
    assert "cannot be reached" in both
    assert mine.startswith("mine: ")
    assert answers.custom["mine"] == ()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"status": "success", "data": {"resultType": "vector", "result": []}}', "gave no matrix"),
        (b'{"status": "success", "data": {"resultType": "matrix", "result": [{}]}}', "not the Prometheus API's"),
        (
            b'{"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {"__name__": "x"}}]}}',
            "not the Prometheus API's",
        ),
        (
            b'{"status": "success", "data": {"resultType": "matrix", "result": []}, "warnings": ["a store is down"]}',
            "partial answer",
        ),
    ],
)
async def test_unusable_answers_are_errors(body, words):
    with http_server(lambda request: (200, {}, body)) as port:
        answers = await fetch(f"http://127.0.0.1:{port}", question())
    assert not answers.series
    assert words in answers.errors[0]


async def test_every_moment_that_is_asked_for_is_on_the_grid():
    asked = []

    def answer(request):
        asked.append(request.path)
        return 200, {}, json.dumps({"status": "success", "data": {"resultType": "matrix", "result": []}}).encode()

    with http_server(answer) as port:
        url = f"http://127.0.0.1:{port}"
        assert (await fetch(url, question(now=SINCE + 14))).errors == (), "there is no block yet, so nothing to ask"
        assert asked == []
        await fetch(url, question(since=SINCE + 0.3, now=NOW + 0.9))
    assert len(asked) == 2
    for path in asked:
        assert f"&start={SINCE + 1}&end={SINCE + 1 + BLOCKS * INTERVAL}&step=15" in path
