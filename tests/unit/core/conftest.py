"""Fixtures for decisions on the pure cluster."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.core.cluster import words
from tests.unit.core.staged_cluster import StagedCluster, scripted


@pytest.fixture
def judged() -> Iterator[Any]:
    """Make a cluster whose judge says what the test wants."""

    def make(*, gpus: int = 8, replicas: int = 2, rollout: dict[str, Any] | None = None, **more: Any) -> StagedCluster:
        options = {"strategy": "Canary", "scaleDownDelaySeconds": 60, **(rollout or {})}
        cluster = StagedCluster(spec=words(replicas=replicas, rollout=options), gpus=gpus, **more)
        cluster.history()
        return cluster

    with scripted():
        yield make
