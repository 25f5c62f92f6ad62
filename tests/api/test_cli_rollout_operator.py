"""`modelfleet rollout …` answered by the real operator, on a control plane with faked nodes."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.fleet import Fleet, Operator

pytestmark = pytest.mark.slow

names = (f"rollout-cli-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def operator(control_plane, tmp_path_factory):
    folder = tmp_path_factory.mktemp("operator")
    with Operator(plane=control_plane, folder=folder, user="operator-rollout-cli", debounce_seconds="0.1") as running:
        yield running


@pytest.fixture
def fleet(operator, control_plane):
    fleet = Fleet(plane=control_plane, namespace=next(names))
    yield fleet
    fleet.clear()


def call(fleet: Fleet, verb: str, *words: str) -> tuple[int, str]:
    """(exit status, what it said)."""
    argv = [str(Path(sys.executable).parent / "modelfleet"), "rollout", verb, "chat", "-n", fleet.namespace, *words]
    environment = {**os.environ, "KUBECONFIG": str(fleet.plane.kubeconfig)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=180)
    return done.returncode, done.stdout + done.stderr


def revisions(fleet: Fleet) -> set[str]:
    """The revisions that pods run."""
    return {pod["metadata"]["labels"]["modelfleet.dev/revision"] for pod in fleet.pods()}


def two_revisions(fleet: Fleet, **spec: Any) -> tuple[str, str]:
    """Rolls out a second revision; returns (the first, the second)."""
    fleet.apply(**spec)
    fleet.await_settled()
    (first,) = revisions(fleet)
    fleet.change()
    code, said = call(fleet, "status", "--watch")
    assert code == 0, said
    fleet.await_settled()
    (second,) = revisions(fleet)
    assert second != first
    return first, second


def test_undo_goes_back_and_holds_until_the_spec_changes(fleet):
    first, second = two_revisions(fleet)
    code, said = call(fleet, "history")
    assert code == 0, said
    assert [line.split()[:2] for line in said.splitlines()[1:]] == [["2", second], ["1", first]]
    spec = fleet.get("llmdeployments", "chat")["spec"]
    code, said = call(fleet, "undo", "--to", "1")
    assert (code, said.startswith("rollback-to chat: Done")) == (0, True), said
    code, said = call(fleet, "status", "--watch")
    assert code == 0, said
    fleet.until(lambda: revisions(fleet) == {first}, what="every replica at the first revision")
    assert f"{first} serves instead of {second}" in call(fleet, "status")[1]
    assert fleet.get("llmdeployments", "chat")["spec"] == spec
    fleet.change(length=1024)
    fleet.until(lambda: not revisions(fleet) & {first, second}, what="the third revision")
    assert "serves instead" not in call(fleet, "status")[1]


def test_abort_brings_the_old_revision_back_when_there_is_no_device_for_the_new_one(fleet):
    fleet.apply(replicas=1, accelerator=fleet.add_gpus(1))
    fleet.await_settled(replicas=1)
    (first,) = revisions(fleet)
    fleet.change()
    fleet.until(lambda: fleet.condition("Progressing")[1] == "WaitingForCapacity", what="the wait for a device")
    code, said = call(fleet, "abort")
    assert (code, said.startswith("abort chat: Done")) == (0, True), said
    code, said = call(fleet, "status", "--watch")
    assert code == 1
    assert f"{first} serves instead" in said
    assert revisions(fleet) == {first}


def test_what_an_update_without_steps_cannot_do_is_refused_in_words(fleet):
    fleet.apply(replicas=1, accelerator=fleet.add_gpus(1))
    fleet.await_settled(replicas=1)
    fleet.change()
    fleet.until(lambda: fleet.condition("Progressing")[1] == "WaitingForCapacity", what="the wait for a device")
    code, said = call(fleet, "promote")
    assert code == 1
    assert "promote chat: Refused: this strategy has no steps" in said
