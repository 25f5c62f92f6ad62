"""The engine as a child process in a process group of its own.

Starts it, copies what it prints, remembers the end of that, signals it and reaps it with
everything it left behind. It must not know why it is asked to do so.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_TAIL_CHUNKS = 64
_CHUNK = 4096


class Engine:
    """One engine process and all its descendants."""

    def __init__(self, *, command: Sequence[str]) -> None:
        """Start it.

        Raises:
            OSError: the program cannot be started.
        """
        # As PID 1 orphans come to us anyway; elsewhere (tests, shared pid namespace) ask for them.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._tail: deque[bytes] = deque(maxlen=_TAIL_CHUNKS)
        reading, writing = os.pipe()
        try:
            # Popen only starts it: nobody may wait on this object, `reap` collects every child.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=writing, stderr=writing, start_new_session=True
            )
        finally:
            os.close(writing)
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._copy, args=(reading,), daemon=True)
        self._reader.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)
        self.reap()

    def reap(self) -> None:
        """Collect every child that has ended, the engine's orphans included."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                if not self.exited.done():
                    self.exited.set_result(self._process.returncode)

    def signal(self, number: signal.Signals) -> None:
        """Signal the engine's first process only: it tells its own children what to do."""
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def kill_all(self, *, deadline: float = 5) -> None:
        """SIGKILL the whole group and whatever else is a child of ours, and collect them."""
        async with asyncio.timeout(deadline):
            while True:  # children that are born meanwhile are found in the next round
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
                left = _children()
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.reap()
                if self.exited.done() and not left:
                    return
                await asyncio.sleep(0.02)

    def tail(self) -> str:
        """The last of what the engine printed; complete once it has exited."""
        if self.exited.done():
            # A process that outlives the engine may hold the pipe open: do not wait for it.
            self._reader.join(timeout=1)
        return b"".join(self._tail).decode(errors="replace")

    def _copy(self, reading: int) -> None:
        with contextlib.closing(os.fdopen(reading, "rb", buffering=0)) as source:
            while data := source.read(_CHUNK):
                self._tail.append(data)
                with contextlib.suppress(OSError):
                    os.write(1, data)


def _children() -> list[int]:
    pids: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            pids += [int(pid) for pid in (task / "children").read_text("ascii").split()]
    return pids


def out_of_memory_kills() -> int:
    """How many processes of this container the kernel has ended for its memory limit; 0 if unknown."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(path).read_text("ascii").splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
    return 0
