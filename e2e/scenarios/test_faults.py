"""What a user got wrong is told in a condition with what to do; the operator goes on, and a deletion never hangs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from e2e import fleet
from e2e.conftest import Cluster, own_llm
from e2e.llm import DRAIN_SECONDS, ENGINE, START_SECONDS, Llm, restarts, uids
from modelfleet.core.failures import ADVICE

ON_CPU = {"resource": "none"}
FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no-image": (
        {"engine": {**ENGINE, "image": "registry.local/nowhere/vllm:none"}},
        "ImagePullFailed",
        ADVICE["ImagePullFailed"],
    ),
    "no-model": (
        {"model": {"uri": fleet.model_uri("tiny", folder="nothing-here")}},
        "ModelNotFound",
        "check spec.model.uri",
    ),
    "bad-value": (
        {"engine": {**ENGINE, "args": [*ENGINE["args"], "--dtype=float13"]}},
        "InvalidEngineArgument",
        "correct spec.engine.args",
    ),
    "too-long": (
        {"engine": {**ENGINE, "args": [*ENGINE["args"], "--max-model-len=999999"]}},
        "ContextTooLong",
        "lower --max-model-len",
    ),
    "no-secret": (
        {"model": {"uri": fleet.model_uri("tiny"), "secretRef": {"name": "none"}}},
        "ConfigMissing",
        ADVICE["ConfigMissing"],
    ),
}
"""What is asked for, the reason that is told, and what is said to do: the engine's supervisor advises by itself."""


@pytest.fixture(scope="module")
def broken(modelfleet: Cluster) -> Iterator[dict[str, Llm]]:  # noqa: ARG001 - ModelFleet must be there
    """One LLMDeployment for each fault, all at once."""
    with own_llm() as one:
        every = {name: Llm(namespace=one.namespace, name=name) for name in FAULTS}
        for name, llm in every.items():
            llm.apply(accelerator=ON_CPU, **FAULTS[name][0])
        yield every


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_with_what_to_do(broken: dict[str, Llm], name: str) -> None:
    """Given something that cannot work, when it is applied, then conditions name it and say what to do about it."""
    before, llm, (_, reason, advice) = fleet.operators(), broken[name], FAULTS[name]
    llm.until(reason, lambda: llm.condition("Degraded") == ("True", reason), seconds=START_SECONDS)
    assert llm.condition("Ready") == ("False", reason)
    assert advice in llm.message("Ready")
    assert llm.status()["phase"] == "Degraded"
    events = ("events", f"--for=llmdeployment.modelfleet.dev/{name}")
    llm.until("an Event tells it too", lambda: reason in llm.kubectl(*events))
    assert len(before) == 2
    after = fleet.operators()
    assert (uids(after), restarts(after)) == (uids(before), restarts(before))


def test_what_was_missing_heals_it(broken: dict[str, Llm]) -> None:
    """Given a replica that waits for its Secret, when the Secret is made, then the model serves."""
    llm = broken["no-secret"]
    llm.kubectl("create", "secret", "generic", "none", "--from-literal=HF_TOKEN=x")
    llm.await_settled(replicas=1)
    assert llm.condition("Degraded")[0] == "False"


def test_deleted_while_it_loads(llm: Llm) -> None:
    """Given a replica that loads its model, when the LLMDeployment is deleted, then all of it is gone in seconds."""
    llm.apply()
    llm.until("a loading engine", lambda: [p for p in llm.pods() if p["status"]["phase"] == "Running"])
    llm.until("that is told", lambda: "1 loading the model" in llm.message("Ready"))
    llm.kubectl("delete", "llmdep", llm.name, "--wait=true", "--timeout=60s")
    kinds = "pods,replicasets,deployments,controllerrevisions,services,endpointslices,poddisruptionbudgets"
    # Below its grace: an engine that has served nobody is not waited for.
    llm.until("nothing left", lambda: not llm.owned(kinds), seconds=DRAIN_SECONDS / 2)
