"""One gateway with a real Envoy for each test: a start costs a third of a second."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from e2e.cluster.api_only import ApiServer
from e2e.cluster.paths import CRD_DIR
from tests.gateway.gateway import Gateway, gateway


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with gateway(tmp_path) as whole:
        yield whole


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """A real API server with our CRDs; no controller runs."""
    with ApiServer() as server:
        server.apply_files(CRD_DIR)
        yield server
