"""The small images that the cluster itself needs, written straight from files of this machine.

Sits below `whole`. Nothing is pulled and no image builder is started: an image of one static program is a tar file.
Images of the project's own Dockerfiles are built elsewhere and only imported by `whole.load_image`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e.cluster.netns import run

REGISTRY = "registry.local/cluster"
"""A host of our own: such a name can never be pulled by accident."""

PAUSE = """\
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int s) { _exit(0); }
static void reap(int s) { while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) {
  signal(SIGINT, end); signal(SIGTERM, end); signal(SIGCHLD, reap);
  for (;;) pause();
}
"""


def libraries(*, program: Path) -> list[Path]:
    """The shared libraries that a program of this machine is linked with; none when it is static."""
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
    return [Path(found) for found in re.findall(r"(/\S+) \(0x", said)]


def write(
    *, folder: Path, name: str, files: Mapping[str, Path | bytes], command: Sequence[str], user: str
) -> tuple[str, Path]:
    """Write an image of exactly these files and return its full name (tag by content) and its archive.

    Args:
        folder: Where archives are kept; an archive that is there already is not written again.
        name: Last part of the image's name.
        files: Path in the image, without a leading slash, to a file of this machine or to its content.
        command: Entrypoint.
        user: Numeric "uid:gid".
    """
    contents = {path: (f if isinstance(f, bytes) else f.read_bytes()) for path, f in sorted(files.items())}
    digest = hashlib.sha256(json.dumps([list(command), user]).encode())
    for path, content in contents.items():
        digest.update(path.encode() + b"\0" + hashlib.sha256(content).digest())
    image = f"{REGISTRY}/{name}:{digest.hexdigest()[:12]}"
    archive = folder / f"{name}-{digest.hexdigest()[:12]}.tar"
    if archive.exists():
        return image, archive
    layer = _tar({"tmp/": b"", **contents})
    config = json.dumps({
        "architecture": "amd64", "os": "linux",
        "config": {"Entrypoint": list(command), "User": user, "Env": ["PATH=/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }).encode()  # fmt: skip
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"]}]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    partial = archive.with_suffix(".partial")
    partial.write_bytes(_tar({"config.json": config, "layer.tar": layer, "manifest.json": manifest}))
    partial.rename(archive)
    return image, archive


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path.rstrip("/"))
            info.mode = 0o755
            if path.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o1777
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def pause(*, folder: Path) -> tuple[str, Path]:
    """The image that holds a pod's namespaces: one static program, compiled here."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"pause-{hashlib.sha256(PAUSE.encode()).hexdigest()[:12]}"
    if not program.exists():
        source, partial = program.with_suffix(".c"), program.with_suffix(".partial")
        source.write_text(PAUSE)
        run("gcc", "-static", "-Os", "-s", "-o", str(partial), str(source))
        partial.rename(program)
    return write(folder=folder, name="pause", files={"pause": program}, command=["/pause"], user="65535:65535")


def of_program(*, folder: Path, name: str, program: Path, user: str) -> tuple[str, Path]:
    """An image of one program of this machine and the shared libraries that it is linked with."""
    files: dict[str, Path | bytes] = {f"bin/{name}": program}
    files |= {str(library).lstrip("/"): library for library in libraries(program=program)}
    files["etc/passwd"] = f"{name}:x:{user}:{name}:/tmp:/bin/false\n".encode()
    return write(folder=folder, name=name, files=files, command=[f"/bin/{name}"], user=user)
