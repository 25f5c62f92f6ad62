"""The embedded cluster keeps its own promises: network, policies, GPUs, metrics, and a fresh start after a hard kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from e2e.cluster import addons, external, whole
from e2e.cluster.netns import Holder, holders, until
from e2e.cluster.paths import REPOSITORY
from e2e.conftest import Cluster
from e2e.doubles.gpus import COUNT, RESOURCE

pytestmark = pytest.mark.skipif(external.configured() is not None, reason="these promises are the embedded cluster's")


def pod(*, name: str, namespace: str, image: str, gpus: int = 0, args: tuple[str, ...] = ()) -> dict[str, object]:
    container = {
        "name": "main",
        "image": image,
        "args": list(args),
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": 9090}],
        "resources": {"limits": {RESOURCE: str(gpus)}} if gpus else {},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090"},
        },
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }


def phase(cluster: Cluster, *, name: str, namespace: str) -> str:
    return cluster.kubectl("get", "pod", name, "-n", namespace, "-o", "jsonpath={.status.phase}")


@pytest.mark.short
def test_a_second_up_adopts_the_cluster_in_seconds(cluster: Cluster) -> None:
    """Given a healthy cluster, when it is brought up again, then it is the same one and returns in seconds."""
    before = Holder.load(path=whole.root() / "holder.json")
    begun = time.monotonic()
    whole.up()
    assert Holder.load(path=whole.root() / "holder.json") == before
    # It takes one; building a cluster takes more than this.
    assert time.monotonic() - begun < 15
    cluster.eventually(cluster.allocatable, equals=COUNT)


@pytest.mark.short
def test_gpus_of_a_pod_show_in_prometheus(cluster: Cluster, namespace: str, images: dict[str, str]) -> None:
    """Given four GPUs, when a pod with two runs, then exactly two devices carry its name, and it is scraped."""
    args = ("--config.file=/dev/null", "--storage.tsdb.path=/tmp/data")
    cluster.apply(pod(name="user", namespace=namespace, image=images["PROMETHEUS_IMAGE"], gpus=2, args=args))
    cluster.eventually(lambda: phase(cluster, name="user", namespace=namespace), equals="Running")
    mine = f'namespace="{namespace}",pod="user",container="main"'
    cluster.eventually(lambda: len(addons.query(f"DCGM_FI_DEV_GPU_UTIL{{{mine}}}")), equals=2)
    cluster.eventually(lambda: len(addons.query(f'up{{job="pods",{mine}}} == 1')), equals=1)


@pytest.mark.short
def test_a_broken_gpu_is_no_longer_offered(cluster: Cluster) -> None:
    """Given four GPUs, when one breaks, then the node offers three, until it is mended."""
    cluster.eventually(cluster.allocatable, equals=COUNT)
    cluster.gpus.set_health(index=0, healthy=False)
    try:
        cluster.eventually(cluster.allocatable, equals=COUNT - 1)
    finally:
        cluster.gpus.set_health(index=0, healthy=True)
    cluster.eventually(cluster.allocatable, equals=COUNT)


def test_a_network_policy_is_enforced(cluster: Cluster, namespace: str, images: dict[str, str]) -> None:
    """Given a pod that answers, when a policy denies all ingress, then it does not, until the policy is gone."""
    args = ("--config.file=/dev/null", "--storage.tsdb.path=/tmp/data")
    cluster.apply(pod(name="web", namespace=namespace, image=images["PROMETHEUS_IMAGE"], args=args))

    def answers() -> bool:
        address = cluster.kubectl("get", "pod", "web", "-n", namespace, "-o", "jsonpath={.status.podIP}")
        try:
            socket.create_connection((address, 9090), timeout=1).close()
        except OSError:
            return False
        return True

    cluster.eventually(answers, equals=True)
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny", "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }
    cluster.apply(policy)
    cluster.eventually(answers, equals=False)
    cluster.kubectl("delete", "networkpolicy", "deny", "-n", namespace)
    cluster.eventually(answers, equals=True)


@pytest.mark.parametrize("name", ["kube-apiserver", "kubelet"])
def test_a_killed_daemon_is_started_again(cluster: Cluster, name: str) -> None:
    """Given a healthy cluster, when one daemon is killed, then it comes back by itself, with every GPU."""
    before = (whole.root() / "run" / f"{name}.pid").read_text()
    whole.restart(name)
    cluster.eventually(lambda: (whole.root() / "run" / f"{name}.pid").read_text() != before, equals=True)
    cluster.eventually(cluster.allocatable, equals=COUNT)
    cluster.eventually(lambda: whole.status()["state"], equals="up")


def test_comes_up_again_after_a_hard_kill(cluster: Cluster, namespace: str, images: dict[str, str]) -> None:
    """Given a running pod, when everything is killed hard, then `up` brings cluster, objects and GPUs back."""
    cluster.apply(pod(name="sleeper", namespace=namespace, image=images["PAUSE_IMAGE"]))
    cluster.eventually(lambda: phase(cluster, name="sleeper", namespace=namespace), equals="Running")
    holder = Holder.load(path=whole.root() / "holder.json")
    assert holder is not None
    os.kill(holder.outer, signal.SIGKILL)
    until("the kill", lambda: Holder.load(path=whole.root() / "holder.json") is None, seconds=10)
    assert whole.status()["state"] == "absent"
    whole.up()
    cluster.eventually(lambda: phase(cluster, name="sleeper", namespace=namespace), equals="Running")
    cluster.eventually(cluster.allocatable, equals=COUNT)


def killed_up(*, at: str) -> None:
    """Run `up` in a process of its own, and end it and what it has just started as soon as it prints this."""
    (whole.root() / "fingerprint").unlink(missing_ok=True)  # or it would adopt
    argv = [sys.executable, "-u", "-m", "e2e.cluster", "up"]
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if at in line:
                break
        os.killpg(process.pid, signal.SIGKILL)
    assert at in said[-1], "".join(said)


def test_an_up_that_was_killed_at_any_moment_is_made_good(
    cluster: Cluster, namespace: str, images: dict[str, str]
) -> None:
    """Given a running pod, when `up` is killed early, late and half recorded, then the next brings everything back."""
    cluster.apply(pod(name="sleeper", namespace=namespace, image=images["PAUSE_IMAGE"]))
    cluster.eventually(lambda: phase(cluster, name="sleeper", namespace=namespace), equals="Running")
    for at in ("starting etcd", "the API server is ready", "the node is ready"):
        killed_up(at=at)
    left = Holder.load(path=whole.root() / "holder.json")
    assert left is not None, "the last one that was killed had come far"
    (whole.root() / "holder.json").write_text('{"outer": ')
    (whole.root() / "fingerprint").write_text("half")
    whole.up()
    now = Holder.load(path=whole.root() / "holder.json")
    assert now is not None
    assert holders(program=whole.root() / "init.sh") == [now.outer]
    assert now.outer != left.outer
    cluster.eventually(lambda: phase(cluster, name="sleeper", namespace=namespace), equals="Running")
    cluster.eventually(cluster.allocatable, equals=COUNT)
