"""The configuration files of the node's programs: containerd, CNI, kubelet, kube-proxy.

Sits below `whole` and is pure: text in, text out. Every setting that differs from a default says why here.
"""

from __future__ import annotations

import json
from pathlib import Path

from e2e.cluster.netns import ADDRESS, POD_CIDR
from e2e.cluster.node_cgroups import NAME

NODE = "modelfleet-node"
DNS = "10.96.0.10"


def containerd(*, root: Path, pause: str) -> str:
    """Containerd 1.6: its own root, our pause image, and only the overlay snapshotter."""
    return f"""\
version = 2
root = "{root}/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # A container may not lower its score below that of the machine this runs on.
  restrict_oom_score_adj = true
  # /run is private to the cluster: so are its network namespaces.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{root}/cni"
"""


def cni() -> str:
    """One bridge; no masquerading, since the host routes to pods; addresses forgotten with /run."""
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": POD_CIDR.replace("/16", "/24")}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/cni-networks",
    }
    bridge = {
        "type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False,
        "hairpinMode": True, "ipam": ipam,
    }  # fmt: skip
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}, indent=2)


def kubelet(*, root: Path) -> str:
    """Kubelet in namespaces of its own, on cgroup v1 or v2, on a machine that others use too."""
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{root}/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{root}/pki/kubelet-serving.crt",
        "tlsPrivateKeyFile": f"{root}/pki/kubelet-serving.key",
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS],
        "resolvConf": f"{root}/resolv.conf",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{NAME}",
        "failCgroupV1": False,
        "failSwapOn": False,
        # The state folder is no mount point of its own: there is no filesystem to divide.
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        # Images are imported, not pulled: one that is collected, for want of space too, would be gone.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "500Mi", "imagefs.available": "500Mi"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        # An image that was pulled under one name may be imported under another: it is as much there as any.
        "imagePullCredentialsVerificationPolicy": "NeverVerify",
        "serializeImagePulls": False,
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
        "protectKernelDefaults": False,
        "registerWithTaints": [],
    }
    return json.dumps(config, indent=2)


def kubeconfig(*, ca: Path, cert: Path, key: Path, server: str) -> str:
    """A kubeconfig that names its files; they stay where they are."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "modelfleet",
        "clusters": [{"name": "modelfleet", "cluster": {"server": server, "certificate-authority": str(ca)}}],
        "users": [{"name": "user", "user": {"client-certificate": str(cert), "client-key": str(key)}}],
        "contexts": [{"name": "modelfleet", "context": {"cluster": "modelfleet", "user": "user"}}],
    }
    return json.dumps(config, indent=2)
