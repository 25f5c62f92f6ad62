"""What people do around a running model, and what happens to its operator: nothing that serves is restarted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from e2e import fleet, images
from e2e.cluster import external, whole
from e2e.conftest import Cluster
from e2e.llm import START_SECONDS, Llm, leaving, ready, restarts, uids
from e2e.streams import streams

OPERATOR = (f"deployment/{fleet.RELEASE}", "-n", fleet.NAMESPACE)
STREAMS = 6


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


def upgrade(llm: Llm, *, operator: images.Recipe, engine: str) -> None:
    """Install the chart with an operator image and a default engine image; no pod of another is left to lead."""
    fleet.load_images(operator)
    fleet.install(operator=operator, values={"engineImages": {"vLLM": {"gpu": engine, "cpu": engine}}})

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


def next_engine(engine: str) -> str:
    """Give the engine's image another name on the node; on a cluster that is not ours it keeps its only one."""
    if external.configured():
        return engine
    name = f"{engine}-next"
    whole.ctr("images", "tag", "--force", engine, name)
    return name


@pytest.mark.skipif(external.configured() is not None, reason="kills the API server")
def test_the_api_server_restarts_under_a_model_that_serves(serving: Llm) -> None:
    """Given streams, when the API server is killed, then none is lost, nothing restarts, and the next scale is done."""
    before, operators = uids(serving.pods()), fleet.operators()
    pid = whole.root() / "run" / "kube-apiserver.pid"
    killed = pid.read_text()
    with streams(serving, count=STREAMS) as flow:
        flow.await_finished()
        whole.restart("kube-apiserver")
        serving.until("a new API server", lambda: pid.read_text() != killed)
        serving.until("an answer of the API", serving.pods)
        flow.await_finished()
        serving.kubectl("scale", f"llmdep/{serving.name}", "--replicas=2")
        serving.await_settled(replicas=2)
        counts = flow.end()
    assert (counts["failed"], counts["cut"], counts["open"]) == (0, 0, 0), counts
    assert before < uids(serving.pods())
    assert restarts(serving.owned("pods")) == 0
    # Whoever led may have ended for want of its Lease: once, and another leads.
    serving.until("a leader", fleet.leader)
    assert uids(fleet.operators()) == uids(operators)
    assert restarts(fleet.operators()) - restarts(operators) <= 1


@pytest.mark.usefixtures("operator")
def test_an_upgrade_with_other_defaults_restarts_nothing(serving: Llm, modelfleet: Cluster) -> None:  # noqa: ARG001
    """Given a replica, when an operator with another renderer and engine image comes, then only new revisions tell."""
    before, old = uids(serving.pods()), renderings(serving)
    engine = fleet.name_there(images.VLLM_CPU)
    later = next_engine(engine)
    upgrade(serving, operator=images.NEXT_OPERATOR, engine=later)
    assert untouched(serving, before=before)
    assert "next" not in old.values()
    assert renderings(serving) == old

    serving.change()
    serving.await_settled(replicas=1)
    now = renderings(serving)
    assert {name: now[name] for name in old} == old
    assert {now[name] for name in now.keys() - old.keys()} == {"next"}
    assert engines(serving) == {later}

    # Back again: an older operator leaves alone what a newer one has rendered.
    serving.await_alone()
    after = uids(serving.pods())
    upgrade(serving, operator=images.OPERATOR, engine=engine)
    assert untouched(serving, before=after)
    assert engines(serving) == {later}
    assert renderings(serving) == now


def engines(llm: Llm) -> set[str]:
    """Images that its pods run."""
    return {pod["spec"]["containers"][0]["image"] for pod in llm.pods()}


def renderings(llm: Llm) -> dict[str, str]:
    """Revision to the version of the renderer that wrote its template."""
    return {revision["hash"]: revision["renderingVersion"] for revision in llm.status()["revisions"]}
