"""Container images without a registry: a debootstrap base, buildah builds, archives.

Sits beside the cluster, which imports the archives into its containerd. It must not know what
runs in the images, and nothing of this machine (package index, CA bundle) may enter them: those
are mounted for the build only. Everything is cached by the content of what goes in.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("MODELFLEET_CACHE_DIR", "/var/cache/modelfleet-cluster"))
BUILDAH = ("buildah", "--root", str(CACHE / "buildah"), "--runroot", "/run/modelfleet-buildah")
"""With the store that images are built in."""
BASE = "docker.io/library/debian:bookworm-slim"
PACKAGES = ("buildah", "debootstrap")
SUITE = "bookworm"
# What Debian's slim image leaves out as well.
SLIM = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/cache/apt", "var/lib/apt/lists")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What one image is built from: its hash is over exactly these things."""

    name: str
    context: str
    """Folder of the build context, relative to the repository root or absolute."""
    dockerfile: str
    """The Dockerfile, relative to the repository root."""
    inputs: tuple[str, ...]
    """Files and folders below the context that the Dockerfile copies; nothing else is seen by the build."""
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Image:
    """A built image, exported."""

    name: str
    archive: Path
    """Archive for `ctr -n k8s.io image import`."""
    key: str
    """Content hash of the recipe."""


VLLM_CPU = Recipe(
    name="registry.local/modelfleet/vllm-cpu:dev",
    context="runtime-image",
    dockerfile="runtime-image/Dockerfile",
    inputs=("requirements-cpu.txt", "vllm-metadata", "modelfleet-supervise", "supervisor"),
)
OPERATOR = Recipe(
    name="registry.local/modelfleet/operator:dev",
    context=".",
    dockerfile="operator/Dockerfile",
    inputs=("pyproject.toml", "README.md", "LICENSE", "operator/src"),
)
ENVOY = Recipe(
    name="registry.local/modelfleet/envoy:dev",
    context="e2e/envoy-image",
    dockerfile="e2e/envoy-image/Dockerfile",
    inputs=(),
)
NEXT_OPERATOR = replace(OPERATOR, name="registry.local/modelfleet/operator:next", args={"RENDERING_VERSION": "next"})
"""The operator with another version of its renderer, as a later release would have: tests upgrade to it."""


def build(recipe: Recipe, *, export: bool = True) -> Image:
    """Build an image, or return at once if the same inputs were built before.

    Args:
        recipe: what it is made from.
        export: also write the archive, which takes longer than a build that changed little.

    Raises:
        subprocess.CalledProcessError: the build failed; the end of its log has been printed to stderr.
    """
    key = content_key(recipe)
    short = recipe.name.rsplit("/", 1)[-1].replace(":", "-")
    archive = CACHE / "images" / f"{short}-{key}.tar"
    image = Image(name=recipe.name, archive=archive, key=key)
    if archive.exists():
        return image
    with locked("images"):
        built = CACHE / "images" / f"{short}.built"
        if not (built.exists() and built.read_text() == key and _stored(recipe.name)):
            base_image()
            _build(recipe=recipe)
            built.write_text(key)
        if export and not archive.exists():
            _export(name=recipe.name, archive=archive)
            for old in archive.parent.glob(f"{short}-*.tar"):
                if old != archive:
                    old.unlink()
    return image


def content_key(recipe: Recipe) -> str:
    """The first 16 hex digits of SHA-256 over name, arguments, Dockerfile and every input file."""
    digest = hashlib.sha256(repr((recipe.name, sorted(recipe.args.items()), SUITE)).encode())
    for path in _files(recipe):
        digest.update(f"\0{_known_as(path, recipe)}\0{os.access(path, os.X_OK)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def base_image() -> None:
    """Make the base image under Debian's own name, so that Dockerfiles need no change. About 25 s once."""
    if _stored(BASE):
        return
    require_packages()
    with tempfile.TemporaryDirectory(dir=_folder("tmp")) as temporary, step("base image by debootstrap"):
        root = Path(temporary, "root")
        subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, str(root)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for name in SLIM:
            shutil.rmtree(root / name, ignore_errors=True)
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)
        (root / "var/lib/apt/lists/partial").mkdir(parents=True)
        container = _buildah("from", "scratch").stdout.strip()
        try:
            _buildah("add", "--quiet", container, str(root), "/")
            _buildah("config", "--cmd", "bash", container)
            _buildah("commit", "--quiet", "--disable-compression", container, BASE)
        finally:
            _buildah("rm", container, check=False)


def run(*, image: Image, command: list[str], volumes: tuple[str, ...] = ()) -> None:
    """Run a command as root in a throw-away container of a built image, with the host's network.

    Args:
        image: what `build` returned.
        command: program and arguments, found on the image's PATH.
        volumes: `host:container[:ro]` mounts.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    with _container(image=image) as name:
        mounts = [f"--volume={volume}" for volume in volumes]
        options = ["--isolation", "chroot", "--network", "host", "--user", "0:0", *mounts]
        subprocess.run([*BUILDAH, "run", *options, name, "--", *command], check=True)


@contextmanager
def mounted(*, image: Image) -> Iterator[Path]:
    """The root folder of a throw-away container, for tests that start its programs under their own hands."""
    with _container(image=image) as name:
        yield Path(_buildah("mount", name).stdout.strip())


def store(image: Image) -> None:
    """Take an image of which only the archive is left back to where images are built."""
    if not _stored(image.name):
        with step(f"load {image.name}"):
            loaded = _buildah("pull", "--quiet", f"docker-archive:{image.archive}").stdout.strip()
            _buildah("tag", loaded, image.name)


@contextmanager
def _container(*, image: Image) -> Iterator[str]:
    store(image)
    name = _buildah("from", "--pull-never", image.name).stdout.strip()
    try:
        yield name
    finally:
        _buildah("umount", name, check=False)
        _buildah("rm", name, check=False)


def require_packages() -> None:
    """Install the Debian packages this module calls, if they are missing."""
    missing = [name for name in PACKAGES if shutil.which(name) is None]
    if missing:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True)


def _files(recipe: Recipe) -> list[Path]:
    found = {ROOT / recipe.dockerfile}
    for name in recipe.inputs:
        path = ROOT / recipe.context / name
        found |= {path} if path.is_file() else {p for p in path.rglob("*") if p.is_file()}
    # What tools leave behind in a folder is no input: a clone without it makes the same image.
    return sorted(p for p in found if not any(n == "__pycache__" or n[0] == "." for n in _known_as(p, recipe).parts))


def _known_as(path: Path, recipe: Recipe) -> Path:
    return path.relative_to(ROOT if path.is_relative_to(ROOT) else recipe.context)


def _build(*, recipe: Recipe) -> None:
    context_root = ROOT / recipe.context
    with tempfile.TemporaryDirectory(dir=_folder("tmp")) as temporary, step(f"build {recipe.name}"):
        context = Path(temporary, "context")
        for path in _files(recipe):
            if path.is_relative_to(context_root):
                target = context / path.relative_to(context_root)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
                # Layers are cached by content and time of change; only the content may count.
                os.utime(target, (0, 0))
        argv = ["build", "--isolation", "chroot", "--network", "host", "--pull=never", "--layers"]
        argv += ["--file", str(ROOT / recipe.dockerfile), "--tag", recipe.name]
        argv += [f"--volume={_pip_settings(Path(temporary, 'pip'))}:/root/.config/pip:ro"]
        for key, value in recipe.args.items():
            argv += ["--build-arg", f"{key}={value}"]
        log = _folder("images") / "last-build.log"
        with log.open("w") as out:
            done = subprocess.run([*BUILDAH, *argv, str(context)], stdout=out, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            sys.stderr.write("\n".join(log.read_text(errors="replace").splitlines()[-40:]) + "\n")
            raise subprocess.CalledProcessError(done.returncode, ["buildah", "build", recipe.name])


def _pip_settings(folder: Path) -> Path:
    """This machine's pip settings and CA bundle, to be mounted for the build and nothing longer."""
    folder.mkdir()
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    found = {
        name.strip().split(".")[-1]: value.strip("'")
        for name, _, value in (line.partition("=") for line in listed.stdout.splitlines())
    }
    lines = ["[global]"]
    bundle = found.get("cert") or os.environ.get("SSL_CERT_FILE", "")
    if bundle and Path(bundle).is_file():
        shutil.copy(bundle, folder / "ca.crt")
        lines.append("cert = /root/.config/pip/ca.crt")
    lines += [
        f"{key} = {found[key]}" for key in ("index-url", "extra-index-url", "trusted-host", "proxy") if key in found
    ]
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    return folder


def _export(*, name: str, archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with step(f"export {name}"):
        # An OCI archive would be compressed, whatever is asked for: minutes for the vLLM image.
        _buildah("push", "--quiet", name, f"docker-archive:{partial}:{name}")
        partial.rename(archive)


def _stored(name: str) -> bool:
    return _buildah("inspect", "--type", "image", name, check=False).returncode == 0


def _folder(name: str) -> Path:
    folder = CACHE / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _buildah(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    require_packages()
    return subprocess.run([*BUILDAH, *arguments], capture_output=True, text=True, check=check)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock between processes; a dead holder frees it."""
    with (_folder("locks") / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what begins and how long it took."""
    started = time.monotonic()
    print(f"  {title} ...", flush=True)
    yield
    print(f"  {title}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    print(build(VLLM_CPU).archive)
