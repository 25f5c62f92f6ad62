"""A supervisor as a process, and questions to it; shared by the scripted and the real tests."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from e2e.cluster.process import free_ports

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent / "supervisor"
SECONDS = 60.0
"""Deadline of everything that is awaited: two processes of Python start in a second, where nothing else has the cores."""


def get(url, *, timeout=5.0, body=None):
    """Status and text; status 0 when nothing answers."""
    try:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error)


@dataclass
class Run:
    """One supervisor with its engine."""

    argv: list
    env: dict
    folder: Path
    engine_port: int
    port: int
    lines: list = field(default_factory=list)
    first_child: bool = False
    """The supervisor is the child of the process we start (unshare), not that process."""

    def __post_init__(self):
        self.log = self.folder / "termination-log"
        self.process = subprocess.Popen(
            self.argv, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with contextlib.suppress(ValueError):
            self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def printed(self):
        return "".join(self.lines)

    def until(self, condition, *, seconds=SECONDS, what=""):
        """Wait for a condition; on failure show what was seen."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, (
                f"{what or condition} not seen in {seconds} s; printed:\n{self.printed[-4000:]}"
            )
            assert what == "exit" or self.process.poll() is None, (
                f"ended before {what}; printed:\n{self.printed[-4000:]}"
            )
            time.sleep(0.02)
        return value

    def ready(self):
        return get(f"http://127.0.0.1:{self.port}/modelfleet/ready")[0]

    def live(self):
        return get(f"http://127.0.0.1:{self.port}/modelfleet/live")[0]

    def until_ready(self, *, seconds=SECONDS):
        self.until(lambda: self.ready() == 200, seconds=seconds, what="ready")

    def until_printed(self, text, *, seconds=SECONDS):
        self.until(lambda: text in self.printed, seconds=seconds, what=f"line {text!r}")

    def term(self):
        os.kill(self.pid, signal.SIGTERM)

    @property
    def pid(self):
        return descendants(self.process.pid)[0] if self.first_child else self.process.pid

    def gone(self, *, seconds=SECONDS):
        self.until(lambda: self.process.poll() is not None, seconds=seconds, what="exit")
        self.reader.join(timeout=SECONDS)
        return self.process.returncode

    def reason(self):
        return json.loads(self.log.read_text())["reason"] if self.log.exists() else None

    def close(self):
        if self.process.poll() is None:
            # The engine leads a session of its own, and outside a container nobody ends it with its supervisor.
            engines = descendants(self.process.pid)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            for pid in engines:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=SECONDS)
        self.reader.join(timeout=SECONDS)
        self.process.stdout.close()


def scripted(folder, *arguments, **settings):
    """A supervisor over `scripted_engine.py`."""
    engine_port, port = free_ports(2)
    env = {
        **os.environ,
        "PYTHONPATH": str(PACKAGE),
        "MODELFLEET_ENGINE_COMMAND": f"{sys.executable} {TESTS / 'scripted_engine.py'}",
        "MODELFLEET_ENGINE_URL": f"http://127.0.0.1:{engine_port}",
        "MODELFLEET_SUPERVISOR_PORT": str(port),
        "MODELFLEET_TERMINATION_LOG": str(folder / "termination-log"),
        "MODELFLEET_POLL_INTERVAL_SECONDS": "0.05",
        "MODELFLEET_LOADING_GRACE_SECONDS": "0.5",
        **{f"MODELFLEET_{name.upper()}": str(value) for name, value in settings.items()},
    }
    argv = [sys.executable, "-m", "modelfleet_supervisor.main", "--port", str(engine_port), *arguments]
    return Run(argv=argv, env=env, folder=folder, engine_port=engine_port, port=port)


LEAN = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
LEAN_ARGS = [
    "--max-model-len",
    "1024",
    "--enforce-eager",
    "--distributed-executor-backend",
    "uni",
    "--kv-cache-memory-bytes",
    "64M",
]

# As a pod sees it: PID 1 of its own pid namespace, uid 10001, read-only root, /tmp the one writable folder.
ENTER = """
set -e
root=$1 model=$2 out=$3; shift 3
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; mount --rbind /sys "$root/sys"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/model" "$root/out"
mount --bind "$model" "$root/model"; mount --bind "$out" "$root/out"
mount -o remount,bind,ro "$root"
exec /usr/sbin/chroot --userspec=10001:10001 "$root" "$@"
"""


def real(root, model, folder, *arguments, path="/model", env=None):
    """A supervisor over real vLLM, in the built image's root folder."""
    engine_port, port = free_ports(2)
    folder.chmod(0o777)
    settings = {
        "PATH": "/opt/vllm/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",  # noqa: S108  # the pod's own
        "MODELFLEET_ENGINE_URL": f"http://127.0.0.1:{engine_port}",
        "MODELFLEET_SUPERVISOR_PORT": str(port),
        "MODELFLEET_TERMINATION_LOG": "/out/termination-log",
        "MODELFLEET_DRAIN_TIMEOUT_SECONDS": "60",
        **LEAN,
        **(env or {}),
    }
    serve = ["serve", path, "--served-model-name", "m", "--port", str(engine_port), "--shutdown-timeout", "60"]
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--propagation", "private"]
    argv += ["bash", "-c", ENTER, "enter", str(root), str(model), str(folder)]
    argv += ["modelfleet-supervise", *serve, *LEAN_ARGS, *arguments]
    return Run(argv=argv, env=settings, folder=folder, engine_port=engine_port, port=port, first_child=True)


def descendants(pid):
    """Host pids of a process's children, their children and so on."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found
