"""Life and death of real vLLM under the supervisor in the built image: the cases of test_supervisor.py.

Run by `make test-runtime`. Each test starts vLLM as a pod would: PID 1, uid 10001, read-only root.
"""

import json
import os
import signal
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from harness import descendants, get, real

from e2e import images, models

pytestmark = pytest.mark.runtime

START = 240
"""Seconds for a start on a busy machine; 20 on an idle one."""


@pytest.fixture(scope="module")
def image():
    return images.build(images.VLLM_CPU, export=False)


@pytest.fixture(scope="module")
def model(image):
    return models.tiny(image=image)


@pytest.fixture(scope="module")
def root(image):
    with images.mounted(image=image) as folder:
        yield folder


@pytest.fixture
def start(root, model, tmp_path):
    runs = []

    def begin(*arguments, **options):
        runs.append(real(root, model, tmp_path, *arguments, **options))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()


def stream(run, *, tokens, answers):
    """Read one streamed answer to its end; record how it ended."""
    body = {"model": "m", "prompt": "Hello", "max_tokens": tokens, "ignore_eos": True, "stream": True}
    request = urllib.request.Request(
        f"http://127.0.0.1:{run.engine_port}/v1/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310  # our own engine
            lines = [line for line in response.read().decode().splitlines() if line]
        answers.append(lines[-1])
    except OSError as error:
        answers.append(repr(error))


def test_start_serves_tokens_and_idle_term_exits_0(start):
    run = start()
    run.until_ready(seconds=START)
    url = f"http://127.0.0.1:{run.engine_port}"
    status, text = get(f"{url}/v1/completions", body={"model": "m", "prompt": "Hello", "max_tokens": 3}, timeout=60)
    assert status == 200, text
    assert "vllm:generation_tokens_total" in get(f"{url}/metrics")[1]
    assert run.live() == 200
    began = time.monotonic()
    run.term()
    assert run.gone(seconds=60) == 0
    print(f"idle SIGTERM to exit: {time.monotonic() - began:.1f} s")
    assert run.reason() is None


def test_streams_in_flight_all_finish_after_term(start):
    run = start()
    run.until_ready(seconds=START)
    answers = []
    threads = [
        threading.Thread(target=stream, args=(run,), kwargs={"tokens": 900, "answers": answers}) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    metrics = f"http://127.0.0.1:{run.engine_port}/metrics"
    run.until(
        lambda: 'num_requests_running{engine="0",model_name="m"} 8.0' in get(metrics)[1], seconds=60, what="8 running"
    )
    run.term()
    run.until(lambda: run.ready() != 200, what="not ready")
    for thread in threads:
        thread.join(timeout=120)
    assert answers == ["data: [DONE]"] * 8
    assert run.gone(seconds=60) == 0


@pytest.mark.parametrize("at", ["before the engine prints", "while it loads"])
def test_term_while_loading_is_gone_in_seconds(start, at):
    run = start()
    if at == "while it loads":
        run.until_printed("EngineCore", seconds=START)
    else:
        run.until(lambda: run.ready() == 503, seconds=30, what="supervisor up")
    began = time.monotonic()
    run.term()
    assert run.gone(seconds=12) == 143
    print(f"SIGTERM {at} to exit: {time.monotonic() - began:.1f} s")


def test_killed_engine_core_is_a_failure(start):
    run = start()
    run.until_ready(seconds=START)
    everything = descendants(run.pid)
    core = next(pid for pid in everything if "EngineCore" in Path(f"/proc/{pid}/comm").read_text() + cmdline(pid))
    os.kill(core, signal.SIGKILL)
    assert run.gone(seconds=60) != 0
    assert run.reason() in {"EngineDied", "EngineFailed"}


def test_killed_server_leaves_no_orphan(start):
    run = start()
    run.until_ready(seconds=START)
    everything = descendants(run.pid)
    os.kill(everything[0], signal.SIGKILL)
    assert run.gone(seconds=20) == 137
    assert run.reason() == "EngineDied"
    assert not [pid for pid in everything if Path(f"/proc/{pid}").exists()]


def test_bad_flag_is_named(start):
    run = start("--no-such-flag")
    assert run.gone(seconds=START) == 2
    said = json.loads(run.log.read_text())
    assert said["reason"] == "InvalidEngineArgument", said
    assert "--no-such-flag" in said["message"]


def test_invalid_value_is_named(start):
    run = start("--max-model-len", "999999")
    assert run.gone(seconds=START) == 1
    assert run.reason() == "ContextTooLong", run.log.read_text()


def test_missing_model_is_named(start):
    run = start(path="/models/none")
    assert run.gone(seconds=START) == 1
    said = json.loads(run.log.read_text())
    assert said["reason"] == "ModelNotFound", said


def test_no_room_for_the_cache_is_out_of_memory(start):
    run = start("--kv-cache-memory-bytes", "64K")
    assert run.gone(seconds=START) == 1
    assert run.reason() == "OutOfMemory", run.log.read_text()


def cmdline(pid):
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
