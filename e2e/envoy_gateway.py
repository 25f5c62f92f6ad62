"""Envoy Gateway on the embedded cluster, by its own chart: an implementation of the Gateway API that is not ours.

Program, chart and CRDs come from its Go module; its Envoy is the one that our gateway uses too. It must not know ModelFleet.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from e2e import fleet, images
from e2e.cluster import build, gateway_api, node_images, whole

NAMESPACE = "envoy-gateway-system"
GATEWAY = "edge"
"""Name of the Gateway, and of its Envoys' Service."""
_MODULE = "github.com/envoyproxy/gateway"
_SMALL = {"requests": {"cpu": "10m", "memory": "64Mi"}}


def up() -> None:
    """Install it with one Gateway for HTTP that admits the routes of all namespaces, and wait until that is programmed."""
    fleet.load_images(images.ENVOY)
    _apply(*_crds())
    with tempfile.TemporaryDirectory(prefix="modelfleet-envoy-gateway-") as folder:
        chart = Path(folder) / "chart"
        shutil.copytree(_source(), chart, copy_function=shutil.copyfile)
        # The values are a template of its release; what it leaves open is set below.
        (chart / "values.tmpl.yaml").rename(chart / "values.yaml")
        values = Path(folder) / "values.yaml"
        values.write_text(yaml.safe_dump(_values(_image())))
        fleet.helm(
            "upgrade", "--install", "eg", str(chart), "--namespace", NAMESPACE, "--create-namespace",
            "--values", str(values), "--wait", "--timeout", "180s",
        )  # fmt: skip
    _apply(*_gateway())
    whole.kubectl("wait", f"gateway/{GATEWAY}", "-n", NAMESPACE, "--for=condition=Programmed", "--timeout=120s")


def down() -> None:
    """Take it away with everything that routes by it."""
    whole.kubectl("delete", f"gateway/{GATEWAY}", "-n", NAMESPACE, "--ignore-not-found", "--wait=true")
    fleet.helm("uninstall", "eg", "--namespace", NAMESPACE, "--ignore-not-found", "--wait")
    names = [crd["metadata"]["name"] for crd in _crds()]
    whole.kubectl("delete", "customresourcedefinitions", *names, "--ignore-not-found", "--wait=true")


def _source() -> Path:
    """Its chart."""
    return build.module_dir(module="envoy-gateway", path=_MODULE) / "charts" / "gateway-helm"


def _crds() -> list[dict[str, Any]]:
    """The Gateway API's and its own."""
    own = _source() / "charts" / "crds" / "crds" / "generated"
    return [*gateway_api.crds(), *gateway_api.in_folder(own)]


def _image() -> str:
    """Its program as an image on the node."""
    image, archive = node_images.of_program(
        folder=whole.root() / "images",
        name="envoy-gateway",
        program=build.tool("envoy-gateway"),
        user="65532:65532",
    )
    if image not in whole.ctr("images", "list", "-q").split():
        whole.load_image(archive)
    return image


def _values(image: str) -> dict[str, Any]:
    return {
        "global": {
            "images": {
                "envoyGateway": {"image": image, "pullPolicy": "IfNotPresent"},
                "envoyProxy": {"image": images.ENVOY.name},
            }
        },
        "crds": {"enabled": False},
        "deployment": {"envoyGateway": {"resources": _SMALL}},
        "topologyInjector": {"enabled": False},
    }


def _gateway() -> list[dict[str, Any]]:
    """Give the class, the one Gateway of it, and how small its Envoy is to be."""
    group = "gateway.networking.k8s.io"
    proxy = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": GATEWAY}
    here = {"name": GATEWAY, "namespace": NAMESPACE}
    container = {"image": images.ENVOY.name, "resources": _SMALL}
    service = {"type": "ClusterIP", "name": GATEWAY}
    kubernetes = {"envoyDeployment": {"container": container}, "envoyService": service}
    return [
        {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyProxy",
            "metadata": here,
            "spec": {"provider": {"type": "Kubernetes", "kubernetes": kubernetes}},
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "GatewayClass",
            "metadata": {"name": GATEWAY},
            "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "Gateway",
            "metadata": here,
            "spec": {
                "gatewayClassName": GATEWAY,
                "infrastructure": {"parametersRef": proxy},
                "listeners": [
                    {
                        "name": "http",
                        "protocol": "HTTP",
                        "port": 80,
                        "allowedRoutes": {"namespaces": {"from": "All"}},
                    }
                ],
            },
        },
    ]


def _apply(*manifests: dict[str, Any]) -> None:
    whole.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(manifests))
    whole.kubectl(
        "wait", "customresourcedefinitions", "--all", "--for=condition=Established", "--timeout=60s", timeout=90
    )
