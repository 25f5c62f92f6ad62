"""One LLMDeployment as a scenario sees it: what is asked of it, what it says, which pods it has and had.

Sits on `fleet`. It must not decide whether what it sees is right: scenarios do.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from e2e import fleet
from e2e.cluster import build, whole

ENGINE = yaml.safe_load("""
args: [--max-model-len=1024, --enforce-eager, --distributed-executor-backend=uni, --kv-cache-memory-bytes=64M]
env:
  - {name: VLLM_ENABLE_V1_MULTIPROCESSING, value: "0"}
  - {name: VLLM_CPU_OMP_THREADS_BIND, value: nobind}
  - {name: OMP_NUM_THREADS, value: "1"}
""")
"""The leanest vLLM: three of them share two cores."""

RESOURCES = {"requests": {"cpu": "100m", "memory": "512Mi"}}

START_SECONDS = 600.0
"""A start takes 20 s alone; several at once on a busy machine take minutes."""
SAID_SECONDS = 120.0
"""What an operator says or does takes a second alone."""
DRAIN_SECONDS = 180
"""A replica that leaves is given so long: its streams take seconds alone."""

LABEL = "modelfleet.dev/llmdeployment"
Pod = dict[str, Any]
State = dict[str, Pod]
"""Pods by name, at one moment."""


class Llm:
    """An LLMDeployment called `name`."""

    def __init__(self, *, namespace: str, name: str = "chat", model: str = "tiny") -> None:
        self.namespace, self.name, self.model = namespace, name, model

    def apply(self, *, args: tuple[str, ...] = (), **spec: Any) -> None:
        """Ask for exactly this: what an earlier call set and this one does not is gone."""
        words: dict[str, Any] = {
            "model": {"uri": fleet.model_uri(self.model)},
            "engine": {**ENGINE, "args": [*ENGINE["args"], *args]},
            "resources": RESOURCES,
            "drain": {"timeoutSeconds": DRAIN_SECONDS},
            **({} if "scaling" in spec else {"replicas": 1}),
            **spec,
        }
        body = {
            "apiVersion": "modelfleet.dev/v1alpha1",
            "kind": "LLMDeployment",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": words,
        }
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump(body))

    def patch(self, spec: dict[str, Any]) -> None:
        """Change some words of the spec and leave the others."""
        self.kubectl("patch", "llmdep", self.name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def have(self, *, replicas: int) -> None:
        """Bring it to so many ready replicas, of whichever revision it has."""
        if self.name in self.kubectl("get", "llmdep", "-o", "name"):
            self.patch({"replicas": replicas})
        else:
            self.apply(replicas=replicas)
        self.await_settled(replicas=replicas)

    def change(self) -> None:
        """Ask for a revision that was not there before."""
        body = self.body()
        kept = [arg for arg in body["spec"]["engine"]["args"] if not arg.startswith("--max-num-seqs")]
        self.patch({"engine": {"args": [*kept, f"--max-num-seqs={100 + body['metadata']['generation']}"]}})

    def kubectl(self, *argv: str, stdin: str = "", timeout: float = 120.0) -> str:
        """Run kubectl in the namespace."""
        return whole.kubectl("-n", self.namespace, *argv, stdin=stdin, timeout=timeout)

    def body(self) -> dict[str, Any]:
        return fleet.get(namespace=self.namespace, name=self.name)

    def status(self) -> dict[str, Any]:
        """What the operator says; empty before it has said anything."""
        said: dict[str, Any] = self.body().get("status") or {}
        return said

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition; both empty while it is not there."""
        found = fleet.condition(self.body(), kind)
        return found.get("status", ""), found.get("reason", "")

    def message(self, kind: str) -> str:
        return str(fleet.condition(self.body(), kind).get("message", ""))

    def decisions(self, kind: str) -> list[dict[str, Any]]:
        """Decisions of one kind, oldest first."""
        return [one for one in self.status().get("decisions") or () if one["kind"] == kind]

    def owned(self, kind: str) -> list[dict[str, Any]]:
        """Objects of a kind that belong to it."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-l", self.selector, "-o", "json"))["items"]
        return found

    @property
    def selector(self) -> str:
        return f"{LABEL}={self.name}"

    def pods(self) -> list[Pod]:
        """Pods that are not on their way out."""
        return [pod for pod in self.owned("pods") if not leaving(pod)]

    def settled(self, *, replicas: int) -> bool:
        """Whether the newest words are carried out: one revision, all of it ready, nothing else."""
        body = self.body()
        status = body.get("status") or {}
        return (
            status.get("observedGeneration") == body["metadata"]["generation"]
            and fleet.condition(body, "Progressing").get("reason") == "UpToDate"
            and status.get("readyReplicas", 0) == status.get("updatedReplicas", 0) == replicas
            and len(self.pods()) == replicas
        )

    def await_settled(self, *, replicas: int, seconds: float = START_SECONDS) -> None:
        self.until(f"{replicas} ready", lambda: self.settled(replicas=replicas), seconds=seconds)

    def until(self, what: str, seen: Callable[[], object], *, seconds: float = SAID_SECONDS) -> Any:
        """Wait for a true value and return it; the failure shows everything of the namespace."""
        deadline, last = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            try:
                last = seen()
            except (RuntimeError, OSError, httpx.TransportError) as error:
                last = error
            if last and not isinstance(last, Exception):
                return last
            time.sleep(0.5)
        pytest.fail(f"{what} did not happen within {seconds:.0f} s; last seen: {last!r}\n{self.picture()}")

    def await_alone(self) -> None:
        """Wait until the pods that leave are gone."""
        self.until("no pod that leaves", lambda: not any(map(leaving, self.owned("pods"))), seconds=START_SECONDS)

    def ask(self, question: str) -> str:
        """Ask until it can be reached: a replica is ready a moment before every packet finds the way to it."""
        return str(
            self.until("an answer", lambda: fleet.ask(namespace=self.namespace, name=self.name, question=question)[0])
        )

    def picture(self) -> str:
        """The namespace, for the reader of a failure."""
        told = (("get", "llmdep", "-o", "yaml"), ("get", "deploy,pods", "-o", "wide"), ("events",))
        return "\n".join(self.kubectl(*argv) for argv in told)

    @contextmanager
    def watched(self) -> Iterator[list[State]]:
        """Record every state that the pods go through; the list is complete when the block has ended."""
        states: list[State] = []
        with tempfile.NamedTemporaryFile("w+", suffix=".json") as file:
            program, config = str(build.path_of("kubectl")), f"--kubeconfig={whole.kubeconfig()}"
            what = ["get", "pods", "-l", self.selector, "-n", self.namespace, "-o", "json"]
            watch = subprocess.Popen([program, config, *what, "--watch", "--output-watch-events"], stdout=file)
            try:
                before = len(self.owned("pods"))
                self.until("the watch", lambda: len(_events(Path(file.name).read_text())) >= before)
                yield states
                self.until("the end of the watch", lambda: self._caught_up(Path(file.name), known=before))
                states += _replay(Path(file.name).read_text(), known=before)
            finally:
                watch.terminate()
                watch.wait()

    def _caught_up(self, file: Path, *, known: int) -> bool:
        states = _replay(file.read_text(), known=known)
        return bool(states) and versions(states[-1].values()) == versions(self.owned("pods"))


def _events(text: str) -> list[dict[str, Any]]:
    """Whole JSON documents at the beginning of a text that is still being written."""
    decoder, at = json.JSONDecoder(), 0
    events: list[dict[str, Any]] = []
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        try:
            event, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            return events
        events.append(event)


def _replay(text: str, *, known: int) -> list[State]:
    """Every state after the first `known` events, which tell of the pods that were there before."""
    states: list[State] = []
    now: State = {}
    for number, event in enumerate(_events(text), start=1):
        name = event["object"]["metadata"]["name"]
        now = {key: pod for key, pod in now.items() if key != name}  # a new one: states are kept
        if event["type"] != "DELETED":
            now[name] = event["object"]
        if number >= known:
            states.append(now)
    return states


def leaving(pod: Pod) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def ready(pod: Pod) -> bool:
    """Whether it is in its Services' endpoints."""
    conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions") or ()}
    inside = pod["metadata"]["labels"].get("modelfleet.dev/rotation") == "in"
    return conditions.get("Ready") == "True" and inside and not leaving(pod)


def unschedulable(pod: Pod) -> bool:
    """Whether the scheduler found no node for it."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(c.get("reason") == "Unschedulable" for c in conditions)


def kill(pod: Pod) -> None:
    """End what runs in its containers as a power cut would."""
    for container in pod["status"]["containerStatuses"]:
        whole.ctr("tasks", "kill", "--signal", "SIGKILL", container["containerID"].removeprefix("containerd://"))


def versions(pods: Iterable[Pod]) -> set[str]:
    return {pod["metadata"]["resourceVersion"] for pod in pods}


def uids(pods: Iterable[Pod]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def restarts(pods: Iterable[Pod]) -> int:
    """Containers started again, over all of these pods."""
    return sum(status["restartCount"] for pod in pods for status in pod["status"].get("containerStatuses") or ())
