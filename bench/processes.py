"""What processes of a benchmark use, read from /proc; knows nothing of what they do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Spent:
    """CPU time of named processes from when this is made until `stop`.

    >>> spent = Spent({"me": os.getpid()})
    >>> spent.stop()
    >>> list(spent.seconds)
    ['me']
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._begun = {name: (pid, cpu_seconds(pid)) for name, pid in pids.items()}
        self.seconds: dict[str, float] = {}

    def stop(self) -> None:
        """Takes the measure: `seconds` by name."""
        self.seconds = {name: cpu_seconds(pid) - before for name, (pid, before) in self._begun.items()}

    @property
    def total(self) -> float:
        """CPU seconds of all of them."""
        return sum(self.seconds.values())

    def __str__(self) -> str:
        return ", ".join(f"{name} {spent:.1f}" for name, spent in self.seconds.items())
