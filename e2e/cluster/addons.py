"""What runs on the cluster itself: DNS, Prometheus, the rights of the NetworkPolicy enforcer.

Sits below `whole`. Manifests are files in `manifests/`; only image names and addresses are filled in here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import string
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from e2e.cluster import build, node_images, pod_discovery
from e2e.cluster.netns import ADDRESS
from e2e.doubles.daemons import DCGM_PORT

MANIFESTS = Path(__file__).parent / "manifests"
PROMETHEUS_SERVICE = "prometheus.monitoring.svc"
PROMETHEUS_PORT = 9090
PROMETHEUS_ADDRESS = "10.96.0.90"
PROMETHEUS_URL = f"http://{PROMETHEUS_ADDRESS}:{PROMETHEUS_PORT}"
"""Prometheus as the host and pods reach it; its Service has this fixed address."""


def images(*, folder: Path) -> dict[str, tuple[str, Path]]:
    """Image name and archive of each add-on, written if missing."""
    return {
        "PAUSE_IMAGE": node_images.pause(folder=folder),
        "COREDNS_IMAGE": node_images.of_program(
            folder=folder, name="coredns", program=build.path_of("coredns"), user="65532:65532"
        ),
        "PROMETHEUS_IMAGE": node_images.of_program(
            folder=folder, name="prometheus", program=Path("/usr/bin/prometheus"), user="65534:65534"
        ),
    }


def manifests(*, folder: Path) -> str:
    """Every add-on's manifest in one stream."""
    values = {name: image for name, (image, _) in images(folder=folder).items()}
    values |= {"DCGM_TARGET": f"{ADDRESS}:{DCGM_PORT}", "DISCOVERY_TARGET": f"{ADDRESS}:{pod_discovery.PORT}"}
    values |= {"PROMETHEUS_ADDRESS": PROMETHEUS_ADDRESS}
    texts = [string.Template(path.read_text()).substitute(values) for path in sorted(MANIFESTS.glob("*.yaml"))]
    return "\n---\n".join(texts)


def digest(*, folder: Path) -> str:
    """Changes when any manifest or image does."""
    return hashlib.sha256(manifests(folder=folder).encode()).hexdigest()


def load(*, folder: Path, ctr: Callable[..., str], load_image: Callable[[Path], None]) -> None:
    """Import the add-ons' images that containerd does not hold yet."""
    there = ctr("images", "list", "-q").split()
    for image, archive in images(folder=folder).values():
        if image not in there:
            load_image(archive)


def apply(*, folder: Path, kubectl: Callable[..., str]) -> None:
    """Apply every manifest; a second time changes nothing."""
    text = manifests(folder=folder)
    kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=e2e-cluster", "-f", "-", stdin=text)


def query(promql: str, *, url: str = PROMETHEUS_URL) -> list[dict[str, object]]:
    """The result vector of an instant query.

    Raises:
        OSError: Prometheus does not answer.
    """
    asked = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': promql})}"
    # The host's proxy settings do not concern an address inside the cluster.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(asked, timeout=5) as answer:
        result: list[dict[str, object]] = json.load(answer)["data"]["result"]
    return result


def network_works() -> bool:
    """Whether Prometheus, a pod reached through a Service, itself resolves and reaches a Service by name."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        # Its data outlive a kill: only a scrape of the last seconds counts.
        return bool(query('timestamp(up{job="dns"} == 1) > time() - 5'))
    return False
