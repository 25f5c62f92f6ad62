"""The cgroup subtree that the node's pods live in: made before kubelet starts, removed after a kill.

Sits below `whole`. It must not remove a folder that still holds a process, nor touch any other subtree.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
NAME = "kp1"


def unified() -> bool:
    """Whether this machine has cgroup v2 only."""
    return (ROOT / "cgroup.controllers").exists()


def hierarchies() -> list[Path]:
    """Every mounted hierarchy: one on v2, one per controller on v1 (links such as `cpu` left out)."""
    if unified():
        return [ROOT]
    return sorted(path for path in ROOT.iterdir() if path.is_dir() and not path.is_symlink())


def prepare() -> None:
    """Make the subtree in every hierarchy, with the CPUs and memory nodes of its parent (v1 starts with none)."""
    for hierarchy in hierarchies():
        own = hierarchy / NAME
        if unified():
            wanted = (hierarchy / "cgroup.controllers").read_text().split()
            with contextlib.suppress(OSError):
                (hierarchy / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
        own.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not unified() and (hierarchy / name).exists():
                (own / name).write_text((hierarchy / name).read_text())


def clear(*, seconds: float = 30) -> None:
    """Remove the subtree. Stale folders left by a kill would make cAdvisor stall for seconds per container.

    Raises:
        TimeoutError: processes are still in it after `seconds`; names them.
    """
    deadline = time.monotonic() + seconds
    while left := [path for path in (h / NAME for h in hierarchies()) if path.exists()]:
        for own in left:
            for path in sorted(own.rglob("*"), key=lambda path: len(path.parts), reverse=True):
                if path.is_dir():
                    with contextlib.suppress(OSError):
                        path.rmdir()
            with contextlib.suppress(OSError):
                own.rmdir()
        if time.monotonic() > deadline:
            pids = sorted({pid for own in left for procs in own.rglob("cgroup.procs") for pid in _read(procs)})
            raise TimeoutError(f"{left[0]} could not be removed; processes still in it: {', '.join(pids) or 'none'}")
        time.sleep(0.05)


def _read(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
