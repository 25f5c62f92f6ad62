"""The adapter against the real Prometheus of Debian, which scrapes what vLLM and dcgm-exporter would show."""

import json
import math
import ssl
import subprocess
import threading
import time
import urllib.request

import pytest

from e2e.cluster import host
from e2e.cluster.process import free_ports
from modelfleet.adapters import promql
from modelfleet.adapters.asking import PrometheusOptions
from modelfleet.adapters.prometheus import Prometheus
from modelfleet.ports import Metrics
from tests.unit.adapters.prometheus_server import http_server, prometheus

MOVED = ("moved-from", "moved-to")
EMPTY = json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}}).encode()


def vllm(*, running, waiting, engine="0", at=""):
    """Two lines as vLLM writes them; `at` is an explicit sample time in milliseconds."""
    labels = f'{{engine="{engine}",model_name="m"}}'
    lines = [f"vllm:num_requests_waiting{labels} {waiting} {at}"]
    if running is not None:
        lines.append(f"vllm:num_requests_running{labels} {running} {at}")
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    old = str(int((time.time() - 120) * 1000))
    gpu = "DCGM_FI_DEV_GPU_UTIL"
    return {
        "/busy": vllm(running=7, waiting=3),
        "/dp": vllm(running=1, waiting=2) + vllm(running=3, waiting=4, engine="1"),
        "/nan": vllm(running="NaN", waiting="NaN"),
        "/half": vllm(running=None, waiting=5),
        "/old": vllm(running=1, waiting=1, at=old),
        "/moved-from": vllm(running=9, waiting=9, at=old) + f'{gpu}{{gpu="0",UUID="e"}} 99 {old}\n',
        "/moved-to": vllm(running=2, waiting=1) + f'{gpu}{{gpu="0",UUID="e"}} 10\n',
        "/half-old": vllm(running=1, waiting=1) + vllm(running=1, waiting=1, engine="1", at=old),
        "/release-11": 'vllm:gpu_cache_usage_perc{model_name="m"} 0.25\n',
        "/release-12": 'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5\n',
        "/dcgm": f'{gpu}{{gpu="0",UUID="a",namespace="team",pod="busy"}} 90\n'
        f'{gpu}{{gpu="1",UUID="b",namespace="team",pod="busy"}} 70\n'
        f'{gpu}{{gpu="2",UUID="c"}} 0\n',
        "/dcgm-honored": f'{gpu}{{gpu="0",UUID="d",namespace="team",pod="dp"}} 55\n',
    }


def scrape(*, port, job, path, namespace, pod, **more):
    target = {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": namespace, "pod": pod}}
    return {"job_name": job, "metrics_path": path, "static_configs": [target], **more}


@pytest.fixture(scope="module")
def server(prometheus_programs, tmp_path_factory):
    """A Prometheus that has scraped everything at least once."""
    text = pages()
    with http_server(lambda request: (200, {"Content-Type": "text/plain"}, text[request.path].encode())) as port:
        jobs = [
            scrape(port=port, job=name, path=f"/{name}", namespace="team", pod=name)
            for name in ("busy", "dp", "nan", "half", "old", "half-old", "release-11", "release-12")
        ]
        # A pod at its new address, beside what it said at the old one: nobody marked those series as ended.
        jobs += [scrape(port=port, job=name, path=f"/{name}", namespace="team", pod="moved") for name in MOVED]
        # The same pod found by a second job, as with annotations and a PodMonitor.
        jobs.append(scrape(port=port, job="again", path="/busy", namespace="team", pod="busy"))
        jobs.append(scrape(port=port, job="dcgm", path="/dcgm", namespace="gpu", pod="exporter"))
        jobs.append(
            scrape(port=port, job="dcgm2", path="/dcgm-honored", namespace="gpu", pod="exporter", honor_labels=True)
        )
        folder = tmp_path_factory.mktemp("prometheus")
        done = "count%20by%20(job)%20(scrape_samples_scraped)"
        with prometheus(folder=folder, scrape_configs=jobs, until=done, at_least=len(jobs)) as url:
            yield url


async def fetch(url, *, timeout_seconds=30.0, **options):
    adapter: Metrics = Prometheus(options=PrometheusOptions(url=url, timeout_seconds=timeout_seconds, **options))
    try:
        return await adapter.fetch()
    finally:
        adapter.close()


async def test_one_fetch_gives_every_signal_of_every_pod(server):
    fleet = await fetch(server)
    assert not fleet.errors
    pods = ["busy", "dp", "nan", "half", "old", "half-old", "moved", "not-there"]
    signals = fleet.of(namespace="team", pods=pods)
    assert dict(signals.values["QueueDepth"]) == {"busy": 3, "dp": 6, "half": 5, "moved": 1}
    # half has no `running`: no sum; nan, old and half-old have none that may be used.
    assert dict(signals.values["InFlight"]) == {"busy": 10, "dp": 10, "moved": 3}
    assert dict(signals.values["GPUUtilization"]) == pytest.approx({"busy": 0.8, "dp": 0.55, "moved": 0.1})


async def test_a_renamed_series_is_found_by_either_name(server, monkeypatch):
    query = promql._by_pod(value=promql._sum(promql._value("kv_cache_usage")), age=promql._age("kv_cache_usage"))
    monkeypatch.setattr("modelfleet.adapters.prometheus.QUERIES", {"KVCacheUtilization": query})
    fleet = await fetch(server)
    assert not fleet.errors
    samples = fleet.samples["KVCacheUtilization"]
    assert {pod: sample.value for (_, pod), sample in samples.items()} == {"release-11": 0.25, "release-12": 0.5}
    assert all(
        0 < sample.age_seconds < 60 for sample in samples.values()
    )  # of the sample: 0 is the question's own time


async def test_nan_and_age_arrive_as_they_are(server):
    samples = (await fetch(server)).samples["QueueDepth"]
    assert math.isnan(samples["team", "nan"].value)
    assert 115 < samples["team", "old"].age_seconds < 240
    assert samples["team", "busy"].age_seconds < 60


async def test_namespaces_do_not_mix(server):
    assert not (await fetch(server)).of(namespace="other", pods=["busy"]).values["QueueDepth"]


async def test_headers_are_read_for_every_query_and_a_refused_token_is_an_error(server, tmp_path):
    """A proxy in front of the real server wants a token and a tenant, and changes its mind about the token."""
    wanted = {"Authorization": "Bearer one", "X-Scope-OrgID": "fleet"}

    def guard(request):
        if any(request.headers.get(name) != value for name, value in wanted.items()):
            return 401, {}, b"not you: " + str(request.headers.get("Authorization")).encode()
        with urllib.request.urlopen(server + request.path, timeout=30) as answer:  # noqa: S310 - loopback
            return answer.status, {"Content-Type": "application/json"}, answer.read()

    # As the kubelet mounts a Secret: links through `..data`.
    data = tmp_path / "..data"
    data.mkdir()
    for name, value in wanted.items():
        (data / name).write_text(value + "\n")
        (tmp_path / name).symlink_to(data / name)
    with http_server(guard) as port:
        adapter = Prometheus(options=PrometheusOptions(url=f"http://127.0.0.1:{port}/", headers_dir=tmp_path))
        assert (await adapter.fetch()).available
        wanted["Authorization"] = "Bearer two"
        refused = await adapter.fetch()
        assert "HTTP 401" in refused.errors["QueueDepth"]
        assert "prometheus.headersSecret" in refused.errors["QueueDepth"]
        assert "Bearer" not in str(refused)
        (data / "Authorization").write_text("Bearer two")
        assert (await adapter.fetch()).available
        adapter.close()


async def test_an_invalid_header_is_named_and_its_value_is_not_shown(tmp_path):
    (tmp_path / "Authorization").write_text("secret\nsmuggled: yes")
    error = (await fetch("http://127.0.0.1:9", headers_dir=tmp_path)).errors["InFlight"]
    assert "key Authorization of prometheus.headersSecret" in error
    assert "smuggled" not in error


def answering(status=200, body=EMPTY, headers=None):
    return http_server(lambda request: (status, headers or {}, body))


async def test_an_empty_answer_is_an_answer_without_values():
    with answering() as port:
        fleet = await fetch(f"http://127.0.0.1:{port}")
    assert fleet.available
    assert not fleet.of(namespace="team", pods=["busy"]).values["QueueDepth"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"body": EMPTY[:-1] + b', "warnings": ["store 2 of 3 is down"]}'}, "partial answer"),
        ({"body": b"<html>hello</html>"}, "did not answer with JSON"),
        ({"body": b"[]"}, "not the Prometheus API's"),
        ({"body": b'{"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}}'}, "gave no vector"),
        ({"body": b'{"status": "success", "data": {"resultType": "vector", "result": [{}]}}'}, "not the Prometheus"),
        ({"status": 503, "body": b'{"errorType": "unavailable", "error": "secret"}'}, "HTTP 503 (unavailable)"),
        ({"status": 500, "body": b'{"errorType": "secret"}'}, "HTTP 500;"),
        ({"status": 302, "headers": {"Location": "http://elsewhere.invalid/"}}, "redirect (HTTP 302)"),
        ({"headers": {"Content-Length": "9999"}}, "broke its answer off"),
    ],
)
async def test_unusable_answers_are_errors_with_advice(answer, words):
    with answering(**answer) as port:
        fleet = await fetch(f"http://user:secret@127.0.0.1:{port}")
    assert set(fleet.errors) == {"QueueDepth", "InFlight", "GPUUtilization"}
    assert words in fleet.errors["QueueDepth"]
    assert f"Prometheus at http://127.0.0.1:{port} " in fleet.errors["QueueDepth"]
    assert "secret" not in str(fleet)
    assert not fleet.samples


@pytest.mark.parametrize("url", ["not a url", "ftp://x", "http://", "http://[::1", "http://a:b:c"])
async def test_a_url_that_is_none_is_an_error(url):
    assert "check prometheus.url" in (error := (await fetch(url)).errors["QueueDepth"]) or "must look like" in error


async def test_an_unreachable_server_is_an_error():
    fleet = await fetch(f"http://127.0.0.1:{free_ports(1)[0]}")
    assert "cannot be reached" in fleet.errors["GPUUtilization"]


async def test_a_server_that_does_not_answer_ends_at_the_timeout():
    hold = threading.Event()

    def slow(request):
        hold.wait(60)
        return 200, {}, EMPTY

    with http_server(slow) as port:
        began = time.monotonic()
        fleet = await fetch(f"http://127.0.0.1:{port}", timeout_seconds=0.3)
        took = time.monotonic() - began
        hold.set()
    assert "did not answer" in fleet.errors["QueueDepth"]
    assert took < 30, took


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    host.ensure_programs(host.BASE_PROGRAMS)
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=prometheus "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {cert}".split(),
        check=True,
        capture_output=True,
    )
    return key, cert


async def test_the_mounted_ca_decides_whether_the_server_is_trusted(certificate, tmp_path):
    key, cert = certificate
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    with http_server(lambda request: (200, {}, EMPTY), tls=tls) as port:
        url = f"https://127.0.0.1:{port}"
        assert (await fetch(url, ca_file=cert)).available
        assert "prometheus.caSecret" in (await fetch(url)).errors["QueueDepth"]
        assert "prometheus.caSecret" in (await fetch(url, ca_file=tmp_path / "none.pem")).errors["QueueDepth"]
