"""Starts, awaits and stops child processes, always by the pid that it was given; knows nothing of Kubernetes.

A child dies with the thread that started it (`setpriv --pdeathsig`), so a test run that is killed leaves nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_POLL_SECONDS = 0.05
_PORTS = range(20000, 32000)  # below the range that the kernel hands to outgoing connections

_LAST_PORT = Path(tempfile.gettempdir()) / f"modelfleet-last-port-{os.getuid()}"

_UNLESS_ORPHANED = '[ "$PPID" = "$0" ] && exec "$@"'
"""A parent that died before the death signal was asked for would never cause it."""


class ProcessError(Exception):
    """A child died, or did not get ready in time; the message shows the end of its log."""


class Child:
    """One program that runs until it is stopped.

    Attributes:
        name: What it is called in messages.
        argv: Program and arguments.
        log: File that takes its output; appended to, so a restart keeps what was said before.
    """

    def __init__(self, *, name: str, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.log = log
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id; setpriv and the shell replace themselves, so it is the program's own."""
        if self._process is None:
            raise ProcessError(f"{self.name} was not started")
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it in a session of its own: Ctrl-C reaches the test run, which then stops its children in order."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", _UNLESS_ORPHANED, str(os.getpid()), *self.argv],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, *, grace_seconds: float = 10.0, sig: signal.Signals = signal.SIGTERM) -> None:
        """Asks it to end, then kills it when `grace_seconds` have passed; does nothing if it has ended."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(sig)
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def tail(self, *, lines: int = 15) -> str:
        """The last lines of its log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""


def wait_until(
    condition: Callable[[], bool],
    *,
    what: str,
    seconds: float,
    watched: Sequence[Child] = (),
    pause: float = _POLL_SECONDS,
) -> float:
    """Waits until the condition holds; returns how many seconds that took.

    Args:
        condition: Asked every `pause` seconds.
        what: Ends the sentence "… did not happen" in the message.
        seconds: When to give up.
        watched: Children that must stay alive meanwhile.
        pause: Seconds between two questions.

    Raises:
        ProcessError: Time is up, or a watched child ended.
    """
    start = time.monotonic()
    while not condition():
        waited = time.monotonic() - start
        for child in watched:
            if not child.alive:
                raise ProcessError(f"{child.name} ended while waiting for {what}; {child.log} ends:\n{child.tail()}")
        if waited > seconds:
            logs = "".join(f"\n{child.log} ends:\n{child.tail()}" for child in watched)
            raise ProcessError(f"{what} did not happen in {seconds:.0f} s{logs}")
        time.sleep(pause)
    return time.monotonic() - start


def free_ports(count: int) -> list[int]:
    """Distinct loopback TCP ports on which nothing listens now.

    A program binds its port long after it was chosen, and is started on it again: the ports go round, so that no other
    process on this machine is given the same one meanwhile.
    """
    found: list[int] = []
    with _LAST_PORT.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        last = file.read()
        offset = int(last) - _PORTS.start + 1 if last else 0
        for number in range(len(_PORTS)):
            port = _PORTS[(offset + number) % len(_PORTS)]
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                break
        file.truncate(0)
        file.write(str(found[-1]))
    return found


def own_address(number: int) -> str:
    """An address of loopback that only this process asks for, for servers whose port is fixed."""
    high, low = divmod(os.getpid() % 65536, 256)
    return f"127.{number}.{high}.{low or 255}"
