"""The mount, network and pid namespaces that hold a whole cluster, and the one process whose end ends all of it.

Sits below `whole`: it knows namespaces, the veth pair and the daemons' shell, and nothing of Kubernetes.
It must not touch the host's firewall, sysctls or /run, nor kill a pid that it has not recognised.

    GoneError            the recorded process is not ours, or no longer there
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ADDRESS = "10.87.0.1"
"""The one address of the cluster: API server, kubelet, NodePorts."""

HOST_ADDRESS = "10.87.0.254"
HOST_LINK = "kp0"
SERVICE_CIDR = "10.96.0.0/16"
POD_CIDR = "10.88.0.0/16"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BOUND = {"kubelet": "/var/lib/kubelet", "cni": "/var/lib/cni"}
"""Folders that programs insist on, each bound to one of the cluster's own."""


_STARTED: list[subprocess.Popen[bytes]] = []
"""Kept for reaping: the namespaces outlive whoever started them, on purpose."""


class GoneError(RuntimeError):
    """The cluster's process is not there; the message says how to start one."""


@dataclass(frozen=True)
class Daemon:
    """A program kept running inside the namespaces: started again half a second after it ends.

    Attributes:
        name: Its log is `logs/NAME.log`, its pid (inside) `run/NAME.pid`.
        argv: Absolute program path and arguments.
        after: Name of a file under `run/` that must exist before the first start; empty for at once.
        env: Extra environment variables.
    """

    name: str
    argv: tuple[str, ...]
    after: str = ""
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Holder:
    """The process that holds the namespaces, recognisable across a reboot by its start time.

    Attributes:
        outer: Pid of `unshare` on the host; killing it kills everything.
        inner: Pid (on the host) of its child, pid 1 of the namespaces.
        started: Kernel start time of `outer`, in clock ticks since boot.
    """

    outer: int
    inner: int
    started: int

    def save(self, *, path: Path) -> None:
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self)))
        partial.rename(path)

    @classmethod
    def load(cls, *, path: Path) -> Holder | None:
        """The recorded holder if it is still that very process, else None."""
        try:
            holder = cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return holder if _start_time(pid=holder.outer) == holder.started else None


def _start_time(*, pid: int) -> int | None:
    try:
        # The program's name may hold spaces and brackets: fields are counted after its closing one.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # A zombie has ended; only its parent has not looked yet.
        return None if fields[0] == "Z" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def run(*argv: str, check: bool = True, quiet: bool = False, timeout: float = 120) -> str:
    """Run a host command and return its output; an error shows the command and what it said."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout)
    if check and done.returncode:
        raise RuntimeError(f"{shlex.join(argv)} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return "" if quiet else done.stdout


def until(what: str, ready: Callable[[], bool], *, seconds: float, step: float = 0.1) -> None:
    """Wait for a condition of another process; TimeoutError names what was awaited."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(step)


def script(*, root: Path, daemons: Sequence[Daemon]) -> str:
    """The shell program that is pid 1 inside: mounts, waits for its link, starts and reaps."""
    lines = [
        "#!/bin/bash",
        "set -eu",
        f"R={shlex.quote(str(root))}",
        "mount -t proc proc /proc",
        "mount --make-rshared /",
        "mount -t tmpfs -o mode=755 tmpfs /run",
        "mkdir -p /run/netns /run/lock",
        *(f"mkdir -p $R/var-{name} {path}; mount --bind $R/var-{name} {path}" for name, path in BOUND.items()),
        "touch $R/run/mounted",
        "until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done",
        f"ip addr add {ADDRESS}/24 dev eth0; ip link set eth0 up; ip link set lo up",
        f"ip route add default via {HOST_ADDRESS}",
        "sysctl -q net.ipv4.ip_forward=1",
        "sysctl -q net.bridge.bridge-nf-call-iptables=1 || true",
        "touch $R/run/linked",
        "set +e",
        "keep() {",
        "  local name=$1 after=$2; shift 2",
        '  while [ -n "$after" ] && [ ! -e "$R/run/$after" ]; do sleep 0.1; done',
        "  while :; do",
        '    "$@" >>"$R/logs/$name.log" 2>&1 & echo $! >"$R/run/$name.pid"',
        '    wait $!; echo "--- ended with $?, starts again" >>"$R/logs/$name.log"; sleep 0.5',
        "  done",
        "}",
    ]
    for daemon in daemons:
        argv = [*(f"{key}={value}" for key, value in daemon.env), *daemon.argv]
        lines.append(f"keep {daemon.name} {shlex.quote(daemon.after)} env {shlex.join(argv)} &")
    return "\n".join([*lines, "while :; do sleep 1000 & wait; done", ""])


def start(*, root: Path, program: Path) -> Holder:
    """Start `program` as pid 1 of new namespaces, linked to the host by a veth pair."""
    run("ip", "link", "del", HOST_LINK, check=False)
    for name in ("mounted", "linked"):
        (root / "run" / name).unlink(missing_ok=True)
    with (root / "logs" / "init.log").open("ab") as log:
        outer = subprocess.Popen(
            holding(program=program),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            env={"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"},
        )  # fmt: skip
    _STARTED.append(outer)
    started = _start_time(pid=outer.pid)
    if started is None:
        raise GoneError(f"the namespaces ended at once; see {root}/logs/init.log")
    # Recorded before anything else can fail: a killed `up` must be found by the next one.
    Holder(outer=outer.pid, inner=0, started=started).save(path=root / "holder.json")

    def mounted() -> bool:
        if outer.poll() is not None:
            raise GoneError(f"the namespaces ended with {outer.returncode}; see {root}/logs/init.log")
        return (root / "run" / "mounted").exists()

    until("the cluster's mounts", mounted, seconds=20, step=0.02)
    holder = Holder(outer=outer.pid, inner=_children(pid=outer.pid)[0], started=started)
    holder.save(path=root / "holder.json")
    link(holder=holder)
    until("the cluster's link", (root / "run" / "linked").exists, seconds=20, step=0.02)
    return holder


def holding(*, program: Path) -> list[str]:
    """The command line of the process that holds the namespaces; nothing else on the machine has it."""
    return [
        "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=SIGKILL", "--propagation", "private",
        "/bin/bash", str(program),
    ]  # fmt: skip


def holders(*, program: Path) -> list[int]:
    """Pids of every process that holds namespaces for this program, also of those that no record tells of."""
    wanted = b"".join(word.encode() + b"\0" for word in holding(program=program))
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _content(path) == wanted]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended since it was listed
        return b""


def _children(*, pid: int) -> list[int]:
    return [int(word) for word in _content(Path(f"/proc/{pid}/task/{pid}/children")).split()]


def link(*, holder: Holder) -> None:
    """Give the namespaces their eth0 and the host its routes to pods and Services."""
    run("ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", "eth0", "netns", str(holder.inner))
    run("ip", "addr", "add", f"{HOST_ADDRESS}/24", "dev", HOST_LINK)
    run("ip", "link", "set", HOST_LINK, "up")
    for cidr in (SERVICE_CIDR, POD_CIDR):
        run("ip", "route", "replace", cidr, "via", ADDRESS)


def inside(holder: Holder, *argv: str) -> list[str]:
    """The host command that runs `argv` (absolute program path) inside the namespaces."""
    return ["nsenter", "-t", str(holder.inner), "-m", "-n", "-p", *argv]


def stop(*, root: Path, program: Path) -> bool:
    """Kill the namespaces, if they are still there; True when something was killed.

    They are known by their command line: a kill between their start and its record, or a record half written, loses it.
    """
    outer = holders(program=program)
    ending = [*outer, *(child for pid in outer for child in _children(pid=pid))]
    for pid in outer:
        os.kill(pid, signal.SIGKILL)
    until("the namespaces to end", lambda: all(_dead(pid=pid) for pid in ending), seconds=30)
    (root / "holder.json").unlink(missing_ok=True)
    run("ip", "link", "del", HOST_LINK, check=False)
    return bool(outer)


def _dead(*, pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    if state == "Z":
        try:  # reaped here when the starter is this very process
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return True
    return state == "Z"
