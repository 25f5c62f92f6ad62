"""Life and death of an engine, each case of it, against a scripted child process."""

import os
import signal
import threading
from pathlib import Path

import pytest
from harness import SECONDS, get, scripted


@pytest.fixture
def start(tmp_path):
    runs = []

    def begin(*arguments, **settings):
        runs.append(scripted(tmp_path, *arguments, **settings))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()


def request(run):
    """A request that is in flight until `/release` is asked for, and the list its answer will be in."""
    answers = []
    url = f"http://127.0.0.1:{run.engine_port}/v1/completions"
    thread = threading.Thread(target=lambda: answers.append(get(url, body={"held": True}, timeout=SECONDS)))
    thread.start()
    metrics = f"http://127.0.0.1:{run.engine_port}/metrics"
    run.until(lambda: 'running{e="0"} 1' in get(metrics)[1], what="request running")
    return thread, answers


def test_ready_only_after_one_token_and_idle_term_exits_0(start):
    run = start()
    run.until_ready()
    assert run.live() == 200
    run.term()
    assert run.gone() == 0
    assert run.reason() is None


def test_not_ready_while_no_token_comes_though_models_answer(start):
    run = start("--broken-completions")
    run.until(lambda: "500" in get(f"http://127.0.0.1:{run.port}/modelfleet/ready")[1], what="500 quoted")
    assert run.ready() == 503
    run.term()
    assert run.gone() == 143


def test_embedding_model_becomes_ready(start):
    start("--embedding").until_ready()


def test_requests_in_flight_finish_before_exit(start):
    run = start()
    run.until_ready()
    thread, answers = request(run)
    run.term()
    run.until(lambda: run.ready() != 200, what="not ready")
    assert get(f"http://127.0.0.1:{run.engine_port}/release")[0] == 200, "the engine is there as long as it is needed"
    assert run.gone() == 0
    thread.join()
    assert answers[0][0] == 200


def test_drain_deadline_kills_and_says_so(start):
    run = start("--ignore-term", drain_timeout_seconds=0.3, drain_margin_seconds=0.1)
    run.until_ready()
    run.term()
    assert run.gone() == 137
    assert run.reason() == "DrainTimeout"


@pytest.mark.parametrize("more", [[], ["--ignore-int"]])
def test_term_while_loading_is_gone_in_seconds(start, more):
    run = start("--loading", *more)
    run.until_printed("loading")
    run.term()
    assert run.gone(seconds=4) == 143


def test_silent_exit_0_becomes_a_failure(start):
    run = start()
    run.until_ready()
    get(f"http://127.0.0.1:{run.engine_port}/die")
    assert run.gone() == 1
    assert run.reason() == "EngineDied"


def test_killed_engine_is_a_failure(start):
    run = start()
    run.until_ready()
    child = int(Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split()[0])
    os.kill(child, signal.SIGKILL)
    assert run.gone() == 137
    assert run.reason() == "EngineDied"


def test_exit_code_and_reason_are_passed_on(start):
    run = start("--exit-code", "2", "--say", "vllm serve: error: unrecognized arguments: --nonsense")
    assert run.gone() == 2
    assert run.reason() == "InvalidEngineArgument"


@pytest.mark.parametrize("engine", ["--loading", "--broken-completions"])
def test_start_that_never_answers_ends_at_the_deadline(start, engine):
    run = start(engine, start_deadline_seconds=0.8)
    assert run.gone() == 1
    assert run.reason() == "ProbeTimeout"


def test_orphans_are_ended_and_reaped(start):
    run = start("--orphan")
    run.until_ready()
    run.until_printed("orphan ")
    orphan = int(run.printed.split("orphan ")[1].split()[0])
    assert Path(f"/proc/{orphan}").exists()
    run.term()
    assert run.gone() == 0
    assert not Path(f"/proc/{orphan}").exists()


def test_hang_is_suspected_proved_and_reported(start):
    run = start(
        "--hang-after",
        "1",
        watch_interval_seconds=0.1,
        hang_after_seconds=60,
        idle_probe_after_seconds=0.4,
        probe_timeout_seconds=3,
    )
    # It is ready for a moment only, until the idle engine is asked for a second token; and hung until it is told to end.
    run.until(lambda: run.live() == 503, what="not live")
    assert run.ready() == 503
    run.term()
    assert run.gone() == 1
    assert run.reason() == "EngineHung"


def test_idle_engine_that_answers_stays_live(start):
    run = start(watch_interval_seconds=0.05, hang_after_seconds=0.2, idle_probe_after_seconds=0.2)
    run.until_ready()
    metrics = f"http://127.0.0.1:{run.engine_port}/metrics"
    run.until(lambda: "tokens_total 4" in get(metrics)[1], what="four probes")
    assert run.live() == 200


def test_missing_program_and_bad_setting_say_what_to_do(start):
    run = start(engine_command="/no/such/engine")
    assert run.gone() == 1
    assert run.reason() == "InvalidEngineArgument"
    other = start(hang_after_seconds="soon")
    assert other.gone() == 2
    assert "MODELFLEET_HANG_AFTER_SECONDS is 'soon': set it to a number" in other.printed


def test_unknown_path_is_404(start):
    run = start()
    run.until_ready()
    assert get(f"http://127.0.0.1:{run.port}/metrics")[0] == 404
