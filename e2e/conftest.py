"""Fixtures of the scenarios: the whole cluster with ModelFleet, brought up once and left up, and namespaces of tests."""

from __future__ import annotations

import fcntl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from e2e import fleet
from e2e.cluster import addons, external, whole
from e2e.doubles.gpus import Bench
from e2e.llm import Llm

SESSION_LOCK = Path("/run/lock/modelfleet-scenarios.lock")
"""There is one cluster on a machine: two sessions, of two clones, would take it from each other."""
LABEL = "modelfleet.dev/scenario"
"""On every namespace of a test."""
NEEDED_GPUS = 2
ADVERTISE = (
    "on a cluster without any, advertise them:"
    ' kubectl patch node NODE --subresource=status --type=merge -p \'{"status": {"capacity": {"nvidia.com/gpu": "4"}}}\''
)


@dataclass(frozen=True)
class Cluster:
    """What a scenario may ask of the cluster."""

    gpus: Bench

    @staticmethod
    def kubectl(*argv: str, stdin: str = "") -> str:
        return whole.kubectl(*argv, stdin=stdin)

    def apply(self, *manifests: Mapping[str, object]) -> None:
        self.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all([dict(each) for each in manifests]))

    @staticmethod
    def allocatable() -> int:
        """GPUs that the node offers."""
        return whole.gpus()

    @staticmethod
    def eventually(seen: Callable[[], object], *, equals: object, seconds: float = 120) -> None:
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
            time.sleep(0.3)
        pytest.fail(f"after {seconds:.0f} s: wanted {equals!r}, last seen {last!r}")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The whole cluster, adopted if it is healthy, and this session's own while it lasts; or the user's own."""
    found = Cluster(gpus=Bench(folder=whole.root() / "doubles"))
    if external.configured():
        whole.up()
        if (offered := found.allocatable()) < NEEDED_GPUS:
            pytest.fail(f"the nodes offer {offered} nvidia.com/gpu, the scenarios need {NEEDED_GPUS}: {ADVERTISE}")
        yield found
        return
    with SESSION_LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        whole.up()
        # Of a session that was killed: what it left running would take its time and its GPUs from this one.
        whole.kubectl("delete", "namespaces", "-l", LABEL, "--wait=false")
        yield found


@pytest.fixture(scope="session")
def modelfleet(cluster: Cluster) -> Cluster:
    """The cluster with today's chart and images."""
    fleet.load_images()
    fleet.install()
    return cluster


@contextmanager
def own_namespace() -> Iterator[str]:
    """Make a namespace that is removed with everything in it, without waiting for that."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    whole.kubectl("create", "namespace", name)
    try:
        whole.kubectl("label", "namespace", name, f"{LABEL}=")
        yield name
    finally:
        whole.kubectl("delete", "namespace", name, "--wait=false")


@contextmanager
def own_llm(*, model: str = "tiny") -> Iterator[Llm]:
    """Make a namespace with a model in a volume, for an LLMDeployment that is yet to be applied."""
    with own_namespace() as namespace:
        try:
            fleet.provide_model(namespace=namespace, model=model)
            yield Llm(namespace=namespace, model=model)
        finally:
            whole.kubectl("delete", "pv", f"{namespace}-{model}", "--ignore-not-found", "--wait=false")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:  # noqa: ARG001 - the cluster must be there
    """A namespace of the test's own."""
    with own_namespace() as name:
        yield name


@pytest.fixture
def llm(modelfleet: Cluster) -> Iterator[Llm]:  # noqa: ARG001 - ModelFleet must be there
    """An LLMDeployment of the test's own, with the tiny model; not applied yet."""
    with own_llm() as one:
        yield one


@pytest.fixture(scope="module")
def shared(modelfleet: Cluster) -> Iterator[Llm]:  # noqa: ARG001 - as above
    """An LLMDeployment of the file: each test applies what it needs, and finds the pods that are there already."""
    with own_llm() as one:
        yield one


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Names of the small images that the cluster always holds."""
    return {key: name for key, (name, _) in addons.images(folder=whole.root() / "images").items()}
