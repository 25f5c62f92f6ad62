"""Every reason that a replica can give for its end has advice of its own, in the core and for the person who reads it."""

import ast
import json
from pathlib import Path

import pytest

from modelfleet.core.failures import ADVICE, diagnose
from modelfleet.core.world import Replica

SUPERVISOR = Path(__file__).resolve().parents[3] / "runtime-image" / "supervisor" / "modelfleet_supervisor"
KUBERNETES = {"ConfigMissing", "CrashLooping", "Evicted", "ImagePullFailed", "OutOfMemory", "PodsRefused"}
"""Reasons that the core reads from Kubernetes' own words."""


def written() -> set[str]:
    """Every reason in the supervisor's source: `Reason(reason=…)` and the first word of each rule."""
    found = set()
    for call in (node for path in SUPERVISOR.glob("*.py") for node in ast.walk(ast.parse(path.read_text()))):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            continue
        given = [keyword.value for keyword in call.keywords if keyword.arg == "reason"]
        if call.func.id == "_rule":
            given = call.args[:1]
        if call.func.id in {"Reason", "_rule"}:
            found |= {value.value for value in given if isinstance(value, ast.Constant)}
    return found


def failed(reason, message="the engine's own words"):
    said = json.dumps({"reason": reason, "message": message})
    replica = Replica(
        name="p", uid="u", resource_version="1", revision="r", ready=False, in_rotation=True,
        waiting_reason="CrashLoopBackOff", message=said,
    )  # fmt: skip
    return diagnose([replica])


def test_the_supervisors_reasons_are_found():
    assert {"ModelNotFound", "PortInUse", "ProbeTimeout", "DrainTimeout", "EngineDied", "EngineFailed"} <= written()


@pytest.mark.parametrize("reason", sorted(written()))
def test_a_reason_of_the_supervisor_is_told_with_advice_of_its_own(reason):
    failure = failed(reason)
    assert failure.reason == reason
    assert failure.message.startswith("the engine's own words; ")
    assert failure.message.endswith(ADVICE[reason])
    assert reason == "CrashLooping" or ADVICE[reason] != ADVICE["CrashLooping"]


def test_advice_of_the_supervisor_stands_alone():
    assert failed("EngineDied", "ended by SIGKILL; see the log").message == "ended by SIGKILL; see the log"


def test_what_a_stock_image_says_is_no_advice():
    replica = Replica(
        name="p", uid="u", resource_version="1", revision="r", ready=False, in_rotation=True,
        waiting_reason="CrashLoopBackOff", message="loading; 3 of 4 shards\ntorch: CUDA out of memory; tried 2 GiB",
    )  # fmt: skip
    assert diagnose([replica]).message == f"torch: CUDA out of memory; tried 2 GiB; {ADVICE['OutOfMemory']}"


def test_no_advice_is_for_a_reason_that_nobody_gives():
    assert set(ADVICE) - written() - KUBERNETES == set()
