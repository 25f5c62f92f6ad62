"""Levels 1 and 1½ as a background process that outlives the command that started it; `cli` is its only caller.

One process holds the whole level, its children die with it, and its pid and start time are written to
`<state>/<level>/server.json`: so one kill ends everything, and a pid that was given to another program is never hit.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster import build
from e2e.cluster.api_only import ApiServer
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.paths import CRD_DIR, REPOSITORY, STATE_DIR
from e2e.cluster.process import ProcessError, wait_until

LEVELS: dict[str, type[ApiServer]] = {"api": ApiServer, "control": ControlPlane}
_START_SECONDS = 120.0


def up(level: str) -> Path:
    """Starts the level if it is not up; returns an administrator's kubeconfig.

    Raises:
        ProcessError: It did not come up; the message shows the end of its log.
    """
    build.ensure((*LEVELS[level].tools, "kubectl"))
    folder = _folder(level)
    with _locked(level):
        if _holder(level) is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _launch(level)
    return folder / "admin.kubeconfig"


def down(level: str) -> bool:
    """Ends the level and removes its state; returns whether it was up."""
    with _locked(level):
        pid = _holder(level)
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: _holder(level) is None, what=f"the end of process {pid}", seconds=60.0)
        shutil.rmtree(_folder(level), ignore_errors=True)
    return pid is not None


def status(level: str) -> str | None:
    """Address of the API server, or None when the level is down."""
    return str(json.loads(_record(level).read_text())["url"]) if _holder(level) is not None else None


def serve(level: str) -> None:
    """Runs the level in this process until SIGTERM; the body of the background process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with LEVELS[level](folder=_folder(level) / "run") as server:
        server.apply_files(CRD_DIR)
        (_folder(level) / "admin.kubeconfig").write_bytes(server.kubeconfig.read_bytes())
        record = {"pid": os.getpid(), "started": started_at(os.getpid()), "url": server.url}
        scratch = _record(level).with_suffix(".new")
        scratch.write_text(json.dumps(record))
        scratch.rename(_record(level))  # the record appears whole, and only when the level is ready
        while True:
            signal.pause()


def started_at(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if there is no such process or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _launch(level: str) -> None:
    log = _folder(level) / "serve.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "e2e.cluster", "serve", level],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(
            lambda: _holder(level) is not None or child.poll() is not None, what="the start", seconds=_START_SECONDS
        )
    except ProcessError:
        child.kill()
        child.wait()
        raise
    if child.returncode is not None:
        raise ProcessError(f"level {level} did not come up; {log} ends:\n{log.read_text()[-2000:]}")


def _holder(level: str) -> int | None:
    try:
        record = json.loads(_record(level).read_text())
    except (OSError, ValueError):
        return None
    pid = int(record["pid"])
    return pid if started_at(pid) == record["started"] else None


def _folder(level: str) -> Path:
    return STATE_DIR / level


def _record(level: str) -> Path:
    return _folder(level) / "server.json"


@contextmanager
def _locked(level: str) -> Iterator[None]:
    STATE_DIR.mkdir(parents=True, exist_ok=True)
    with (STATE_DIR / f"{level}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def elapsed(since: float) -> str:
    """Seconds since a reading of the monotonic clock, for people."""
    return f"{time.monotonic() - since:.1f} s"
