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

from e2e import image_delivery, images, models, reach
from e2e.cluster import addons, build, external, whole
from e2e.cluster.netns import HOST_ADDRESS
from e2e.cluster.node_config import NODE
from e2e.edge import CLIENT_FIELD, CLIENT_SECRET, Edge

NAMESPACE = "modelfleet-system"
RELEASE = "modelfleet"
GATEWAY = f"{RELEASE}-gateway"
"""Name of the Envoys' Deployment and Service."""
PROMETHEUS = os.environ.get("PROMETHEUS_URL", "http://prometheus.monitoring.svc:9090")
"""Prometheus as pods reach it; on a cluster of your own say where yours is."""
SMALL: dict[str, Any] = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
VALUES: dict[str, Any] = {
    # The embedded cluster's GPUs are simulated: pods that claim one run the CPU build.
    "engineImages": {"vLLM": {"gpu": images.VLLM_CPU.name, "cpu": images.VLLM_CPU.name}},
    "prometheus": {"url": PROMETHEUS},
    # A scenario installs the Gateway API beside an operator that runs.
    "extraEnv": [{"name": "MODELFLEET_DISCOVERY_SECONDS", "value": "5"}],
    # This machine asks models at their own Services too: it stands for whoever an installation admits.
    "engines": {"networkPolicy": {"admit": [{"podSelector": {}}, {"ipBlock": {"cidr": f"{HOST_ADDRESS}/32"}}]}},
}
PYTHON = "/opt/modelfleet/bin/python"

RECIPES = (images.OPERATOR, images.VLLM_CPU, images.ENVOY)
"""What the chart runs."""

Say = Callable[[str], None]


_built: dict[str, images.Image] = {}
_delivered: dict[str, str] = {}
"""Image → its name on a cluster that is not ours."""


def built(recipe: images.Recipe, *, export: bool = True) -> images.Image:
    """Build an image once in this process: what is installed later is what was loaded first."""
    if recipe.name not in _built:
        _built[recipe.name] = images.build(recipe, export=export)
    return _built[recipe.name]


def name_there(recipe: images.Recipe) -> str:
    """The image's name for pods: on a cluster that is not ours it may be another."""
    return _delivered.get(recipe.name, recipe.name)


def load_images(*recipes: images.Recipe, say: Say = print) -> None:
    """Build images (all that the chart runs unless told) where inputs changed, and give the node what it does not have."""
    for recipe in recipes or RECIPES:
        if kubeconfig := external.configured():
            say(f"delivering {recipe.name}")
            _delivered[recipe.name] = _deliver(recipe, way=image_delivery.way_to(kubeconfig))
            continue
        image = built(recipe)
        marker = whole.root() / "images" / f"loaded-{image.archive.stem}"
        if marker.exists() and recipe.name in whole.ctr("images", "list", "-q"):
            continue
        say(f"loading {recipe.name}")
        for other in marker.parent.glob(f"{marker.name.rpartition('-')[0]}-*"):
            other.unlink()  # the name now means another content
        whole.load_image(image.archive)
        marker.touch()


def _deliver(recipe: images.Recipe, *, way: image_delivery.Way) -> str:
    export = bool(way.kind)
    if recipe is images.VLLM_CPU:
        # No folder of this machine can be mounted there: the models travel in the engine's image.
        recipe = models.in_image(image=built(recipe, export=False))
    return image_delivery.deliver(built(recipe, export=export), way=way)


def helm(*argv: str) -> str:
    """Run the real helm against the cluster; RuntimeError carries what it said."""
    program = build.ensure(("helm",))["helm"]
    done = subprocess.run(
        [str(program), f"--kubeconfig={whole.kubeconfig()}", *argv],
        capture_output=True, text=True, check=False, timeout=360,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"helm {' '.join(argv[:3])}: {done.stderr.strip()}")
    return done.stdout


def install(*, operator: images.Recipe = images.OPERATOR, values: Mapping[str, Any] | None = None) -> None:
    """Install or upgrade the chart and wait until the operator is ready.

    An image keeps its tag while it is developed, so its content is written on the pods: a new one restarts them.
    """
    content = {"modelfleet.dev/image-content": built(operator).key}
    own = {
        "image": {"tag": operator.name.rpartition(":")[2]},
        "podAnnotations": content,
        "gateway": _gateway(content),
    }
    if _delivered:
        own |= image_delivery.chart_values(operator=_delivered[operator.name], engine=_delivered[images.VLLM_CPU.name])
    # A helm that was killed leaves a release on which no other may work.
    pending = "owner=helm,status in (pending-install,pending-upgrade,pending-rollback)"
    whole.kubectl("delete", "secret", "-n", NAMESPACE, "-l", pending)
    chart = images.ROOT / "charts" / "modelfleet"
    with tempfile.TemporaryDirectory(prefix="modelfleet-values-") as folder:
        path = Path(folder) / "values.yaml"
        path.write_text(yaml.safe_dump({**VALUES, **own, **(values or {})}))
        helm(
            "upgrade", "--install", RELEASE, str(chart), "--namespace", NAMESPACE, "--create-namespace",
            "--values", str(path), "--wait", "--timeout", "300s",
        )  # fmt: skip
    # Helm is content while a pod of before is still ending, and may still lead.
    deadline = time.monotonic() + 300
    while names := [pod["metadata"]["name"] for pod in operators() if "deletionTimestamp" in pod["metadata"]]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the operator of before did not end within 300 s: {', '.join(names)}")
        time.sleep(0.2)


def _gateway(content: Mapping[str, str]) -> dict[str, Any]:
    """Give the values of a gateway as users have it, but small: two cores run everything at once."""
    repository, _, tag = name_there(images.ENVOY).rpartition(":")
    return {
        "drainSeconds": 60,
        "control": {"resources": SMALL, "podAnnotations": dict(content)},
        "envoy": {"concurrency": 1, "resources": SMALL, "image": {"repository": repository, "tag": tag}},
    }


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


def model_uri(model: str, *, folder: str = "") -> str:
    """Where a model is for an engine: in a claim of its name, or in the image, in a folder of its name (unless told)."""
    folder = folder or model
    return f"file://{models.IN_IMAGE}/{folder}" if external.configured() else f"pvc://{model}/{folder}"


def provide_model(*, namespace: str, model: str = "smollm2") -> None:
    """Offer a converted model's folder as a read-only claim of the model's name; in the image there is one already."""
    if external.configured():
        return
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


def edge(*, tenant: str) -> Edge:
    """Give a tenant a new key, whose clients live in the namespace of its name."""
    found = Edge(tenant=tenant, namespace=NAMESPACE, service=GATEWAY)
    found.grant()
    return found


def get(*, namespace: str, name: str) -> dict[str, Any]:
    """Read an LLMDeployment."""
    read: dict[str, Any] = json.loads(whole.kubectl("get", "llmdep", name, "-n", namespace, "-o", "json"))
    return read


def condition(body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Find a condition; empty when it is not there."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == kind), {})


def ask(*, namespace: str, name: str, question: str, tokens: int = 24, by: Edge | None = None) -> tuple[str, float]:
    """Ask a chat model, by the gateway or at its own Service; returns its answer and the tokens per second."""
    body = {
        "model": name,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": tokens,
        "temperature": 0,
    }
    url, headers = (by.url, by.headers) if by else (reach.address(namespace=namespace, name=name), {})
    begun = time.monotonic()
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=120).raise_for_status().json()
    text = answer["choices"][0]["message"]["content"].strip()
    return text, answer["usage"]["completion_tokens"] / (time.monotonic() - begun)


def query(promql: str) -> list[dict[str, Any]]:
    """The result vector of an instant query, by the Prometheus that the operator asks; OSError when it does not answer."""
    return addons.query(promql, url=reach.url(PROMETHEUS))


CLIENT = images.ROOT / "e2e" / "stream_client.py"
"""The program of the load pod: a bounded number of clients for a bounded time."""


def send_load(
    *,
    namespace: str,
    name: str,
    streams: int,
    seconds: float,
    tokens: int = 160,
    pod: str = "load",
    by: Edge | None = None,
) -> None:
    """Start a pod in the same namespace that sends requests by the gateway or to the stable Service, and only there."""
    arguments = [by.host if by else f"http://{name}", name, str(streams), str(seconds), str(tokens)]
    key = {"name": CLIENT_FIELD, "valueFrom": {"secretKeyRef": {"name": CLIENT_SECRET, "key": CLIENT_FIELD}}}
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
                    "image": name_there(images.OPERATOR),
                    "imagePullPolicy": "IfNotPresent",
                    "command": [PYTHON, "-c", CLIENT.read_text(), *arguments],
                    "env": [key] if by else [],
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
