"""What people do around a running model, and what happens to its operator: nothing that serves is restarted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from e2e import fleet, images
from e2e.cluster import whole
from e2e.conftest import Cluster
from e2e.llm import START_SECONDS, Llm, leaving, ready, restarts, uids

OPERATOR = (f"deployment/{fleet.RELEASE}", "-n", fleet.NAMESPACE)


@pytest.fixture
def serving(shared: Llm) -> Llm:
    """One ready replica."""
    shared.have(replicas=1)
    shared.await_alone()
    return shared


def untouched(llm: Llm, *, before: set[str]) -> bool:
    """Whether its pods are those of before, and none of their containers was started again."""
    pods = llm.owned("pods")
    return uids(pods) == before and restarts(pods) == 0


def looked_at(llm: Llm) -> None:
    """Return when an operator has done a whole pass: it has put back what was taken away."""
    name = llm.owned("poddisruptionbudgets")[0]["metadata"]["name"]
    llm.kubectl("delete", "poddisruptionbudget", name)
    llm.until("the budget is back", lambda: llm.owned("poddisruptionbudgets"))


def upgrade(llm: Llm, *, operator: images.Recipe) -> None:
    """Install the chart with an operator image, and return when no pod of another is left to lead."""
    fleet.load_images(operator)
    fleet.install(operator=operator)

    def led() -> bool:
        running = {c["image"] for pod in fleet.operators() for c in pod["spec"]["containers"]}
        return running == {fleet.name_there(operator)} and bool(fleet.leader())

    llm.until("one of the new leads", led)
    looked_at(llm)


def deployments(llm: Llm) -> dict[str, Any]:
    """The revisions' Deployments with replicas: name to spec."""
    return {d["metadata"]["name"]: d["spec"] for d in llm.owned("deployments") if d["spec"]["replicas"]}


def test_kubectl_wait_scale_and_suspend(serving: Llm) -> None:
    """Given one replica, when it is suspended and scaled, then nothing happens until it is resumed; wait tells when."""
    before = uids(serving.pods())
    wait = ("wait", "--for=condition=Ready", f"llmdep/{serving.name}", f"--timeout={START_SECONDS:.0f}s")
    serving.kubectl(*wait, timeout=START_SECONDS + 30)
    serving.patch({"suspend": True})
    serving.until("suspended", lambda: serving.condition("Suspended")[0] == "True")
    serving.kubectl("scale", f"llmdep/{serving.name}", "--replicas=2")
    generation = serving.body()["metadata"]["generation"]
    serving.until("the new number is seen", lambda: serving.status()["observedGeneration"] == generation)
    assert serving.status()["phase"] == "Suspended"
    assert [spec["replicas"] for spec in deployments(serving).values()] == [1]
    assert untouched(serving, before=before)
    serving.patch({"suspend": False})
    serving.until("a second one", lambda: len(serving.pods()) == 2)
    serving.kubectl(*wait, timeout=START_SECONDS + 30)
    assert serving.status()["readyReplicas"] == 2
    assert before < uids(serving.pods())


def test_an_edited_template_is_put_back(serving: Llm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a replica, when its Deployment is edited by hand, then the stored template is back and the pod untouched."""
    before, spec = uids(serving.pods()), deployments(serving)
    (name,) = spec
    monkeypatch.setenv("KUBE_EDITOR", "sed -i 's/name: VLLM_NO_USAGE_STATS/name: EDITED_BY_HAND/'")
    with serving.watched() as states:
        serving.kubectl("edit", f"deployment/{name}")
        told = serving.until(
            "the repair is told", lambda: [d for d in serving.decisions("Repair") if name in d["message"]]
        )
        assert told[-1]["reason"] == "TemplateDrifted"
        serving.until("the old template", lambda: deployments(serving)[name]["template"] == spec[name]["template"])
        serving.until("only the old pod", lambda: untouched(serving, before=before), seconds=START_SECONDS)
    assert all(before <= uids(pod for pod in state.values() if ready(pod)) for state in states)
    serving.until("settled", lambda: serving.condition("Drifted")[0] == "False")


@pytest.fixture
def operator() -> Iterator[None]:
    """The operator of today, two of it, is there again after the test."""
    yield
    whole.kubectl("scale", *OPERATOR, "--replicas=2")
    fleet.install()


@pytest.mark.usefixtures("operator")
def test_models_serve_without_an_operator(serving: Llm) -> None:
    """Given no operator, when a pod dies, then it is replaced; and when the operator is back, it restarts nothing."""
    whole.kubectl("scale", *OPERATOR, "--replicas=0")
    serving.until("no operator", lambda: not fleet.operators())
    (pod,) = serving.pods()
    serving.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")
    serving.until(
        "its successor",
        lambda: [p for p in serving.pods() if ready(p) and not uids([p]) & uids([pod])],
        seconds=START_SECONDS,
    )
    after = uids(serving.pods())
    serving.ask("the quick brown fox")
    whole.kubectl("scale", *OPERATOR, "--replicas=2")
    looked_at(serving)
    serving.await_settled(replicas=1)
    assert untouched(serving, before=after)


def test_a_leader_lost_in_the_middle_of_a_rollout(serving: Llm) -> None:
    """Given a revision that takes over, when the leading operator is deleted, then another ends the rollout right."""
    before = uids(serving.pods())
    leading = serving.until("a leader", fleet.leader)
    with serving.watched() as states:
        serving.change()
        serving.until("the new one loads", lambda: len(serving.pods()) == 2)
        whole.kubectl("delete", "pod", leading, "-n", fleet.NAMESPACE, "--wait=false")
        serving.await_settled(replicas=1)
        serving.await_alone()
    assert serving.until("a leader", fleet.leader) != leading
    assert not before & uids(serving.pods())
    assert min(sum(map(ready, state.values())) for state in states) == 1
    assert max(sum(not leaving(pod) for pod in state.values()) for state in states) == 2


@pytest.mark.usefixtures("operator")
def test_an_upgrade_with_another_renderer_restarts_nothing(serving: Llm, modelfleet: Cluster) -> None:  # noqa: ARG001
    """Given a replica, when the chart is upgraded to an operator that renders otherwise, then only new revisions tell."""
    before, old = uids(serving.pods()), renderings(serving)
    upgrade(serving, operator=images.NEXT_OPERATOR)
    assert untouched(serving, before=before)
    assert "next" not in old.values()
    assert renderings(serving) == old

    serving.change()
    serving.await_settled(replicas=1)
    now = renderings(serving)
    assert {name: now[name] for name in old} == old
    assert {now[name] for name in now.keys() - old.keys()} == {"next"}

    # Back again: an older operator leaves alone what a newer one has rendered.
    serving.await_alone()
    after = uids(serving.pods())
    upgrade(serving, operator=images.OPERATOR)
    assert untouched(serving, before=after)
    assert renderings(serving) == now


def renderings(llm: Llm) -> dict[str, str]:
    """Revision to the version of the renderer that wrote its template."""
    return {revision["hash"]: revision["renderingVersion"] for revision in llm.status()["revisions"]}
