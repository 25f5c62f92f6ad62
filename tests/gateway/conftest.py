"""One gateway with a real Envoy for each test: a start costs a third of a second."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.gateway import Gateway, gateway


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with gateway(tmp_path) as whole:
        yield whole
