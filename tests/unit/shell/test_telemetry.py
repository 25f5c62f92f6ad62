"""Metrics of one LLMDeployment follow its status, and none of them outlives what it tells."""

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import generate_latest

from modelfleet.api.v1alpha1.status import LLMDeploymentStatus
from modelfleet.shell import telemetry

CHAT, MAIL = ("team", "chat"), ("team", "mail")
HELD: dict[str, Any] = {
    "startedAt": "1970-01-01T00:01:00Z",
    "weight": 25,
    "hold": "NoData",
    "holdStartedAt": "1970-01-01T00:02:00Z",
}


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    for key in (CHAT, MAIL):
        telemetry.forget(key)


def tell(key: tuple[str, str], **status: Any) -> None:
    LLMDeploymentStatus.model_validate(status)  # what is told here is a status that can be
    telemetry.tell(key, status)


def shown(name: str) -> list[str]:
    lines = generate_latest().decode().splitlines()
    return [line.removeprefix(name) for line in lines if line.startswith((f"{name}{{", f"{name} "))]


def condition(kind: str, status: str, reason: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": "1970-01-01T00:00:00Z"}


def test_a_held_rollout_is_shown_with_its_reason_and_since_when() -> None:
    tell(CHAT, rollout=HELD)
    one = 'llmdeployment="chat",model_namespace="team"'
    assert shown("modelfleet_rollout_held_timestamp_seconds") == [f'{{{one},reason="NoData"}} 120.0']
    assert shown("modelfleet_rollout_started_timestamp_seconds") == [f"{{{one}}} 60.0"]
    assert shown("modelfleet_rollout_weight_ratio") == [f"{{{one}}} 0.25"]


def test_another_reason_takes_the_place_of_the_first() -> None:
    tell(CHAT, rollout=HELD)
    tell(CHAT, rollout={**HELD, "hold": "Inconclusive"})
    (only,) = shown("modelfleet_rollout_held_timestamp_seconds")
    assert 'reason="Inconclusive"' in only


def test_a_rolling_update_that_waits_for_a_device_is_held_too() -> None:
    tell(CHAT, rollout={"startedAt": "1970-01-01T00:01:00Z", "capacityWaitStartedAt": "1970-01-01T00:03:00Z"})
    (only,) = shown("modelfleet_rollout_held_timestamp_seconds")
    assert 'reason="InsufficientCapacity"' in only
    assert only.endswith(" 180.0")


def test_a_hold_before_anything_began_is_shown() -> None:
    tell(CHAT, rollout={"revision": "b", "hold": "Window", "holdStartedAt": "1970-01-01T00:02:00Z"})
    (only,) = shown("modelfleet_rollout_held_timestamp_seconds")
    assert only.endswith('reason="Window"} 120.0')


def test_nothing_is_left_of_a_rollout_that_ended() -> None:
    tell(CHAT, rollout=HELD)
    tell(CHAT, phase="Ready")
    for name in ("held_timestamp_seconds", "started_timestamp_seconds", "weight_ratio", "overridden"):
        assert shown(f"modelfleet_rollout_{name}") == [], name


def test_a_rollback_is_shown_as_long_as_the_spec_asks_for_what_was_rolled_back() -> None:
    tell(CHAT, rollout={"override": {"specRevision": "b", "revision": "a", "reason": "RolledBack"}})
    (only,) = shown("modelfleet_rollout_overridden")
    assert 'reason="RolledBack"' in only


@pytest.mark.parametrize(
    ("conditions", "reasons"),
    [
        ([condition("Degraded", "False", "AsExpected")], []),
        ([condition("Degraded", "True", "OutOfMemory")], ["OutOfMemory"]),
        ([condition("Progressing", "False", "ProgressDeadlineExceeded")], ["ProgressDeadlineExceeded"]),
        ([condition("Progressing", "False", "UpToDate")], []),
    ],
)
def test_what_fails_is_shown_with_its_reason(conditions: list[dict[str, str]], reasons: list[str]) -> None:
    tell(CHAT, conditions=conditions)
    assert [line.split('reason="')[1].split('"')[0] for line in shown("modelfleet_degraded")] == reasons


def test_an_llmdeployment_that_is_gone_leaves_no_series_and_the_others_stay() -> None:
    tell(CHAT, rollout=HELD)
    tell(MAIL, rollout=HELD)
    assert shown("modelfleet_llmdeployments") == [" 2.0"]
    telemetry.forget(CHAT)
    assert shown("modelfleet_llmdeployments") == [" 1.0"]
    (only,) = shown("modelfleet_rollout_held_timestamp_seconds")
    assert 'llmdeployment="mail"' in only
