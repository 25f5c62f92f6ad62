"""Releases that are broken, on real vLLM behind real Envoy: each is taken back by itself, and stable loses no stream."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import fleet, images
from e2e.edge import Edge
from e2e.llm import ENGINE, START_SECONDS, Llm, restarts, uids
from e2e.prober import check, probing
from e2e.rollouts import begun, follow, reasons, unrouted, weights
from modelfleet.cli.rollout_view import serving as stable

PLUGINS: Path = images.ROOT / "e2e" / "faulty.py"
FOLDER = "/plugins"


def broken(plugin: str) -> dict[str, Any]:
    """Ask for an engine with a plug-in that does harm, as a merge patch."""
    mount = {"name": "engine", "volumeMounts": [{"name": "plugins", "mountPath": FOLDER}]}
    return {
        "engine": {
            "args": [*ENGINE["args"], f"--middleware=faulty.{plugin}"],
            "env": [*ENGINE["env"], {"name": "PYTHONPATH", "value": FOLDER}],
        },
        "template": {
            "spec": {"containers": [mount], "volumes": [{"name": "plugins", "configMap": {"name": "plugins"}}]}
        },
    }


def taken_back(llm: Llm, *, before: set[str]) -> None:
    """Only stable's pods are left, and the condition says that it was rolled back."""
    assert llm.condition("Degraded") == ("True", "RolledBack")
    llm.until("only stable's pods", lambda: uids(llm.owned("pods")) == before, seconds=START_SECONDS)
    assert restarts(llm.pods()) == 0


@pytest.mark.parametrize(
    ("plugin", "told"),
    # One that dies is taken back for its restarts, or before them for the requests that it lost.
    [("Errors", "attempts that failed"), ("Empty", "empty"), ("Dies", "EngineDied|attempts that failed")],
)
def test_a_canary_that_fails_its_requests_loses_them_alone(serving: Llm, edge: Edge, plugin: str, told: str) -> None:
    """Given a release that answers errors or nothing, or dies, when it rolls out, then it is taken back for that."""
    old, before = stable(serving.status()), uids(serving.pods())
    data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plugins"}}
    data |= {"data": {PLUGINS.name: PLUGINS.read_text()}}
    serving.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(data))
    with probing(serving, by=edge) as prober:
        prober.await_flow()
        serving.patch(broken(plugin))
        new = begun(serving)
        follow(serving, "the rollback", lambda status: "RolledBack" in reasons(status)[-1:])
        assert weights(serving.status()) == {old: 100}
        follow(serving, "every Envoy knows", partial(unrouted, revision=new))
        gone = prober.moment()
        prober.await_flow()
        blast = prober.end()
    # Whole streams without a word are this engine's fault; of the others none that was cut said [DONE].
    check(blast, revisions={old, new}, spared={old}, until={new: gone}, short=plugin == "Empty")
    assert blast.began("begun", of=new) <= gone, "no stream came after"
    assert blast.lost(of=new) > 0, "it was broken"
    assert re.search(told, serving.message("Degraded"))
    print(serving.message("Degraded"))
    taken_back(serving, before=before)


NEVER: dict[str, tuple[dict[str, Any], str]] = {
    "a flag that the engine does not know": (
        {"engine": {"args": [*ENGINE["args"], "--no-such-flag-at-all"]}},
        "InvalidEngineArgument",
    ),
    "a model that is not there": ({"model": {"uri": fleet.model_uri("tiny", folder="no-such-model")}}, "ModelNotFound"),
    "too little memory": (
        {"resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}},
        "OutOfMemory",
    ),
}
"""What is wrong → the change, and the reason that is told."""


@pytest.mark.parametrize("fault", NEVER)
def test_a_canary_that_never_starts_gets_no_traffic(serving: Llm, edge: Edge, fault: str) -> None:
    """Given a release that cannot start, when it rolls out, then it is rolled back without one request."""
    change, told = NEVER[fault]
    old, before = stable(serving.status()), uids(serving.pods())
    with probing(serving, by=edge) as prober:
        serving.patch(change)
        follow(serving, "the rollback", lambda status: "RolledBack" in reasons(status)[-1:])
        prober.await_flow()
        blast = prober.end()
    check(blast, revisions={old})
    assert told in serving.message("Degraded")
    print(serving.message("Degraded"))
    taken_back(serving, before=before)
