"""Fixtures of the scenarios on rollouts: one LLMDeployment and one client per file, brought back before each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from e2e import fleet
from e2e.conftest import Cluster, own_llm
from e2e.edge import Edge
from e2e.llm import ENGINE, RESOURCES, Llm
from e2e.rollouts import CANARY

AS_APPLIED: dict[str, Any] = {
    "replicas": 1,
    "scaling": None,
    "template": None,
    "engine": ENGINE,
    "resources": {**RESOURCES, "limits": None},
    "rollout": {"strategy": "RollingUpdate", "canary": None, "blueGreen": None, "analysis": None},
}
"""What a test may have changed, as a merge patch."""


@pytest.fixture(scope="module")
def made(modelfleet: Cluster) -> Iterator[Llm]:  # noqa: ARG001 - ModelFleet must be there
    """An LLMDeployment of the file, with one replica."""
    with own_llm() as llm:
        llm.apply(rollout=CANARY)
        llm.await_settled(replicas=1)
        yield llm


@pytest.fixture(scope="module")
def edge(made: Llm) -> Iterator[Edge]:
    found = fleet.edge(tenant=made.namespace)
    found.until(f"{made.namespace}/{made.name}", httpx.codes.OK)
    yield found
    found.revoke()


@pytest.fixture
def serving(made: Llm) -> Llm:
    """One replica, of the revision that the spec asks for; what is asked for next comes as a canary."""
    if made.condition("Degraded")[0] != "False" or not made.settled(replicas=1):
        made.patch({**AS_APPLIED, "model": {"uri": fleet.model_uri(made.model)}})
        made.change()
        made.await_settled(replicas=1)
    made.patch({"rollout": None})
    made.patch({"rollout": CANARY})
    made.await_alone()
    return made
