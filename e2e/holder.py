"""A pod of somebody else that holds GPUs, so that only some are left; and who holds any.

For scenarios on a cluster of their own: it takes what others may need. It must not assert anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.cluster import addons, whole
from e2e.conftest import LABEL
from e2e.doubles.gpus import RESOURCE
from e2e.llm import START_SECONDS, Llm, Pod

NAME = "holder"


def users() -> list[Pod]:
    """Pods that hold GPUs or wait for them, over all namespaces."""
    pods = json.loads(whole.kubectl("get", "pods", "-A", "-o", "json"))["items"]
    return [pod for pod in pods if pod["status"].get("phase") not in {"Failed", "Succeeded"} and held([pod])]


def held(pods: list[Pod]) -> int:
    """GPUs that these pods ask for."""
    limits = [c.get("resources", {}).get("limits") or {} for pod in pods for c in pod["spec"]["containers"]]
    return sum(int(limit.get(RESOURCE, 0)) for limit in limits)


@contextmanager
def holding(llm: Llm, *, left: int) -> Iterator[None]:
    """Hold every GPU that nobody has but `left` of them; `release()` gives them back before the end."""
    # Tests before remove theirs in their own time.
    llm.until("no other test with a GPU", lambda: not _of_other_tests(llm), seconds=START_SECONDS)
    image, _ = addons.images(folder=whole.root() / "images")["PAUSE_IMAGE"]
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"limits": {RESOURCE: str(whole.gpus() - held(users()) - left)}},
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec}
    llm.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    try:
        phase = ("get", "pod", NAME, "-o", "jsonpath={.status.phase}")
        llm.until("the holder", lambda: llm.kubectl(*phase) == "Running")
        yield
    finally:
        release(llm)


def _of_other_tests(llm: Llm) -> list[str]:
    spaces = {pod["metadata"]["namespace"] for pod in users()} - {llm.namespace}
    labelled = set(whole.kubectl("get", "namespaces", "-l", LABEL, "-o", "name").split())
    return [space for space in spaces if f"namespace/{space}" in labelled]


def release(llm: Llm) -> None:
    """Give back what is held."""
    llm.kubectl("delete", "pod", NAME, "--ignore-not-found", "--wait=true")
