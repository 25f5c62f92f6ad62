"""What all tests of this tree share: settings of the programs that they start, and one real API server."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from e2e.cluster import host
from e2e.cluster.api_only import ApiServer
from e2e.cluster.paths import CRD_DIR

# Kubernetes' own programs live for seconds here, and a third of their CPU time would be garbage collection.
os.environ.setdefault("GOGC", "400")
# What `make test-nightly` explores: other examples every time.
settings.register_profile(
    "nightly",
    max_examples=1000,
    deadline=None,
    derandomize=False,  # said here because Hypothesis starts from its own profile for CI where it finds itself in one
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(scope="session")
def prometheus_programs() -> None:
    """Prometheus and promtool of Debian, installed if they are missing; who may not install is told how to."""
    host.ensure_programs({"prometheus": "prometheus", "promtool": "prometheus"})


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """Level 1 with our CRDs: what is admitted, applied and stored. No controller runs; tests keep to own names."""
    with ApiServer() as server:
        server.apply_files(CRD_DIR)
        yield server
