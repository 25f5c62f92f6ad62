"""A real model is served: an LLMDeployment becomes a vLLM pod on a GPU that answers, with or without ModelFleet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e import fleet
from e2e.conftest import Cluster, own_llm
from e2e.doubles.gpus import RESOURCE
from e2e.llm import Llm, restarts, uids

QUESTION, ANSWER = "What is the capital of France?", "Paris"


@pytest.fixture
def real(modelfleet: Cluster) -> Iterator[Llm]:  # noqa: ARG001 - ModelFleet must be there
    """An LLMDeployment with the small real model; not applied yet."""
    with own_llm(model="smollm2") as one:
        yield one


@pytest.mark.short
def test_a_model_answers_and_outlives_the_operator(real: Llm) -> None:
    """Given ModelFleet, when an LLMDeployment is applied, then it answers; and still when the chart is uninstalled."""
    real.apply()
    real.await_settled(replicas=1)
    assert ANSWER in real.ask(QUESTION)

    (pod,) = before = real.pods()
    assert pod["spec"]["containers"][0]["resources"]["limits"][RESOURCE] == "1"
    query = f'vllm:num_requests_running{{namespace="{real.namespace}"}}'
    real.until("a scrape of vLLM", lambda: fleet.query(query))

    fleet.helm("uninstall", fleet.RELEASE, "--namespace", fleet.NAMESPACE, "--wait")
    try:
        real.until("no operator", lambda: not fleet.operators())
        assert ANSWER in fleet.ask(namespace=real.namespace, name=real.name, question=QUESTION)[0]
        assert uids(real.owned("pods")) == uids(before)
        assert real.body()["spec"]["replicas"] == 1
    finally:
        fleet.install()
    real.await_settled(replicas=1)
    assert uids(real.owned("pods")) == uids(before)
    assert restarts(real.pods()) == 0
