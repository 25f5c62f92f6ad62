"""What of the cluster outlives it: nothing after `down`, and nothing that keeps the next one from being as new.

These forget every object of the cluster, so they run last and only when they are asked for: `make e2e-full` does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster import external, node_cgroups, whole
from e2e.cluster.netns import ADDRESS, HOST_LINK, POD_CIDR, SERVICE_CIDR, Holder, holders, run
from e2e.cluster.paths import REPOSITORY
from e2e.conftest import Cluster
from e2e.doubles.gpus import COUNT

pytestmark = [
    pytest.mark.skipif(external.configured() is not None, reason="these promises are the embedded cluster's"),
    pytest.mark.skipif("MODELFLEET_TEST_DOWN" not in os.environ, reason="ends the cluster: set MODELFLEET_TEST_DOWN=1"),
]


def clone(folder: Path) -> Path:
    """Copy what git would, to another place: another clone of the same commit, with this one's changes."""
    listed = run("git", "-C", str(REPOSITORY), "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    return folder


def family(pid: int) -> set[int]:
    """A process and all that came of it."""
    parents = [[int(word) for word in line.split()] for line in run("ps", "-eo", "pid=,ppid=").splitlines()]
    found = {pid}
    while more := {child for child, parent in parents if parent in found} - found:
        found |= more
    return found


def alive() -> set[int]:
    """Every process of the machine but those that have ended and were not waited for."""
    return {int(line.split()[0]) for line in run("ps", "-eo", "pid=,stat=").splitlines() if " Z" not in line}


def namespaces(pids: set[int]) -> set[str]:
    """The namespaces that these processes are in and the host is not, by number."""
    found = set()
    for path in (link for pid in pids for link in Path(f"/proc/{pid}/ns").glob("*")):
        try:
            if path.readlink() != Path("/proc/self/ns", path.name).readlink():
                found.add(path.readlink().name.partition("[")[2].rstrip("]"))
        except OSError:  # it has ended since it was listed
            continue
    return found


def listed_namespaces() -> set[str]:
    """Every namespace of the machine, as lsns has it."""
    return set(run("lsns", "--noheadings", "--output", "NS").split())


def test_another_clone_makes_it_as_new_from_what_a_crash_left(cluster: Cluster, tmp_path: Path) -> None:
    """Given a lost record, a half-written pki and stale files, when another clone runs `up`, then all of it is new."""
    cluster.kubectl("create", "configmap", "of-before", "-n", "default")
    left, root = Holder.load(path=whole.root() / "holder.json"), whole.root()
    assert left is not None
    (root / "holder.json").write_text("junk")
    (root / "pki" / "complete").unlink()
    (root / "pki" / "ca.crt").write_text("-----BEGIN CERT")
    (root / "run" / "apiserver-ready").touch()
    (root / "run" / "stale.sock").write_text("junk")
    (root / "kubeconfig" / "admin").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "e2e.cluster", "up"], cwd=clone(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    now = Holder.load(path=root / "holder.json")
    assert now is not None
    assert holders(program=root / "init.sh") == [now.outer]
    assert now.outer != left.outer
    assert str(tmp_path) in (root / "init.sh").read_text(), "it runs the other clone's programs"
    assert "of-before" not in cluster.kubectl("get", "configmaps", "-n", "default", "-o", "name")
    cluster.eventually(cluster.allocatable, equals=COUNT)


def test_down_leaves_nothing(cluster: Cluster) -> None:
    """Given a running cluster, when it is taken down, then no process, namespace, link, route, cgroup, mount is left."""
    holder = Holder.load(path=whole.root() / "holder.json")
    assert holder is not None
    ours = family(holder.outer)
    held = namespaces(ours)
    assert {link.name for link in Path(f"/proc/{holder.inner}/ns").glob("*")} >= {"mnt", "net", "pid"}
    assert len(held & listed_namespaces()) >= len({"mnt", "net", "pid"})
    routes = run("ip", "route")
    assert all(cidr in routes for cidr in (POD_CIDR, SERVICE_CIDR))
    whole.down()
    assert whole.status()["state"] == "absent"
    assert not ours & alive()
    # That of pid 1 is listed until the host has waited for it.
    cluster.eventually(lambda: held & listed_namespaces(), equals=set(), seconds=10)
    assert HOST_LINK not in run("ip", "-brief", "link")
    now = run("ip", "route")
    assert not [word for word in (HOST_LINK, ADDRESS, POD_CIDR, SERVICE_CIDR) if word in now], now
    assert set(now.splitlines()) < set(routes.splitlines())
    assert not [path for path in (h / node_cgroups.NAME for h in node_cgroups.hierarchies()) if path.exists()]
    assert str(whole.root()) not in run("mount")
    assert str(whole.root()) not in run("ps", "-eo", "args")
