"""A real image registry that this machine pushes to and the embedded cluster's node pulls from, under one name.

The name is a loopback address, with which containerd speaks plain HTTP: no node needs another setting. One process
listens on this machine's loopback and one on the node's, and both serve the same folder. For the scenario that treats
the embedded cluster as somebody's own; it must not know which images there are.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from e2e.cluster import build
from e2e.cluster.netns import Holder
from e2e.cluster.process import Child, free_ports, wait_until


@contextmanager
def serving(*, folder: Path, node: Holder) -> Iterator[str]:
    """Serve a new store in the folder on both sides while it lasts; the value is the registry's `host:port`."""
    (port,) = free_ports(1)
    host = f"127.0.0.1:{port}"
    config = folder / "config.json"  # JSON is YAML
    storage = {"filesystem": {"rootdirectory": str(folder / "store")}}
    config.write_text(json.dumps({"version": "0.1", "storage": storage, "http": {"addr": host}}))
    program = [str(build.tool("registry")), "serve", str(config)]
    sides = {"here": program, "node": ["nsenter", f"--net=/proc/{node.inner}/ns/net", *program]}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder / "store", ignore_errors=True)
        for side, argv in sides.items():
            log = folder / f"registry-{side}.log"
            child = Child(name=f"registry ({side})", argv=argv, log=log, env={"OTEL_TRACES_EXPORTER": "none"})
            child.start()
            stack.callback(child.stop)
            # The node's cannot be asked from here.
            listens = partial(_says, log, f"listening on {host}")
            wait_until(listens, what="the registry", seconds=60, watched=[child])
        yield host


def trusted(*, folder: Path, host: str) -> dict[str, str]:
    """The environment in which buildah, too, speaks plain HTTP with this registry."""
    path = folder / "registries.conf"
    path.write_text(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n')
    return {"CONTAINERS_REGISTRIES_CONF": str(path)}


def _says(log: Path, words: str) -> bool:
    return words in log.read_text()
