"""Children: started, awaited and ended by their pid, with what they said in every message."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster import served
from e2e.cluster.process import Child, ProcessError, free_ports, wait_until


@pytest.fixture
def child(tmp_path):
    started = []

    def start(script: str) -> Child:
        new = Child(name="demo", argv=["/bin/sh", "-c", script], log=tmp_path / "demo.log")
        started.append(new)
        new.start()
        return new

    yield start
    for each in started:
        each.stop(grace_seconds=0)


def test_the_pid_is_the_programs_own(child):
    demo = child("echo $$; exec sleep 60")
    wait_until(lambda: bool(demo.tail()), what="a line", seconds=60, watched=[demo])
    assert demo.tail() == str(demo.pid)


def test_waiting_ends_when_the_child_does_and_shows_its_words(child):
    demo = child("echo the port is taken; exit 3")
    with pytest.raises(ProcessError, match=r"(?s)demo ended while waiting for luck.*the port is taken"):
        wait_until(lambda: False, what="luck", seconds=60, watched=[demo])


def test_waiting_ends_when_time_is_up_and_shows_the_log(child):
    demo = child("echo still loading; exec sleep 60")
    wait_until(lambda: bool(demo.tail()), what="a line", seconds=60)
    with pytest.raises(ProcessError, match=r"(?s)luck did not happen in 0 s.*still loading"):
        wait_until(lambda: False, what="luck", seconds=0, watched=[demo])


def test_stopping_asks_first(child):
    demo = child("trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    wait_until(lambda: demo.tail() == "up", what="its start", seconds=60)
    demo.stop()
    assert demo.tail() == "up\nasked"
    assert not demo.alive


def test_stopping_kills_who_does_not_listen(child):
    demo = child("trap '' TERM; echo up; while :; do sleep 0.05; done")
    wait_until(lambda: demo.tail() == "up", what="its start", seconds=60)
    demo.stop(grace_seconds=0.1)
    assert not demo.alive


def test_stopping_twice_and_before_the_start_is_harmless(tmp_path):
    demo = Child(name="demo", argv=["/bin/true"], log=tmp_path / "demo.log")
    demo.stop()
    demo.start()
    demo.stop()
    demo.stop()
    with pytest.raises(ProcessError, match="was not started"):
        _ = demo.pid


def test_a_killed_test_run_leaves_no_child(tmp_path):
    log = tmp_path / "demo.log"
    script = (
        "import pathlib, signal\n"
        "from e2e.cluster.process import Child\n"
        f"c = Child(name='demo', argv=['/bin/sleep', '60'], log=pathlib.Path({str(log)!r})); c.start()\n"
        "print(c.pid, flush=True); signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: served.started_at(pid) is None, what=f"the end of {pid}", seconds=60)


def test_free_ports_are_distinct_and_not_in_use():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_ports(1)[0]))
        taken.listen()
        used = taken.getsockname()[1]
        ports = free_ports(50)
    assert len(set(ports)) == 50
    assert used not in ports


def test_a_pid_without_a_process_has_no_start():
    assert served.started_at(2**22 + 1) is None
    assert served.started_at(1) is not None
