"""ModelFleet on the cluster: images loaded, chart installed by the real helm, a model in a volume, questions asked.

Used by the demo and by the scenarios, so that both walk the same path. It must not assert anything.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from e2e import image_delivery, images, models
from e2e.cluster import build, external, whole
from e2e.cluster.node_config import NODE

NAMESPACE = "modelfleet-system"
RELEASE = "modelfleet"
PROMETHEUS = os.environ.get("PROMETHEUS_URL", "http://prometheus.monitoring.svc:9090")
"""Prometheus as pods reach it; on a cluster of your own say where yours is."""
VALUES: dict[str, Any] = {
    # The embedded cluster's GPUs are simulated: pods that claim one run the CPU build.
    "engineImages": {"vLLM": {"gpu": images.VLLM_CPU.name, "cpu": images.VLLM_CPU.name}},
    "prometheus": {"url": PROMETHEUS},
    "gateway": {"enabled": False},
}
PYTHON = "/opt/modelfleet/bin/python"

Say = Callable[[str], None]


_built: dict[str, images.Image] = {}
_delivered: dict[str, str] = {}
"""Image → its name on a cluster that is not ours."""


def built(recipe: images.Recipe) -> images.Image:
    """Build an image once in this process: what is installed later is what was loaded first."""
    if recipe.name not in _built:
        _built[recipe.name] = images.build(recipe)
    return _built[recipe.name]


def load_images(*recipes: images.Recipe, say: Say = print) -> None:
    """Build images (the project's two unless told) where inputs changed, and give the node what it does not have."""
    for recipe in recipes or (images.OPERATOR, images.VLLM_CPU):
        image = built(recipe)
        if kubeconfig := external.configured():
            say(f"delivering {recipe.name}")
            _delivered[recipe.name] = image_delivery.deliver(image, kubeconfig=kubeconfig)
            continue
        marker = whole.root() / "images" / f"loaded-{image.archive.stem}"
        if marker.exists() and recipe.name in whole.ctr("images", "list", "-q"):
            continue
        say(f"loading {recipe.name}")
        whole.load_image(image.archive)
        marker.touch()


def helm(*argv: str) -> str:
    """Run the real helm against the cluster; RuntimeError carries what it said."""
    program = build.ensure(("helm",))["helm"]
    done = subprocess.run(
        [str(program), f"--kubeconfig={whole.kubeconfig()}", *argv],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"helm {' '.join(argv[:3])}: {done.stderr.strip()}")
    return done.stdout


def install(*, operator: images.Recipe = images.OPERATOR, values: Mapping[str, Any] | None = None) -> None:
    """Install or upgrade the chart and wait until the operator is ready.

    An image keeps its tag while it is developed, so its content is written on the pods: a new one restarts them.
    """
    own = {
        "image": {"tag": operator.name.rpartition(":")[2]},
        "podAnnotations": {"modelfleet.dev/image-content": built(operator).key},
    }
    if _delivered:
        own |= image_delivery.chart_values(operator=_delivered[operator.name], engine=_delivered[images.VLLM_CPU.name])
    chart = images.ROOT / "charts" / "modelfleet"
    with tempfile.TemporaryDirectory(prefix="modelfleet-values-") as folder:
        path = Path(folder) / "values.yaml"
        path.write_text(yaml.safe_dump({**VALUES, **own, **(values or {})}))
        helm(
            "upgrade", "--install", RELEASE, str(chart), "--namespace", NAMESPACE, "--create-namespace",
            "--values", str(path), "--wait", "--timeout", "180s",
        )  # fmt: skip
    # Helm is content while a pod of before is still ending, and may still lead.
    deadline = time.monotonic() + 120
    while names := [pod["metadata"]["name"] for pod in operators() if "deletionTimestamp" in pod["metadata"]]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the operator of before did not end within 120 s: {', '.join(names)}")
        time.sleep(0.2)


def operators() -> list[dict[str, Any]]:
    """The operator's pods, also those that are leaving."""
    argv = ("get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=modelfleet-operator", "-o", "json")
    found: list[dict[str, Any]] = json.loads(whole.kubectl(*argv))["items"]
    return found


def leader() -> str:
    """Name of the operator's pod that holds the Lease; empty when none of them does."""
    lease = json.loads(whole.kubectl("get", "lease", RELEASE, "-n", NAMESPACE, "-o", "json"))
    holder = str(lease["spec"].get("holderIdentity") or "")
    names = (pod["metadata"]["name"] for pod in operators())
    return next((name for name in names if holder.startswith(name)), "")


def provide_model(*, namespace: str, model: str = "smollm2") -> None:
    """Offer a converted model's folder as a read-only claim of the model's name, the model in a folder of that name."""
    if external.configured():
        raise RuntimeError("models come from a folder of the embedded cluster's node; on your own cluster make a claim")
    folder = {"smollm2": models.smollm2, "tiny": models.tiny}[model](image=built(images.VLLM_CPU))
    volume = f"{namespace}-{model}"
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}]}
    manifests = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadOnlyMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "",
                "local": {"path": str(folder.parent)},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
                "claimRef": {"namespace": namespace, "name": model},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": model, "namespace": namespace},
            "spec": {
                "accessModes": ["ReadOnlyMany"],
                "storageClassName": "",
                "volumeName": volume,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
    ]
    whole.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(manifests))


def get(*, namespace: str, name: str) -> dict[str, Any]:
    """Read an LLMDeployment."""
    read: dict[str, Any] = json.loads(whole.kubectl("get", "llmdep", name, "-n", namespace, "-o", "json"))
    return read


def condition(body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Find a condition; empty when it is not there."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == kind), {})


def address(*, namespace: str, name: str) -> str:
    """The stable Service's address, reachable from this machine."""
    path = "jsonpath={.spec.clusterIP}"
    return f"http://{whole.kubectl('get', 'service', name, '-n', namespace, '-o', path)}"


def ask(*, namespace: str, name: str, question: str, tokens: int = 24) -> tuple[str, float]:
    """Ask a chat model; returns its answer and the tokens per second that it came with."""
    body = {
        "model": name,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": tokens,
        "temperature": 0,
    }
    begun = time.monotonic()
    url = f"{address(namespace=namespace, name=name)}/v1/chat/completions"
    answer = httpx.post(url, json=body, timeout=120).raise_for_status().json()
    text = answer["choices"][0]["message"]["content"].strip()
    return text, answer["usage"]["completion_tokens"] / (time.monotonic() - begun)


CLIENT = images.ROOT / "e2e" / "stream_client.py"
"""The program of the load pod: a bounded number of clients for a bounded time."""


def send_load(*, namespace: str, name: str, streams: int, seconds: float, tokens: int = 160, pod: str = "load") -> None:
    """Start a pod in the same namespace that sends requests to the stable Service, and only there."""
    arguments = [f"http://{name}", name, str(streams), str(seconds), str(tokens)]
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "load",
                    "image": images.OPERATOR.name,
                    "imagePullPolicy": "IfNotPresent",
                    "command": [PYTHON, "-c", CLIENT.read_text(), *arguments],
                    # Its fair share beside busy engines: a starved client would measure itself.
                    "resources": {"requests": {"cpu": "100m"}},
                }
            ],
        },
    }
    whole.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(manifest))


def load_counts(*, namespace: str, pod: str = "load") -> dict[str, Any]:
    """How the streams fare: open, finished, cut and failed ones, and the most frequent problems."""
    lines = whole.kubectl("logs", pod, "-n", namespace, "--tail=1").splitlines()
    counts: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return counts


def end_load(*, namespace: str, pod: str = "load") -> None:
    """Let no new stream begin; those that have begun go on to their end, and then the pod has Succeeded."""
    whole.kubectl("exec", pod, "-n", namespace, "--", PYTHON, "-c", "import os; os.kill(1, 15)")


def stop_load(*, namespace: str, pod: str = "load") -> None:
    """Remove the load at once, whatever its streams are doing."""
    whole.kubectl("delete", "pod", pod, "-n", namespace, "--ignore-not-found", "--wait=true")
