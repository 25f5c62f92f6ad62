"""Puts a scripted cluster in the place of every real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from modelfleet.cli import cluster
from tests.unit.cli.scripted_cluster import ScriptedCluster, Use


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Puts a scripted cluster in the place of every real one."""

    def put(scripted: ScriptedCluster) -> ScriptedCluster:
        @asynccontextmanager
        async def connect(**words: Any) -> AsyncIterator[ScriptedCluster]:
            scripted.opened = words
            yield scripted

        monkeypatch.setattr(cluster, "connect", connect)
        return scripted

    return put
