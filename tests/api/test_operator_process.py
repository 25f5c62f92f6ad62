"""What an operator's process says of itself: its probes, its metrics and its log."""

from __future__ import annotations

import re

import pytest

from e2e.cluster.api_only import ApiServer
from e2e.cluster.paths import CRD_DIR
from e2e.cluster.process import wait_until
from e2e.operator_process import ask
from tests.api.fleet import PATIENCE, Fleet, Operator

pytestmark = pytest.mark.slow

NAMESPACE = "process"


def probe(operator, path):
    answer = ask(operator.port, path)
    return answer.status_code, answer.text


@pytest.fixture
def early(tmp_path):
    """An operator that was started before its CRD was there."""
    with ApiServer(audit=True) as server:
        operator = Operator(plane=server, folder=tmp_path, user="operator")
        operator.launch()
        yield server, operator
        operator.stop()


def test_without_its_crd_it_is_alive_and_says_what_is_missing(early):
    server, operator = early
    missing = "llmdeployments cannot be listed"
    wait_until(lambda: missing in operator.readiness(), what=f"{missing} ({operator.log})", seconds=PATIENCE)
    status, message = probe(operator, "/readyz")
    assert status == 503
    assert "install the CRD" in message
    assert probe(operator, "/healthz") == (200, "ok"), "a restart would bring no CRD"
    server.apply_files(CRD_DIR)
    wait_until(operator.ready, what=f"ready ({operator.log})", seconds=PATIENCE)
    wait_until(lambda: operator.leads, what=f"leading ({operator.log})", seconds=PATIENCE)
    assert probe(operator, "/healthz") == (200, "ok")
    assert {"not.ready", "leading"} <= {event["event"] for event in operator.events()}


@pytest.fixture(scope="module")
def operator(control_plane, tmp_path_factory):
    folder = tmp_path_factory.mktemp("operator")
    # Nobody else's LLMDeployments wait in its queue.
    words = {"watch_namespaces": NAMESPACE, "tick_seconds": "3600"}
    with Operator(plane=control_plane, folder=folder, user="operator-process", **words) as running:
        yield running


@pytest.fixture
def fleet(operator, control_plane):
    fleet = Fleet(plane=control_plane, namespace=NAMESPACE)
    yield fleet
    fleet.clear()


def total(operator, family, **labels):
    """The sum of a family's samples that have these labels; None when it has no sample at all."""
    lines = re.findall(rf"^{family}(?:{{(.*)}})? (\S+)$", operator.metrics(), flags=re.MULTILINE)
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    found = [float(value) for said, value in lines if all(one in said for one in wanted)]
    return sum(found) if lines else None


def test_a_name_that_somebody_else_has_is_told_and_its_metrics_follow(fleet, operator, control_plane):
    calls, errors = "modelfleet_api_calls_total", "modelfleet_reconcile_errors_total"
    metadata, spec = {"name": "chat", "namespace": fleet.namespace}, {"ports": [{"port": 80}]}
    control_plane.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    fleet.apply()
    fleet.until(lambda: fleet.condition("Valid") == ("False", "NameTaken"), what="that it is told")
    assert "Service chat is there and not ours" in fleet.whole_condition("Valid")["message"]
    assert total(operator, errors, reason="NameTaken") >= 1
    fleet.until(lambda: total(operator, "modelfleet_queue_depth") == 1, what="its turn to come again")
    assert total(operator, calls, verb="create", kind="Service", code="409") >= 1
    tried = total(operator, calls, verb="create", kind="Service")
    fleet.apply("beside")
    fleet.await_settled("beside")
    assert total(operator, calls, verb="create", kind="Service") < tried + 5, "a taken name is tried every half minute"
    fleet.delete("services", "chat")
    fleet.until(lambda: fleet.condition("Valid")[0] == "True", what="that it is over")
    fleet.await_settled()
    made = total(operator, calls, verb="create", kind="Deployment", code="201")
    assert made == 4, "of each a dry run, and the creation"
    assert total(operator, "modelfleet_decisions_total", kind="Rollout", reason="RevisionStarted") >= 1
    assert total(operator, "modelfleet_reconcile_seconds_count") >= 2
    fleet.until(lambda: total(operator, "modelfleet_queue_depth") == 0, what="nobody waiting")


def test_its_log_tells_each_decision_with_whom_it_concerns(fleet, operator):
    fleet.apply("told")
    fleet.await_settled("told")
    started = [event for event in operator.events() if event["event"] == "decision"]
    mine = [event for event in started if event["llmdeployment"] == f"{fleet.namespace}/told"]
    assert mine[0]["reason"] == "RevisionStarted"
    assert {"level", "timestamp", "message", "after"} <= mine[0].keys()
