"""`modelfleet rollout …` against a real kube-apiserver; the test plays the operator by writing status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from e2e.cluster.api_only import ApiServer
from e2e.cluster.build import tool
from e2e.cluster.process import wait_until
from modelfleet.core.rollout.actions import ANNOTATION, Action, parse

Json = dict[str, Any]

GROUP = "/apis/modelfleet.dev/v1alpha1/namespaces/default/llmdeployments"
REVISIONS = "/apis/apps/v1/namespaces/default/controllerrevisions"
STABLE, CANARY = "1bbbbbbbbb", "2ccccccccc"
MERGE = {"Content-Type": "application/merge-patch+json"}
PATIENCE = 60.0
ROOT = Path(__file__).resolve().parents[2]
ROLE = next(
    role
    for block in (ROOT / "docs/how-to/roll-back.md").read_text().split("```yaml\n")[1:]
    if (role := yaml.safe_load(block.partition("```")[0]))["kind"] == "Role"
)
"""What the docs say that a person needs."""


def rolling(step: int = 1, weight: int = 25, **more: Any) -> Json:
    words = {"strategy": "Canary", "revision": CANARY, "phase": "Step", "step": step, "steps": 3, "weight": weight}
    return {**words, **more}


class Deployment:
    """An LLMDeployment and the pretended operator that looks after it."""

    def __init__(self, *, api: ApiServer, name: str) -> None:
        self.api, self.name = api, name
        spec = {"model": {"uri": "hf://org/model", "servedName": name}, "replicas": 1}
        self.made = api.apply(
            {
                "apiVersion": "modelfleet.dev/v1alpha1",
                "kind": "LLMDeployment",
                "metadata": {"name": name, "namespace": "default"},
                "spec": spec,
            }
        )

    def get(self) -> Json:
        found: Json = self.api.http.get(f"{GROUP}/{self.name}").json()
        return found

    def report(self, rollout: Json) -> None:
        roles = {STABLE: "stable", CANARY: "canary" if rollout.get("phase") else "old"}
        revisions = [{"name": f"{self.name}-{one}", "hash": one, "role": role} for one, role in roles.items()]
        status = {
            "observedGeneration": self.get()["metadata"]["generation"],
            "rollout": rollout,
            "revisions": revisions,
        }
        answer = self.api.http.patch(
            f"{GROUP}/{self.name}/status", headers=MERGE, content=json.dumps({"status": status})
        )
        assert answer.is_success, answer.text

    def asked(self) -> Action:
        """The action that was written; waits for it."""

        def written() -> Action | None:
            read = parse((self.get()["metadata"].get("annotations") or {}).get(ANNOTATION))
            return read if isinstance(read, Action) else None

        wait_until(lambda: written() is not None, what=f"an action on {self.name}", seconds=PATIENCE)
        found = written()
        assert found is not None
        return found

    def store(self, *, revision: str, number: int) -> None:
        owner = {"apiVersion": "modelfleet.dev/v1alpha1", "kind": "LLMDeployment", "name": self.name}
        self.api.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "metadata": {
                    "name": f"{self.name}-{revision}",
                    "namespace": "default",
                    "labels": {
                        "app.kubernetes.io/managed-by": "modelfleet",
                        "modelfleet.dev/llmdeployment": self.name,
                        "modelfleet.dev/revision": revision,
                    },
                    "ownerReferences": [{**owner, "uid": self.made["metadata"]["uid"]}],
                },
                "revision": number,
                "data": {"template": {}},
            }
        )


@pytest.fixture
def deployment(api: ApiServer) -> Iterator[Callable[[], Deployment]]:
    """Makes an LLMDeployment for this test alone."""
    made: list[Deployment] = []

    def make() -> Deployment:
        made.append(Deployment(api=api, name=f"rollout-{uuid4().hex[:8]}"))
        return made[-1]

    yield make
    for one in made:
        api.http.delete(f"{GROUP}/{one.name}")


@contextmanager
def started(kubeconfig: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The command line as a process of its own."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": path}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """(exit status, standard output, standard error)."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def call(api: ApiServer, *words: str, kubeconfig: Path | None = None) -> tuple[int, str, str]:
    with started(kubeconfig or api.kubeconfig, "modelfleet", "rollout", *words) as process:
        return finished(process)


def test_promote_writes_one_annotation_and_waits_for_the_answer(api: ApiServer, deployment):
    one = deployment()
    one.report(rolling())
    before = one.get()
    with started(api.kubeconfig, str(tool("kubectl")), "modelfleet", "rollout", "promote", one.name) as process:
        wish = one.asked()
        assert (wish.verb, wish.revision) == ("promote", CANARY)
        one.report(rolling(step=2, weight=50, lastAction={"id": "of-somebody-else", "result": "Done"}))
        one.report(rolling(step=2, lastAction={"id": wish.id, "result": "Done", "message": "weight 50 is next"}))
        code, out, err = finished(process)
    assert (code, err) == (0, ""), err
    assert out == f"promote {one.name}: Done: weight 50 is next\n"
    after = one.get()
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], before["metadata"]["generation"])
    (ours,) = [f for f in after["metadata"]["managedFields"] if f["manager"] == "modelfleet-cli"]
    assert ours["fieldsV1"] == {"f:metadata": {"f:annotations": {".": {}, f"f:{ANNOTATION}": {}}}}


def test_a_refusal_is_the_commands_own_failure(api: ApiServer, deployment):
    one = deployment()
    one.report(rolling())
    with started(api.kubeconfig, "modelfleet", "rollout", "abort", one.name) as process:
        one.report(rolling(lastAction={"id": one.asked().id, "result": "Refused", "message": "not now"}))
        code, _, err = finished(process)
    assert (code, err) == (1, f"abort {one.name}: Refused: not now\n")


def test_without_an_operator_it_says_so(api: ApiServer, deployment):
    one = deployment()
    one.report(rolling())
    code, _, err = call(api, "pause", one.name, "--timeout", "1")
    assert code == 3
    assert "kubectl get pods,leases" in err
    assert one.asked().verb == "pause"


def test_undo_goes_to_a_stored_revision_and_history_lists_it(api: ApiServer, deployment):
    one = deployment()
    one.store(revision=STABLE, number=1)
    one.store(revision=CANARY, number=2)
    one.report({"previous": CANARY})
    code, out, err = call(api, "history", one.name)
    assert code == 0, err
    newest, oldest = out.splitlines()[1:]
    assert newest.startswith(f"  2       {CANARY}")
    assert newest.endswith("<- undo goes here")
    assert oldest.split()[:2] == ["1", STABLE]
    with started(api.kubeconfig, "modelfleet", "rollout", "undo", one.name, "--to", "1") as process:
        wish = one.asked()
        assert (wish.verb, wish.revision) == ("rollback-to", STABLE)
        one.report({"lastAction": {"id": wish.id, "result": "Done"}})
        code, _, err = finished(process)
    assert code == 0, err


def test_watching_shows_every_change_and_ends_with_the_rollout(api: ApiServer, deployment):
    one = deployment()
    one.report(rolling())
    with started(api.kubeconfig, "modelfleet", "rollout", "status", one.name, "--watch") as process:
        assert process.stdout is not None
        seen = [process.stdout.readline()]
        one.report(rolling(step=2, weight=50))
        seen.append(process.stdout.readline())
        one.report({**dict.fromkeys(rolling()), "previous": STABLE})
        code, out, err = finished(process)
    assert (code, err) == (0, ""), err
    assert [line.strip().rpartition(", ")[2] for line in seen] == ["weight 25 %", "weight 50 %"]
    assert out.splitlines()[-1].endswith("has taken over")


def test_watching_ends_when_the_object_does(api: ApiServer, deployment):
    one = deployment()
    one.report(rolling())
    with started(api.kubeconfig, "modelfleet", "rollout", "status", one.name, "--watch") as process:
        assert process.stdout is not None
        process.stdout.readline()
        api.http.delete(f"{GROUP}/{one.name}").raise_for_status()
        code, _, err = finished(process)
    assert (code, err) == (1, f"{one.name} in default was deleted.\n")


def test_watching_outlives_a_restart_of_the_api_server(api_server: ApiServer):
    one = Deployment(api=api_server, name="rollout-restart")
    one.report(rolling())
    with started(api_server.kubeconfig, "modelfleet", "rollout", "status", one.name, "--watch") as process:
        assert process.stdout is not None
        process.stdout.readline()
        api_server.restart_apiserver()
        one.report(rolling(override={"specRevision": CANARY, "revision": STABLE, "reason": "Aborted"}, phase=None))
        code, out, err = finished(process)
    assert (code, err) == (1, ""), err
    assert f"{STABLE} serves instead of {CANARY}" in out


def test_the_rights_that_the_docs_name_are_enough(api_server: ApiServer):
    one = Deployment(api=api_server, name="rollout-rights")
    one.store(revision=STABLE, number=1)
    one.report(rolling())
    api_server.apply({**ROLE, "kind": "ClusterRole", "metadata": {"name": "roller"}})
    user = api_server.user_kubeconfig("roller", cluster_role="roller")
    with started(user, "modelfleet", "rollout", "undo", one.name) as process:
        one.report(rolling(lastAction={"id": one.asked().id, "result": "Done"}))
        code, _, err = finished(process)
    assert code == 0, err


@pytest.mark.parametrize(
    ("missing", "words", "code", "said"),
    [
        ("get", ("status",), 1, "You may not get llmdeployments.modelfleet.dev in default"),
        ("patch", ("pause",), 1, "You may not patch llmdeployments.modelfleet.dev in default"),
        ("watch", ("pause",), 3, "You may not watch llmdeployments.modelfleet.dev in default"),
        ("list", ("history",), 1, "You may not list controllerrevisions.apps in default"),
    ],
)
def test_a_right_that_is_missing_is_named(
    api_server: ApiServer, missing: str, words: tuple[str, ...], code: int, said: str
):
    one = Deployment(api=api_server, name=f"rollout-without-{missing}")
    one.report(rolling())
    rules = [{**rule, "verbs": [verb for verb in rule["verbs"] if verb != missing]} for rule in ROLE["rules"]]
    left = [rule for rule in rules if rule["verbs"]]
    api_server.apply({**ROLE, "kind": "ClusterRole", "metadata": {"name": f"no-{missing}"}, "rules": left})
    user = api_server.user_kubeconfig(f"no-{missing}", cluster_role=f"no-{missing}")
    found, _, err = call(api_server, *words, one.name, kubeconfig=user)
    assert (found, said in err) == (code, True), err
