"""`modelfleet explain` against a real kube-apiserver, also as a plugin of the real kubectl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster.api_only import ApiServer
from e2e.cluster.build import tool

STATUS = {
    "observedGeneration": 1,
    "phase": "Degraded",
    "conditions": [
        {
            "type": "Degraded",
            "status": "True",
            "reason": "ModelNotFound",
            "message": "no folder /models/nope",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}


@pytest.fixture
def deployment(api: ApiServer, tmp_path: Path) -> str:
    """An LLMDeployment whose model is missing, as the operator would report it."""
    name = "explained"
    manifest = tmp_path / "deployment.json"
    manifest.write_text(
        json.dumps(
            {
                "apiVersion": "modelfleet.dev/v1alpha1",
                "kind": "LLMDeployment",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"model": {"uri": "pvc://models/nope"}, "replicas": 1},
            }
        )
    )
    api.kubectl("apply", "--server-side", f"--filename={manifest}")
    patch = json.dumps({"status": STATUS})
    api.kubectl("patch", f"llmdep/{name}", "--subresource=status", "--type=merge", f"--patch={patch}")
    return name


def call(api: ApiServer, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "KUBECONFIG": str(api.kubeconfig), "PATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_it_tells_the_cause_and_what_to_do(api: ApiServer, deployment: str) -> None:
    done = call(api, "modelfleet", "explain", deployment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{deployment} in default: Degraded, because Degraded is True (ModelNotFound)")
    assert "no folder /models/nope" in done.stdout
    assert "What to do: Check spec.model.uri" in done.stdout


def test_kubectl_finds_it_as_a_plugin(api: ApiServer, deployment: str) -> None:
    done = call(api, str(tool("kubectl")), "modelfleet", "explain", deployment, "-n", "default")
    assert done.returncode == 0, done.stderr
    assert "ModelNotFound" in done.stdout


def test_a_missing_one_is_answered_with_where_to_look(api: ApiServer) -> None:
    done = call(api, "modelfleet", "explain", "nobody", "-n", "default")
    assert done.returncode == 1
    assert "No LLMDeployment nobody in default" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refused_user_is_told_which_right_is_missing(api: ApiServer, tmp_path: Path) -> None:
    config = api.kubectl("config", "view", "--raw", "--minify", "-o", "json")
    parsed = json.loads(config)
    parsed["users"][0]["user"] = {"token": "nobody-knows-this-token"}
    other = tmp_path / "kubeconfig"
    other.write_text(json.dumps(parsed))
    environment = {**os.environ, "KUBECONFIG": str(other)}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "modelfleet"), "explain", "x", "-n", "default"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "may not get llmdeployments" in done.stderr
