"""A model is served: the chart is installed, an LLMDeployment becomes real vLLM pods on GPUs, and answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
import yaml

from e2e import fleet
from e2e.cluster import addons, whole
from e2e.conftest import Cluster

ENGINE = yaml.safe_load("""
args: [--max-model-len=512, --enforce-eager, --distributed-executor-backend=uni, --kv-cache-memory-bytes=64M]
env:
  - {name: VLLM_ENABLE_V1_MULTIPROCESSING, value: "0"}
  - {name: VLLM_CPU_OMP_THREADS_BIND, value: nobind}
  - {name: OMP_NUM_THREADS, value: "1"}
""")
READY_SECONDS = 420.0


@pytest.fixture(scope="session")
def modelfleet(cluster: Cluster) -> Cluster:
    """The cluster with today's chart and images."""
    fleet.load_images()
    fleet.install()
    return cluster


@pytest.fixture
def served(modelfleet: Cluster, namespace: str) -> Iterator[str]:
    """A namespace with the small real model as a volume; its persistent volume is removed afterwards."""
    fleet.provide_model(namespace=namespace)
    yield namespace
    modelfleet.kubectl("delete", "pv", f"{namespace}-smollm2", "--wait=false")


def wait(what: str, seen: Callable[[], object], done: Callable[[object], bool], *, seconds: float) -> None:
    deadline, last = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        last = seen()
        if done(last):
            return
        time.sleep(0.5)
    pytest.fail(f"{what} did not happen within {seconds:.0f} s; last seen: {last}")


def ready(namespace: str, *, replicas: int) -> None:
    def seen() -> object:
        return fleet.get(namespace=namespace, name="chat").get("status")

    def done(status: object) -> bool:
        return isinstance(status, dict) and status.get("phase") == "Ready" and status["readyReplicas"] == replicas

    wait(f"{replicas} ready", seen, done, seconds=READY_SECONDS)


def chat(namespace: str, *, args: tuple[str, ...] = ()) -> dict[str, object]:
    return {
        "apiVersion": "modelfleet.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": {
            "model": {"uri": "pvc://smollm2/smollm2"},
            "engine": {**ENGINE, "args": [*ENGINE["args"], *args]},
            "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
            "drain": {"timeoutSeconds": 30},
            "replicas": 1,
        },
    }


@pytest.mark.short
def test_a_model_answers_and_outlives_the_operator(modelfleet: Cluster, served: str) -> None:
    """Given ModelFleet, when an LLMDeployment is applied, then the model answers; it still does without operator."""
    modelfleet.apply(chat(served))
    ready(served, replicas=1)
    answer, _ = fleet.ask(namespace=served, name="chat", question="What is the capital of France?")
    assert "Paris" in answer

    pod = json.loads(modelfleet.kubectl("get", "pods", "-n", served, "-o", "json"))["items"][0]
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    query = f'vllm:num_requests_running{{namespace="{served}"}}'
    wait("a scrape of vLLM", lambda: addons.query(query), bool, seconds=60)

    fleet.helm("uninstall", fleet.RELEASE, "--namespace", fleet.NAMESPACE, "--wait")
    try:
        answer, _ = fleet.ask(namespace=served, name="chat", question="What is the capital of France?")
        assert "Paris" in answer
        after = json.loads(whole.kubectl("get", "pods", "-n", served, "-o", "json"))["items"][0]
        assert after["metadata"]["uid"] == pod["metadata"]["uid"]
        assert after["status"]["containerStatuses"][0]["restartCount"] == 0
    finally:
        fleet.install()
    ready(served, replicas=1)
    last = json.loads(whole.kubectl("get", "pods", "-n", served, "-o", "json"))["items"]
    assert [p["metadata"]["uid"] for p in last] == [pod["metadata"]["uid"]]
