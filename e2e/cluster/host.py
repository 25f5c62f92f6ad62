"""What the machine itself must offer: Debian packages and Go. Installs packages; builds and starts nothing."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

BASE_PROGRAMS = {"openssl": "openssl", "setpriv": "util-linux"}
"""Program -> Debian package that every level needs."""

WHOLE_PROGRAMS = {
    "buildah": "buildah",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "debootstrap": "debootstrap",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "ipset": "ipset",
    "iptables": "iptables",
    "jq": "jq",
    "modprobe": "kmod",
    "nft": "nftables",
    "prometheus": "prometheus",
    "runc": "runc",
    "sysctl": "procps",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
"""Program -> Debian package that only the whole cluster needs."""

GO_MINIMUM = (1, 26)
_POLICY = Path("/usr/sbin/policy-rc.d")
_LOCK = Path("/run/lock/modelfleet-packages.lock")


class HostError(Exception):
    """The machine lacks something; the message says how to get it."""


def ensure_programs(programs: dict[str, str]) -> None:
    """Installs the packages of those programs that are not there.

    Args:
        programs: Program name or absolute path -> Debian package.

    Raises:
        HostError: A package is missing and could not be installed.
    """
    missing = missing_packages(programs)
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise HostError(f"missing packages: {' '.join(missing)}. Install them, on Debian as root: {_command(missing)}")
    with _locked():  # tests that run beside each other miss the same packages
        if missing := missing_packages(programs):
            install(missing)
    if still := missing_packages(programs):
        raise HostError(f"installed, but their programs are not found: {' '.join(still)}. Check PATH: {_search_path()}")


def missing_packages(programs: dict[str, str]) -> list[str]:
    """Names the packages whose program is not found, sorted.

    >>> missing_packages({"/bin/sh": "dash", "/no/such/program": "nothing"})
    ['nothing']
    """
    return sorted({package for program, package in programs.items() if not shutil.which(program, path=_search_path())})


def install(packages: Sequence[str]) -> None:
    """Installs Debian packages without starting the services that they bring.

    Raises:
        HostError: apt-get failed; the message carries the end of its output.
    """
    Console(stderr=True).print(f"installing from Debian: {' '.join(packages)}", soft_wrap=True, highlight=False)
    guard = not _POLICY.exists()
    if guard:  # Debian starts daemons on install; the cluster runs its own in its own namespaces
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        result = subprocess.CompletedProcess[str]([], 1, "", "")
        for arguments in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *packages]):
            result = subprocess.run(
                ["apt-get", "-o", "DPkg::Lock::Timeout=300", *arguments],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
    finally:
        if guard:
            _POLICY.unlink(missing_ok=True)
    if result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
        raise HostError(f"`{_command(packages)}` failed; fix the cause below and run again:\n{tail}")


@contextmanager
def _locked() -> Iterator[None]:
    with _LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure_go() -> Path:
    """Finds a Go toolchain new enough to build the tools.

    Raises:
        HostError: None is found, or it is older than `GO_MINIMUM`.
    """
    wanted = ".".join(map(str, GO_MINIMUM))
    found = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    if found is None:
        raise HostError(f"Go {wanted} or newer is not found. Install it from https://go.dev/dl/ to /usr/local/go")
    said = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
    if (version := parse_go_version(said)) < GO_MINIMUM:
        have = ".".join(map(str, version))
        raise HostError(f"{found} is Go {have}, but {wanted} or newer is needed. Get it from https://go.dev/dl/")
    return Path(found)


def parse_go_version(text: str) -> tuple[int, int]:
    """Reads major and minor; text that names no version counts as too old.

    >>> parse_go_version("go1.26.8"), parse_go_version("devel")
    ((1, 26), (0, 0))
    """
    match = re.search(r"go(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


def _command(packages: Sequence[str]) -> str:
    return f"apt-get install -y --no-install-recommends {' '.join(packages)}"
