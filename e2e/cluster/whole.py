"""The whole cluster: real pods, real network, real Prometheus, in namespaces of its own. One per machine.

`up()` returns when a pod can resolve and reach a Service and the node offers its GPUs; `down()` ends exactly what was
started.
State lies under `STATE_DIR`, outside any clone. Namespaces are `netns`', processes `node_daemons`', add-ons `addons`'.
It must not need anything of an earlier run to be in order: a hard kill may have left every file half written.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster import addons, build, external, host, netns, node_cgroups, node_config, node_images
from e2e.cluster.certs import Authority, Pair, write_kubeconfig
from e2e.cluster.netns import ADDRESS, Holder
from e2e.cluster.node_daemons import SERVER, USERS, daemons
from e2e.cluster.paths import STATE_DIR
from e2e.doubles import daemons as doubles
from e2e.doubles.gpus import Bench

TOOLS = (
    "etcd", "kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler",
    "kubelet", "kube-proxy", "kube-router", "coredns",
)  # fmt: skip
PROGRAMS = {
    **host.BASE_PROGRAMS,
    **host.WHOLE_PROGRAMS,
    "gcc": "build-essential",
}
FORGOTTEN = ("run", "pki", "kubeconfig", "etcd", "var-kubelet", "var-cni", "cni", "doubles")
"""What `down` removes; image content and logs stay unless it is told to purge."""

Say = Callable[[str], None]


def root() -> Path:
    """The folder that holds everything of the cluster."""
    return STATE_DIR / "whole"


def kubeconfig() -> Path:
    """The administrator's kubeconfig: the user's own cluster when KUBECONFIG is set, else the embedded one."""
    return external.configured() or root() / "kubeconfig" / "admin"


def up(*, say: Say = print) -> Path:
    """Bring the cluster up, or adopt the healthy one that runs the same programs; returns its kubeconfig.

    Raises:
        TimeoutError: A part did not become ready; the message names it and where its log is.
        BuildError: A program could not be built.
    """
    if external.configured():
        build.ensure(("kubectl",))
        say(f"using the cluster of KUBECONFIG={kubeconfig()}")
        return kubeconfig()
    with _locked():
        begun = time.monotonic()

        def step(what: str) -> None:
            say(f"[{time.monotonic() - begun:6.1f} s] {what}")

        host.ensure_programs(PROGRAMS)
        build.ensure(TOOLS)
        program = _configure()
        wanted = hashlib.sha256(program.encode()).hexdigest()
        if _adoptable(fingerprint=wanted):
            step("the cluster is already up and healthy")
            return kubeconfig()
        step("starting etcd, the API server and containerd")
        _sweep()
        _identities()
        _start(program=program)
        _ready(step=step)
        # Written last: a cluster without it is half made and is made again.
        (root() / "fingerprint").write_text(wanted)
        step("a pod resolves and reaches a Service, the node offers its GPUs: the cluster is up")
        return kubeconfig()


def down(*, purge: bool = False, say: Say = print) -> None:
    """End the cluster and forget its objects; `purge` also removes images and logs."""
    with _locked():
        begun = time.monotonic()
        _sweep()
        for name in (*FORGOTTEN, *(("containerd", "images", "logs") if purge else ())):
            shutil.rmtree(root() / name, ignore_errors=True)
        for path in netns.BOUND.values():
            if Path(path).is_dir() and not any(Path(path).iterdir()):
                Path(path).rmdir()
        if purge:
            shutil.rmtree(root(), ignore_errors=True)
        say(f"[{time.monotonic() - begun:6.1f} s] the cluster is down")


def status() -> dict[str, str]:
    """What is there now: `state` is one of absent, broken, up; the rest tells why, for a person."""
    holder = Holder.load(path=root() / "holder.json")
    if holder is None:
        return {"state": "absent", "message": "start it with: make cluster"}
    try:
        nodes = kubectl("get", "nodes", "--no-headers", "--request-timeout=5s").strip()
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return {"state": "broken", "message": f"{error}; logs are in {root()}/logs; make cluster starts it anew"}
    state = "up" if (root() / "fingerprint").exists() and " Ready " in nodes else "broken"
    return {"state": state, "pid": str(holder.outer), "nodes": nodes, "kubeconfig": str(kubeconfig())}


def kubectl(*argv: str, stdin: str = "", timeout: float = 120.0) -> str:
    """Run kubectl as administrator and return its output; RuntimeError carries what it said."""
    program = build.path_of("kubectl")
    done = subprocess.run(
        [str(program), f"--kubeconfig={kubeconfig()}", *argv],
        input=stdin, capture_output=True, text=True, check=False, timeout=timeout,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def gpus() -> int:
    """How many GPUs the nodes offer now; RuntimeError when the API does not answer."""
    path = r"jsonpath={.items[*].status.allocatable.nvidia\.com/gpu}"
    return sum(map(int, kubectl("get", "nodes", "-o", path, "--request-timeout=5s").split()))


def ctr(*argv: str) -> str:
    """Run containerd's own client inside the cluster."""
    holder = Holder.load(path=root() / "holder.json")
    if holder is None:
        raise netns.GoneError("the cluster is not running; start it with: make cluster")
    return netns.run(*netns.inside(holder, "/usr/bin/ctr", "-n", "k8s.io", *argv), timeout=900)


def load_image(archive: Path) -> None:
    """Import an image archive (OCI or Docker form) into the node; pods use it with IfNotPresent."""
    ctr("images", "import", str(archive.resolve()))


def restart(name: str) -> None:
    """Kill one daemon of the cluster, such as `kube-apiserver`; it is started again at once."""
    holder = Holder.load(path=root() / "holder.json")
    if holder is None:
        raise netns.GoneError("the cluster is not running; start it with: make cluster")
    pid = (root() / "run" / f"{name}.pid").read_text().strip()
    netns.run(*netns.inside(holder, "/bin/kill", "-KILL", pid))


@contextmanager
def _locked() -> Iterator[None]:
    # Beside the state folder, not in it: a purge must not remove the lock that it holds.
    lock = Path("/run/lock/modelfleet-cluster.lock")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _configure() -> str:
    """Write every configuration file; returns the program of pid 1 with their digest, which identifies the cluster."""
    folder = root()
    for name in ("run", "logs", "images", "etcd", "cni", "containerd", "doubles", *(f"var-{n}" for n in netns.BOUND)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "etcd").chmod(0o700)
    pause, _ = node_images.pause(folder=folder / "images")
    texts = {
        "containerd.toml": node_config.containerd(root=folder, pause=pause),
        "cni/10-pods.conflist": node_config.cni(),
        "kubelet.json": node_config.kubelet(root=folder),
        "resolv.conf": "# pods with dnsPolicy Default know no name server: nothing outside is asked\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    everything = [*daemons(root=folder, tool=build.path_of), *doubles.daemons(root=folder)]
    program = netns.script(root=folder, daemons=everything)
    digest = hashlib.sha256(json.dumps([*texts.values(), addons.digest(folder=folder)]).encode()).hexdigest()
    return f"{program}# configuration {digest}\n"


def _adoptable(*, fingerprint: str) -> bool:
    if Holder.load(path=root() / "holder.json") is None:
        return False
    try:
        same = (root() / "fingerprint").read_text() == fingerprint
    except OSError:
        return False
    if not same:
        return False
    try:
        # A loaded machine answers late: ending a healthy cluster costs more than waiting for it.
        netns.until("a healthy cluster", _healthy, seconds=20)
    except TimeoutError:
        return False
    return True


def _healthy() -> bool:
    return status()["state"] == "up" and addons.network_works() and _gpus_offered()


def _gpus_offered() -> bool:
    """Whether the node offers every GPU but those that a test has marked as broken."""
    bench = Bench(folder=root() / "doubles")
    try:
        return gpus() == bench.count - len(bench.unhealthy())
    except RuntimeError:
        return False


def _sweep() -> None:
    """End what is left of an earlier cluster, killed or healthy."""
    (root() / "fingerprint").unlink(missing_ok=True)
    netns.stop(root=root(), program=root() / "init.sh")
    node_cgroups.clear()
    shutil.rmtree(root() / "run", ignore_errors=True)


def _identities() -> None:
    """Make certificates and kubeconfigs, unless a whole set is there; service account tokens outlive a restart."""
    pki, configs = root() / "pki", root() / "kubeconfig"
    if (pki / "complete").exists():
        return
    # Objects in etcd are bound to the old keys.
    for old in (pki, configs, root() / "etcd"):
        shutil.rmtree(old, ignore_errors=True)
    (root() / "etcd").mkdir(mode=0o700)
    configs.mkdir(mode=0o700)
    authority = Authority.create(pki)
    pki.chmod(0o700)
    names = [ADDRESS, "10.96.0.1", "127.0.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    authority.issue(stem="apiserver", common_name="kube-apiserver", names=[*names, f"{names[-1]}.cluster.local"])
    authority.issue(stem="kubelet-serving", common_name=f"system:node:{node_config.NODE}", names=[ADDRESS])
    key = authority.signing_key(stem="service-account")
    netns.run("openssl", "pkey", "-in", str(key), "-pubout", "-out", str(key.with_suffix(".pub")))
    for name, (user, group) in USERS.items():
        client: Pair = authority.issue(stem=name, common_name=user, organizations=[group] if group else [])
        write_kubeconfig(path=configs / name, server=SERVER, authority=authority, client=client)
    (pki / "complete").touch()


def _start(*, program: str) -> None:
    for module in ("br_netfilter", "overlay", "nf_conntrack"):
        netns.run("modprobe", module, check=False)  # built in on some kernels; its user complains if it is missing
    (root() / "run").mkdir(exist_ok=True)
    (root() / "init.sh").write_text(program)
    node_cgroups.prepare()
    netns.start(root=root(), program=root() / "init.sh")


def _ready(*, step: Say) -> None:
    logs = root() / "logs"

    def answers(*argv: str, wanted: str) -> Callable[[], bool]:
        def ask() -> bool:
            try:
                return wanted in kubectl(*argv, "--request-timeout=2s")
            except RuntimeError:
                return False

        return ask

    netns.until(f"the API server (logs: {logs})", answers("get", "--raw", "/readyz", wanted="ok"), seconds=90)
    (root() / "run" / "apiserver-ready").touch()
    step("the API server is ready")
    addons.load(folder=root() / "images", ctr=ctr, load_image=load_image)
    addons.apply(folder=root() / "images", kubectl=kubectl)
    (root() / "run" / "addons").touch()
    ready = ("get", "nodes", "-o", "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}")
    netns.until(f"the node (logs: {logs}/kubelet.log)", answers(*ready, wanted="True"), seconds=90)
    step("the node is ready")
    doubles.label(kubectl=kubectl)
    netns.until(
        f"DNS, Services and Prometheus (kubectl --kubeconfig {kubeconfig()} get pods -A)",
        addons.network_works,
        seconds=120,
    )
    # Asked last: a node that was there before still tells of its GPUs until the new kubelet has reported.
    netns.until(f"the GPUs of the node (logs: {logs}/gpu_plugin.log, kubelet.log)", _gpus_offered, seconds=60)


__all__ = ["ctr", "down", "gpus", "kubeconfig", "kubectl", "load_image", "restart", "root", "status", "up"]
