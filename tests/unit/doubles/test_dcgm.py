"""The metrics stand-in's text and arithmetic."""

from __future__ import annotations

import pytest

from e2e.doubles import dcgm
from e2e.doubles.dcgm import Gpu, User, cpu_limit, render


def test_labels_are_those_of_the_real_exporter():
    user = User(namespace="team", pod="p-0", container="engine")
    text = render(gpus=[Gpu(0, "GPU-a", user, 42.4, 1000, 0)], host="n1")
    line = next(line for line in text.splitlines() if line.startswith("DCGM_FI_DEV_GPU_UTIL"))
    assert line == (
        'DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA-L4",Hostname="n1",'
        'namespace="team",pod="p-0",container="engine"} 42'
    )


def test_every_promised_metric_is_there():
    text = render(gpus=[Gpu(0, "GPU-a", None, 0.0, 0, 79)], host="n1")
    values = {line.split("{")[0]: line.rsplit(" ", 1)[1] for line in text.splitlines() if not line.startswith("#")}
    assert values == {
        "DCGM_FI_DEV_GPU_UTIL": "0",
        "DCGM_FI_DEV_FB_USED": "0",
        "DCGM_FI_DEV_FB_FREE": "23034",
        "DCGM_FI_DEV_GPU_TEMP": "35",
        "DCGM_FI_DEV_XID_ERRORS": "79",
    }


@pytest.mark.parametrize(("limit", "cores"), [("1", 1.0), ("250m", 0.25), (None, 0.0)])
def test_cpu_limit(limit, cores):
    resources = {"limits": {"cpu": limit}} if limit else {}
    assert cpu_limit(pod={"spec": {"containers": [{"resources": resources}]}}) == cores


@pytest.mark.parametrize("unified", [True, False])
def test_cpu_time_is_read_from_either_cgroup_version(tmp_path, monkeypatch, unified):
    monkeypatch.setattr(dcgm.node_cgroups, "ROOT", tmp_path)
    if unified:
        (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
        pod = tmp_path / "kp1/kubepods/burstable/podU"
        pod.mkdir(parents=True)
        (pod / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    else:
        pod = tmp_path / "cpuacct/kp1/kubepods/podU"
        pod.mkdir(parents=True)
        (pod / "cpuacct.usage").write_text("1500000000\n")
    assert dcgm.cpu_seconds(uid="U") == 1.5
    assert dcgm.cpu_seconds(uid="gone") == 0
