"""The pod template of one revision: engine container, probes, GPU pinning, drain and security.

Every rule here has its reason in how vLLM lives and dies. Must not read anything but the spec and the settings.
"""

from collections.abc import Mapping
from typing import Any

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core import names
from modelfleet.core.fit import PRODUCT_LABEL
from modelfleet.core.render.overlay import merge
from modelfleet.core.world import RenderSettings

ENGINE_PORT = 8000
SUPERVISOR_PORT = 8001
PRE_STOP_SECONDS = 5
"""Sleep before SIGTERM: endpoints are gone everywhere within 0.2 s as measured, new requests after SIGTERM get 500."""
EXIT_SECONDS = 10
"""What vLLM needs beyond its shutdown timeout: it leaves about 2.6 s after the last request."""
START_SECONDS = 3600
"""Longest time a replica may take to answer its first token: downloading hundreds of GB included."""
USER = 10001


def served_name(spec: LLMDeploymentSpec, *, name: str) -> str:
    """Name under which clients ask for the model."""
    return spec.model.served_name or name


def engine_image(spec: LLMDeploymentSpec, *, settings: RenderSettings) -> str:
    """Choose the image: the user's, or the installation's for this engine and accelerator."""
    flavour = "gpu" if spec.devices_per_replica else "cpu"
    return spec.engine.image or settings.engine_images.get(spec.engine.type, {}).get(flavour, "")


def render_template(*, name: str, revision: str, spec: LLMDeploymentSpec, settings: RenderSettings) -> dict[str, Any]:
    """Render a revision's pod template, the user's overlay merged in."""
    template = {
        "metadata": {
            "labels": {**names.owned_labels(name=name, revision=revision), names.ROTATION: "in"},
            "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(ENGINE_PORT),
                "prometheus.io/path": "/metrics",
            },
        },
        "spec": {
            "terminationGracePeriodSeconds": PRE_STOP_SECONDS + spec.drain.timeout_seconds + EXIT_SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(name=name, spec=spec, settings=settings)],
            "volumes": [
                {"name": "tmp", "emptyDir": {}},
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
                *_model_volumes(spec),
            ],
            **_placement(spec),
        },
    }
    if spec.template:
        return dict(merge(template, spec.template))
    return template


def _container(*, name: str, spec: LLMDeploymentSpec, settings: RenderSettings) -> dict[str, Any]:
    stock = bool(spec.engine.image)
    port, ready, live = (
        (ENGINE_PORT, "/health", "/health") if stock else (SUPERVISOR_PORT, "/modelfleet/ready", "/modelfleet/live")
    )
    container: dict[str, Any] = {
        "name": "engine",
        "image": engine_image(spec, settings=settings),
        "imagePullPolicy": "IfNotPresent",
        "args": engine_args(spec, name=name),
        "env": _env(spec),
        "ports": [
            {"name": "http", "containerPort": ENGINE_PORT, "protocol": "TCP"},
            {"name": "supervisor", "containerPort": SUPERVISOR_PORT, "protocol": "TCP"},
        ],
        "resources": _resources(spec),
        "startupProbe": _probe(path=ready, port=port, period=2, failures=START_SECONDS // 2),
        "readinessProbe": _probe(path=ready, port=port, period=5, failures=3),
        "livenessProbe": _probe(path=live, port=port, period=10, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the one writable folder of a read-only container
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - tensor parallelism talks through it
            *_model_mounts(spec),
        ],
    }
    if spec.model.secret_ref is not None:
        container["envFrom"] = [{"secretRef": {"name": spec.model.secret_ref.name}}]
    if stock:
        container["command"] = ["vllm"]
    return container


def engine_args(spec: LLMDeploymentSpec, *, name: str) -> list[str]:
    """Build the engine's command line: what the operator owns, then the user's own flags unaltered."""
    model, _ = _model(spec)
    args = ["serve", model, "--served-model-name", served_name(spec, name=name), "--host", "0.0.0.0"]  # noqa: S104 - a pod's own address
    args += ["--port", str(ENGINE_PORT), "--shutdown-timeout", str(spec.drain.timeout_seconds)]
    if spec.model.uri.startswith("hf://") and spec.model.revision:
        args += ["--revision", spec.model.revision]
    if spec.parallelism.tensor > 1:
        args += ["--tensor-parallel-size", str(spec.parallelism.tensor)]
    return args + list(spec.engine.args)


def _env(spec: LLMDeploymentSpec) -> list[dict[str, Any]]:
    env: list[dict[str, Any]] = [
        {"name": "HOME", "value": "/tmp"},  # noqa: S108 - caches of the engine live in the one writable folder
        {"name": "VLLM_NO_USAGE_STATS", "value": "1"},
        {"name": "MODELFLEET_DRAIN_TIMEOUT_SECONDS", "value": str(spec.drain.timeout_seconds)},
        {"name": "MODELFLEET_START_DEADLINE_SECONDS", "value": str(START_SECONDS)},
    ]
    if not spec.model.uri.startswith("hf://"):
        env.append({"name": "HF_HUB_OFFLINE", "value": "1"})
    own = [e.model_dump(by_alias=True, exclude_unset=True) for e in spec.engine.env]
    return list(merge(env, own, field="env")) if own else env


def _resources(spec: LLMDeploymentSpec) -> dict[str, Any]:
    given = spec.resources.model_dump(by_alias=True, exclude_unset=True)
    requests, limits = dict(given.get("requests") or {}), dict(given.get("limits") or {})
    if count := spec.devices_per_replica:
        limits[spec.accelerator.resource] = requests[spec.accelerator.resource] = str(count)
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}


def _placement(spec: LLMDeploymentSpec) -> dict[str, Any]:
    if not spec.devices_per_replica:
        return {}
    placement: dict[str, Any] = {
        "tolerations": [{"key": spec.accelerator.resource, "operator": "Exists", "effect": "NoSchedule"}],
    }
    if spec.accelerator.product:
        placement["nodeSelector"] = {PRODUCT_LABEL: spec.accelerator.product}
    return placement


def _probe(*, path: str, port: int, period: int, failures: int) -> Mapping[str, Any]:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _model(spec: LLMDeploymentSpec) -> tuple[str, str]:
    """Resolve a model URI to what the engine is told and the claim that holds it (empty for none)."""
    scheme, _, rest = spec.model.uri.partition("://")
    if scheme == "pvc":
        claim, _, path = rest.partition("/")
        return f"/models/{path}".rstrip("/"), claim
    return rest, ""


def _model_volumes(spec: LLMDeploymentSpec) -> list[dict[str, Any]]:
    _, claim = _model(spec)
    return [{"name": "model", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}] if claim else []


def _model_mounts(spec: LLMDeploymentSpec) -> list[dict[str, Any]]:
    _, claim = _model(spec)
    return [{"name": "model", "mountPath": "/models", "readOnly": True}] if claim else []
