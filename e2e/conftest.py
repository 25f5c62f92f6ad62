"""Fixtures of the scenarios: the whole cluster, brought up once and left up, and a namespace for each test."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest
import yaml

from e2e.cluster import addons, whole
from e2e.cluster.node_config import NODE
from e2e.doubles.gpus import Bench


@dataclass(frozen=True)
class Cluster:
    """What a scenario may ask of the cluster."""

    gpus: Bench

    @staticmethod
    def kubectl(*argv: str, stdin: str = "") -> str:
        return whole.kubectl(*argv, stdin=stdin)

    def apply(self, *manifests: Mapping[str, object]) -> None:
        self.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all([dict(each) for each in manifests]))

    def allocatable(self) -> int:
        """GPUs that the node offers."""
        path = r"jsonpath={.status.allocatable.nvidia\.com/gpu}"
        return int(self.kubectl("get", "node", NODE, "-o", path) or 0)

    @staticmethod
    def eventually(seen: Callable[[], object], *, equals: object, seconds: float = 30) -> None:
        """Wait until `seen()` is what it should be; the failure shows what it was last."""
        deadline = time.monotonic() + seconds
        last: object = None
        while time.monotonic() < deadline:
            try:
                last = seen()
            except (RuntimeError, OSError) as error:
                last = error
            if last == equals:
                return
            time.sleep(0.1)
        pytest.fail(f"after {seconds:.0f} s: wanted {equals!r}, last seen {last!r}")


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The whole cluster, adopted if it is healthy."""
    whole.up()
    return Cluster(gpus=Bench(folder=whole.root() / "doubles"))


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, removed with everything in it."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Names of the small images that the cluster always holds."""
    return {key: name for key, (name, _) in addons.images(folder=whole.root() / "images").items()}
