"""The test clusters themselves: what the other tests of this folder rely on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster import audit, served
from e2e.cluster.control_plane import GPU_PRODUCT
from e2e.cluster.external import External
from e2e.cluster.process import wait_until

pytestmark = pytest.mark.slow


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_objects_outlive_a_restart_of_the_api_server(api_server):
    uid = api_server.apply(config_map("outlives", a="b"))["metadata"]["uid"]
    api_server.restart_apiserver()
    assert api_server.http.get("/api/v1/namespaces/default/configmaps/outlives").json()["metadata"]["uid"] == uid


def test_a_refused_object_is_told_in_the_servers_words(api_server):
    with pytest.raises(Exception, match=r"configmaps/Upper: .*lowercase RFC 1123"):
        api_server.apply(config_map("Upper"))


def test_kubectl_meets_the_server_of_its_own_version(api_server):
    versions = json.loads(api_server.kubectl("version", "--output=json"))
    assert versions["serverVersion"]["gitVersion"] == versions["clientVersion"]["gitVersion"] == "v1.36.3"


def test_a_cluster_that_runs_already_is_used_by_its_kubeconfig(api_server):
    with External(kubeconfig=api_server.kubeconfig) as cluster:
        uid = cluster.apply(config_map("theirs", a="b"))["metadata"]["uid"]
        assert api_server.http.get("/api/v1/namespaces/default/configmaps/theirs").json()["metadata"]["uid"] == uid
        assert "theirs" in cluster.kubectl("get", "configmaps", "--output=name")
        another = cluster.user_kubeconfig("somebody", ["some-group"])
        who = json.loads(cluster.kubectl("auth", "whoami", "--output=json", f"--kubeconfig={another}"))
    assert who["status"]["userInfo"]["username"] == "somebody"
    assert "some-group" in who["status"]["userInfo"]["groups"]


def test_a_user_may_do_only_what_was_bound_and_is_counted_under_its_name(control_plane):
    server = control_plane
    reader = server.user_kubeconfig("fleet-reader", cluster_role="cluster-admin")
    nobody = server.user_kubeconfig("nobody", ["some-group"])
    server.kubectl("get", "configmaps", f"--kubeconfig={reader}")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        server.kubectl("get", "configmaps", f"--kubeconfig={nobody}")
    assert 'User "nobody" cannot list resource "configmaps"' in refused.value.stderr
    mark = audit.end(server.audit_log)
    counted = audit.calls(server.audit_log)
    server.kubectl("create", "configmap", "counted", f"--kubeconfig={reader}")
    later = audit.calls(server.audit_log, since=mark)
    assert counted[audit.Call("fleet-reader", "list", "configmaps", 200)] == 1
    assert counted[audit.Call("nobody", "list", "configmaps", 403)] == 1
    assert audit.writes(counted, user="fleet-reader") == 0
    assert audit.writes(later, user="fleet-reader") == 1


def deployment(name, *, replicas, gpus):
    labels = {"app": name}
    container = {"name": "engine", "image": "none", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                # Other tests' nodes stay, with GPUs of kinds of their own.
                "spec": {"containers": [container], "nodeSelector": {"nvidia.com/gpu.product": GPU_PRODUCT}},
            },
        },
    }


def test_a_deployment_makes_pods_as_far_as_the_gpus_go(control_plane):
    # four nodes of eight GPUs take two pods of three GPUs each: the tenth pod has to wait
    control_plane.apply(deployment("greedy", replicas=10, gpus=3))
    address = "/apis/apps/v1/namespaces/default/deployments/greedy"

    def pods():
        answer = control_plane.http.get("/api/v1/namespaces/default/pods", params={"labelSelector": "app=greedy"})
        return answer.json()["items"]

    def unscheduled():
        conditions = [each for pod in pods() for each in pod["status"].get("conditions", [])]
        return [each["message"] for each in conditions if each.get("reason") == "Unschedulable"]

    def ready():
        return control_plane.http.get(address).json()["status"].get("readyReplicas", 0)

    wait_until(lambda: ready() == 8 and len(unscheduled()) == 2, what="eight ready pods and two that wait", seconds=90)
    assert all("Insufficient nvidia.com/gpu" in message for message in unscheduled())
    control_plane.http.delete(address).raise_for_status()
    wait_until(lambda: not pods(), what="the end of all pods", seconds=90)


@pytest.fixture
def command(tmp_path):
    environment = {**os.environ, "MODELFLEET_CLUSTER_DIR": str(tmp_path), "COLUMNS": "200"}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "e2e.cluster", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    yield run
    run("down", "--level", "api")


def children_of(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_background_level_survives_its_command_and_a_hard_kill(command, tmp_path):
    record = tmp_path / "api" / "server.json"
    assert "api is up" in command("up", "--level", "api")
    first = json.loads(record.read_text())
    command("up", "--level", "api")
    assert json.loads(record.read_text()) == first

    everything = [first["pid"], *children_of(first["pid"])]
    assert len(everything) == 3
    os.kill(first["pid"], signal.SIGKILL)
    wait_until(
        lambda: all(served.started_at(pid) is None for pid in everything), what=f"the end of {everything}", seconds=30
    )
    command("up", "--level", "api")
    second = json.loads(record.read_text())
    assert second["pid"] != first["pid"]

    assert "api is down" in command("down", "--level", "api")
    assert served.started_at(second["pid"]) is None
    assert not record.exists()
    assert "api was not up" in command("down", "--level", "api")
