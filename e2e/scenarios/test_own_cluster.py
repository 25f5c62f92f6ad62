"""The scenarios run on a cluster of one's own: images and models travel by a registry, and nothing else is shared.

The embedded cluster plays that cluster: it is known by its kubeconfig only, and its node pulls what was pushed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import fleet, images, registry
from e2e.cluster import external, whole
from e2e.cluster.netns import Holder
from e2e.conftest import Cluster

pytestmark = pytest.mark.skipif(external.configured() is not None, reason="is about the embedded cluster")
SCENARIOS = ("test_serving.py", "test_streams.py::test_fewer_replicas_lose_no_stream")


@pytest.fixture
def host(cluster: Cluster, tmp_path: Path) -> Iterator[str]:  # noqa: ARG001 - the cluster must be there
    """A registry that is empty; afterwards the chart's images are the node's own again."""
    holder = Holder.load(path=whole.root() / "holder.json")
    assert holder is not None
    with registry.serving(folder=tmp_path, node=holder) as found:
        yield found
        fleet.load_images()
        fleet.install()
        if pulled := [name for name in whole.ctr("images", "list", "-q").split() if name.startswith(found)]:
            whole.ctr("images", "rm", *pulled)


def test_the_scenarios_pass_with_images_and_models_from_a_registry(host: str, tmp_path: Path) -> None:
    """Given a kubeconfig and a registry, when scenarios run, then they pass with what the nodes pulled from there."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(whole.kubectl("config", "view", "--raw", "--flatten"))
    own = {
        "KUBECONFIG": str(kubeconfig),
        "IMAGE_REGISTRY": f"{host}/team",
        **registry.trusted(folder=tmp_path, host=host),
    }
    scenarios = [str(images.ROOT / "e2e" / "scenarios" / name) for name in SCENARIOS]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *scenarios],
        cwd=images.ROOT, env={**os.environ, **own}, capture_output=True, text=True, check=False, timeout=3000,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "2 passed" in done.stdout
    pulled = {name.rpartition(":")[0] for name in whole.ctr("images", "list", "-q").split()}
    assert {f"{host}/team/modelfleet/{name}" for name in ("operator", "vllm-cpu-models")} <= pulled
