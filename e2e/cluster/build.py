"""Builds the cluster's programs from the pinned Go modules in `tools/`, once per content; starts none of them.

A program lives in `<cache>/bin/<name>-<digest>/<name>`, where the digest covers go.mod, go.sum, the package and the
flags. It is built beside that folder and renamed into place, so a half-written build is never used.

`tool("kubectl")` is what other modules call; `ensure(...)` builds several with one progress display.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from e2e.cluster import host
from e2e.cluster.paths import CACHE_DIR, TOOLS_DIR

_KUBERNETES = "v1.36.3"
_VERSION = "k8s.io/component-base/version"
_KUBERNETES_FLAGS = (  # without them the server reports v0.0.0-master and clients misjudge it
    f"-s -w -X {_VERSION}.gitVersion={_KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=36"
)
_UNSUMMED = "github.com/k3s-io/kube-router/v2"
"""A fork the checksum database does not know; its hash is still pinned by go.sum."""


class BuildError(Exception):
    """A program could not be built; the message names it and carries the end of Go's output."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One program of one Go module.

    Attributes:
        module: Folder under `tools/`.
        package: Go package of the program.
        ldflags: Flags for the linker.
    """

    module: str
    package: str
    ldflags: str = "-s -w"


def _kubernetes(name: str) -> Tool:
    return Tool(module="kubernetes", package=f"k8s.io/kubernetes/cmd/{name}", ldflags=_KUBERNETES_FLAGS)


TOOLS = {
    "kube-apiserver": _kubernetes("kube-apiserver"),
    "etcd": Tool(module="etcd", package="go.etcd.io/etcd/server/v3"),
    "kubectl": _kubernetes("kubectl"),
    "kube-controller-manager": _kubernetes("kube-controller-manager"),
    "kube-scheduler": _kubernetes("kube-scheduler"),
    "kubelet": _kubernetes("kubelet"),
    "kube-proxy": _kubernetes("kube-proxy"),
    "helm": Tool(module="helm", package="helm.sh/helm/v4/cmd/helm"),
    "envoy-gateway": Tool(module="envoy-gateway", package="github.com/envoyproxy/gateway/cmd/envoy-gateway"),
    "kwok": Tool(module="kwok", package="sigs.k8s.io/kwok/cmd/kwok"),
    "coredns": Tool(module="coredns", package="github.com/coredns/coredns"),
    "glua": Tool(module="gopher-lua", package="github.com/yuin/gopher-lua/cmd/glua"),
    "cert-manager": Tool(module="cert-manager", package="modelfleet.dev/e2e/cluster/tools/cert-manager"),
    "registry": Tool(module="registry", package="github.com/distribution/distribution/v3/cmd/registry"),
    "kube-router": Tool(module="kube-router", package="github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"),
}

API_TOOLS = ("etcd", "kube-apiserver")
CONTROL_TOOLS = (*API_TOOLS, "kube-controller-manager", "kube-scheduler", "kwok", "kubectl")


def tool(name: str) -> Path:
    """Path of a program, built first if this content of it is not in the cache.

    Raises:
        BuildError: The build failed, or no tool has that name.
        HostError: Go or a Debian package is missing.
    """
    return ensure([name])[name]


def ensure(names: Iterable[str]) -> dict[str, Path]:
    """Paths of several programs, building those that are missing, with a line of progress for each."""
    paths = {name: path_of(name) for name in names}
    missing = [name for name, path in paths.items() if not path.is_file()]
    if missing:
        host.ensure_programs(host.BASE_PROGRAMS)
        go = host.ensure_go()
        terminal = Console(stderr=True)
        with _locked(), _progress(terminal) as progress:
            for name in missing:
                row = progress.add_task(f"building {name}", total=1)
                if not paths[name].is_file():  # another process may have built it while this one waited
                    if not terminal.is_terminal:  # where the progress itself is not shown
                        terminal.print(f"building {name}", soft_wrap=True, highlight=False)
                    _build(name=name, go=go, target=paths[name])
                progress.update(row, completed=1, description=f"built {name}")
    return paths


def path_of(name: str) -> Path:
    """Where the program lies once it is built."""
    if name not in TOOLS:
        raise BuildError(f"no tool is called {name!r}; there are: {', '.join(sorted(TOOLS))}")
    return CACHE_DIR / "bin" / f"{name}-{digest(TOOLS[name])}" / name


def digest(wanted: Tool, *, tools_dir: Path = TOOLS_DIR) -> str:
    """Twelve hex digits over all that decides what the program is."""
    total = hashlib.sha256()
    for content in (
        (tools_dir / wanted.module / "go.mod").read_bytes(),
        (tools_dir / wanted.module / "go.sum").read_bytes(),
        wanted.package.encode(),
        wanted.ldflags.encode(),
        *(path.read_bytes() for path in sorted((tools_dir / wanted.module).glob("*.go"))),
    ):
        total.update(hashlib.sha256(content).digest())  # of fixed length, so no two lists run together alike
    return total.hexdigest()[:12]


def module_dir(*, module: str, path: str) -> Path:
    """Folder of a dependency's source, downloaded if need be: for the files that it ships beside its code.

    Args:
        module: Folder under `tools/`.
        path: Module path, such as `sigs.k8s.io/kwok`.

    Raises:
        BuildError: The module could not be downloaded.
    """
    go, folder = host.ensure_go(), TOOLS_DIR / module
    _go([str(go), "mod", "download", path], folder=folder, what=path)
    return Path(_go([str(go), "list", "-m", "-f", "{{.Dir}}", path], folder=folder, what=path).strip())


def _build(*, name: str, go: Path, target: Path) -> None:
    wanted = TOOLS[name]
    parent = target.parent.parent
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f".{name}-*"):  # of a build that was killed: no other runs while this one has the lock
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=parent) as scratch:
        built = Path(scratch) / "bin" / name
        built.parent.mkdir()
        arguments = ["build", "-trimpath", f"-ldflags={wanted.ldflags}", "-o", str(built), wanted.package]
        _go([str(go), *arguments], folder=TOOLS_DIR / wanted.module, what=name)
        shutil.rmtree(target.parent, ignore_errors=True)
        built.parent.rename(target.parent)


def _go(argv: list[str], *, folder: Path, what: str) -> str:
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly",  # a build must never change what the repository pins
        "GONOSUMDB": ",".join(filter(None, (os.environ.get("GONOSUMDB"), _UNSUMMED))),
    }
    result = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        tail = "\n".join(result.stderr.splitlines()[-20:])
        raise BuildError(f"`{' '.join(argv)}` in {folder} failed while making {what}:\n{tail}")
    return result.stdout


@contextmanager
def _locked() -> Iterator[None]:
    """One build at a time on the machine: two at once take longer than one after the other."""
    CACHE_DIR.mkdir(parents=True, exist_ok=True)
    with (CACHE_DIR / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _progress(console: Console) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)
