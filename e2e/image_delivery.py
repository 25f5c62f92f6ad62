"""How the project's images reach the nodes of a cluster that is not ours, the one that KUBECONFIG names.

By a registry (IMAGE_REGISTRY) that this machine may push to and the nodes pull from, or loaded into the nodes of a kind
cluster where the `kind` program is found. The embedded cluster needs none of this. Nothing here builds an image; only
`deliver` runs anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from e2e.images import BUILDAH, Image

VARIABLE = "IMAGE_REGISTRY"
KIND_PREFIX = "kind-"
"""What kind puts before the cluster's name in the contexts that it writes."""


class DeliveryError(Exception):
    """Images cannot get there; the message says what to set."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """By registry, or into a kind cluster: exactly one of the two is set."""

    registry: str = ""
    """Host and path before the image's own, such as `registry.example.org/team`."""
    kind: str = ""
    """Name of the kind cluster."""


def choose(*, environ: Mapping[str, str], context: str, kind_found: bool) -> Way:
    """Decide how images get to the cluster; a registry that was named wins.

    Args:
        environ: The environment.
        context: Current context of the kubeconfig.
        kind_found: Whether the `kind` program is there.

    Raises:
        DeliveryError: There is no way.

    >>> choose(environ={"IMAGE_REGISTRY": "registry.example.org/team/"}, context="prod", kind_found=True).registry
    'registry.example.org/team'
    >>> choose(environ={}, context="kind-dev", kind_found=True).kind
    'dev'
    """
    registry = environ.get(VARIABLE, "").strip().rstrip("/")
    if "://" in registry or " " in registry:
        raise DeliveryError(f"{VARIABLE} is {registry!r}; write host[:port][/path] without a scheme")
    if registry:
        return Way(registry=registry)
    if context.startswith(KIND_PREFIX) and kind_found:
        return Way(kind=context.removeprefix(KIND_PREFIX))
    missing = " (its context is a kind cluster's: install `kind` instead)" if context.startswith(KIND_PREFIX) else ""
    raise DeliveryError(
        f"the cluster of KUBECONFIG (context {context!r}) has no way to get the images that are built here; set {VARIABLE}"
        f" to a registry that you may push to and its nodes may pull from, such as registry.example.org/team{missing}"
    )


def name_there(image: Image, *, way: Way) -> str:
    """Name the image as the cluster's pods must ask for it.

    In a registry the tag is the content's: a node that pulled an older build must pull again.

    >>> image = Image(name="registry.local/modelfleet/operator:dev", archive=Path("operator.tar"), key="0123")
    >>> name_there(image, way=Way(registry="registry.example.org/team"))
    'registry.example.org/team/modelfleet/operator:0123'
    >>> name_there(image, way=Way(kind="dev"))
    'registry.local/modelfleet/operator:dev'
    """
    if not way.registry:
        return image.name
    path = image.name.split("/", 1)[1].rpartition(":")[0]
    return f"{way.registry}/{path}:{image.key}"


def commands(image: Image, *, way: Way) -> list[list[str]]:
    """The programs to run, in order, to bring the image there."""
    if way.kind:
        return [["kind", "load", "image-archive", str(image.archive), "--name", way.kind]]
    # What was not exported is in the store; where there is an archive, that is what was built.
    pull = [[*BUILDAH, "pull", "--quiet", f"docker-archive:{image.archive}"]] if image.archive.exists() else []
    # Gigabytes on two cores: twice as fast as gzip, and containerd has known it for years.
    push = [*BUILDAH, "push", "--quiet", "--compression-format=zstd", "--compression-level=1"]
    return [*pull, [*push, image.name, f"docker://{name_there(image, way=way)}"]]


def chart_values(*, operator: str, engine: str) -> dict[str, Any]:
    """What the chart must be told so that its pods ask for these names.

    >>> chart_values(operator="r:5000/modelfleet/operator:01", engine="r:5000/modelfleet/vllm-cpu:02")["image"]
    {'repository': 'r:5000/modelfleet/operator', 'tag': '01'}
    """
    repository, _, tag = operator.rpartition(":")
    return {
        "image": {"repository": repository, "tag": tag},
        "engineImages": {"vLLM": {"gpu": engine, "cpu": engine}},
    }


def way_to(kubeconfig: Path) -> Way:
    """Find the way to the cluster of a kubeconfig; DeliveryError says what to set."""
    return choose(environ=os.environ, context=current_context(kubeconfig), kind_found=shutil.which("kind") is not None)


def deliver(image: Image, *, way: Way) -> str:
    """Bring an image to a cluster and return the name that its pods must ask for.

    Raises:
        DeliveryError: A program failed; the message has its last words.
    """
    for command in commands(image, way=way):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip()[-500:]
            raise DeliveryError(f"{' '.join(command[:1] + command[-2:])}: {said}; check {VARIABLE} and its login")
    return name_there(image, way=way)


def current_context(kubeconfig: Path) -> str:
    """Read which of the kubeconfig's contexts is meant."""
    document = yaml.safe_load(kubeconfig.read_text()) or {}
    return str(document.get("current-context", ""))
