"""What a user writes: the `spec` of an LLMDeployment, the one source of the CRD, the field reference and the parsing.

Every field says its unit, default and source. Defaults live here and not in the CRD: a revision's hash is over the
user's own words, and what the API server filled in would make Argo CD see a drift.
It must not decide anything: rules that one object alone can break are CEL (they refuse at admission), the rest is
the core's.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from modelfleet.api.v1alpha1.base import ApiModel, Name, cel, checked, listed_by
from modelfleet.api.v1alpha1.engine import Engine
from modelfleet.api.v1alpha1.rollout import Rollout
from modelfleet.api.v1alpha1.routing import Routing

__all__ = [
    "Accelerator",
    "Behavior",
    "Drain",
    "Engine",
    "LLMDeploymentSpec",
    "Metric",
    "Model",
    "Parallelism",
    "Resources",
    "Rollout",
    "Routing",
    "ScaleDown",
    "Scaling",
    "SecretRef",
]

Quantity = Annotated[
    int | str,
    Field(
        json_schema_extra=checked(
            cel(
                "type(self) == int ? self >= 0 : (isQuantity(self) && !quantity(self).isLessThan(quantity('0')))",
                "write a Kubernetes quantity of zero or more, such as 500m, 4 or 16Gi (16GB is none)",
            ),
            maxLength=64,
        )
    ),
]
Quantities = Annotated[dict[str, Quantity], Field(max_length=32)]


class SecretRef(ApiModel):
    """A Secret in the LLMDeployment's own namespace."""

    name: Name = Field(description="Name of the Secret.")


class Model(ApiModel):
    """Which weights are served, and under which name."""

    uri: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="Where the weights are: hf://ORG/NAME (hub), pvc://CLAIM/PATH (volume), file:///PATH (in the image).",
        json_schema_extra=checked(
            cel(
                "self.matches('^(file:///[^/]|pvc://[a-z0-9][a-z0-9.-]*(/|$)|hf://[^/]+/[^/]+$)')",
                "write hf://ORG/NAME, pvc://CLAIM/PATH or file:///PATH; other places are not supported",
            ),
            cel(
                r"!self.matches('\\s|(^|/)\\.\\.(/|$)')",
                "remove spaces and '..' from the uri; it names one place",
            ),
        ),
    )
    revision: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description="Commit of the hub repository. Default: the repository's main branch at each pod's start."
    )
    served_name: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        None,
        description="Model name in requests. Default: metadata.name.",
        json_schema_extra=checked(
            cel("self.matches('^[A-Za-z0-9._/:-]+$')", "a served name has letters, digits and . _ / : - only")
        ),
    )
    secret_ref: SecretRef | None = Field(
        None, description="Secret whose keys become the pod's environment (HF_TOKEN); read by the pod only."
    )


class Parallelism(ApiModel):
    """How one replica is spread over devices."""

    tensor: Annotated[int, Field(ge=1, le=64)] = Field(1, description="Devices that share every layer. Default: 1.")


class Accelerator(ApiModel):
    """Which devices one replica gets."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            cel(
                "!has(self.resource) || self.resource != 'none' || (!has(self.count) && !has(self.product))",
                "resource 'none' means CPU; remove count and product, or name a device resource",
            )
        )
    )
    resource: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        "nvidia.com/gpu",
        description="Extended resource of the device plugin; 'none' for CPU. Default: nvidia.com/gpu.",
        json_schema_extra=checked(
            cel(
                "self == 'none' || self.matches('^[a-z0-9][a-z0-9.-]*/[A-Za-z0-9][A-Za-z0-9._-]*$')",
                "name an extended resource such as nvidia.com/gpu, or write none for CPU",
            )
        ),
    )
    count: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="Devices per replica. Default: parallelism.tensor."
    )
    product: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        None, description="Value of the node label nvidia.com/gpu.product. Default: any product."
    )


class Resources(ApiModel):
    """CPU and memory of one replica."""

    requests: Quantities | None = Field(None, description="What the scheduler reserves, for example cpu and memory.")
    limits: Quantities | None = Field(None, description="What a replica may not exceed.")


class Metric(ApiModel):
    """One signal and the value per replica that scaling aims at."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            cel(
                "self.type != 'GPUUtilization' || self.target <= 1.0",
                "GPUUtilization is a ratio; write 0.8 for 80 %",
            )
        )
    )
    type: Literal["QueueDepth", "InFlight", "GPUUtilization"] = Field(
        description="QueueDepth: waiting requests. InFlight: running and waiting requests. GPUUtilization: ratio 0 to 1."
    )
    target: Annotated[float, Field(gt=0, le=1_000_000)] = Field(
        description="Average per replica: requests, or a ratio for GPUUtilization."
    )


class ScaleDown(ApiModel):
    """How scaling in is slowed."""

    stabilization_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        300, description="Seconds; the highest wish of this window counts. Default: 300, as the HPA's."
    )


class Behavior(ApiModel):
    """How fast scaling acts."""

    scale_down: ScaleDown = Field(default_factory=ScaleDown, description="Scaling in.")


class Scaling(ApiModel):
    """Replicas decided by what Prometheus reports."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            cel(
                "!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",
                "minReplicas is above maxReplicas; lower it or raise maxReplicas",
            )
        )
    )
    min_replicas: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="Lower bound, 1 or more. Default: 1.")
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = Field(description="Upper bound.")
    max_gpus: Annotated[int, Field(ge=1, le=64_000)] | None = Field(
        None,
        alias="maxGPUs",
        description="Most devices of accelerator.resource at any time, those of a rollout's surge and of replicas that"
        " still drain included; a rollout waits where it would need more. Default: no bound.",
    )
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1, max_length=8)] = Field(
        description="Signals; the one that wants most replicas decides.", json_schema_extra=listed_by("type")
    )
    behavior: Behavior = Field(default_factory=Behavior, description="How fast scaling acts.")
    mode: Literal["Auto", "Advise"] = Field(
        "Auto", description="Advise computes and explains but changes nothing. Default: Auto."
    )


class Drain(ApiModel):
    """How a replica ends."""

    timeout_seconds: Annotated[int, Field(ge=0, le=7200)] = Field(
        120, description="Seconds that requests in flight get to finish. Default: 120."
    )


class LLMDeploymentSpec(ApiModel):
    """The wish: a model, an engine, and how many replicas."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            cel(
                "!(has(self.replicas) && has(self.scaling))",
                "spec.scaling decides the replicas; remove it to use replicas, kubectl scale or an external HPA",
            ),
            cel(
                "has(self.replicas) || has(self.scaling)",
                "set spec.replicas for a fixed number, or spec.scaling to follow the load",
            ),
            cel(
                "!has(self.routing) || !has(self.routing.provider) || self.routing.provider != 'Service'"
                " || !has(self.rollout) || !has(self.rollout.strategy)"
                " || !(self.rollout.strategy in ['Canary', 'BlueGreen'])",
                "strategy Canary and BlueGreen need a gateway; set routing.provider to Gateway or GatewayAPI, or choose"
                " RollingUpdate",
            ),
            cel(
                "!has(self.model.revision) || self.model.uri.startsWith('hf://')",
                "model.revision names a commit of an hf:// repository; remove it",
            ),
            cel(
                "!has(self.accelerator) || !has(self.accelerator.count) || !has(self.parallelism)"
                " || !has(self.parallelism.tensor) || self.accelerator.count >= self.parallelism.tensor",
                "accelerator.count is below parallelism.tensor; each rank needs a device of its own: raise it or remove it",
            ),
            cel(
                "!has(self.scaling) || !has(self.scaling.maxGPUs) || !has(self.accelerator)"
                " || !has(self.accelerator.resource) || self.accelerator.resource != 'none'",
                "resource 'none' means CPU; remove scaling.maxGPUs, which counts devices",
            ),
            cel(
                "!has(self.scaling) || !has(self.scaling.maxGPUs) || self.scaling.maxGPUs >="
                " (has(self.scaling.minReplicas) ? self.scaling.minReplicas : 1) *"
                " (has(self.accelerator) && has(self.accelerator.count) ? self.accelerator.count :"
                " (has(self.parallelism) && has(self.parallelism.tensor) ? self.parallelism.tensor : 1))",
                "scaling.maxGPUs is below the devices of minReplicas replicas; raise it, or lower minReplicas or what one"
                " replica asks for",
            ),
            cel(
                "!has(self.resources) || [has(self.resources.requests) ? self.resources.requests : {},"
                " has(self.resources.limits) ? self.resources.limits : {}].all(m, m.all(k, !k.contains('/')))",
                "devices are not written in resources; set accelerator.resource and accelerator.count",
            ),
        )
    )
    model: Model = Field(description="Which weights are served, and under which name.")
    engine: Engine = Field(default_factory=Engine, description="The program that serves.")
    parallelism: Parallelism = Field(default_factory=Parallelism, description="How one replica is spread over devices.")
    accelerator: Accelerator = Field(default_factory=Accelerator, description="Which devices one replica gets.")
    resources: Resources = Field(default_factory=Resources, description="CPU and memory of one replica.")
    replicas: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        None, description="Fixed number of replicas. Exactly one of replicas and scaling is set."
    )
    scaling: Scaling | None = Field(None, description="Replicas decided by what Prometheus reports.")
    rollout: Rollout = Field(default_factory=Rollout, description="How a new revision takes over.")
    drain: Drain = Field(default_factory=Drain, description="How a replica ends.")
    routing: Routing = Field(default_factory=Routing, description="How requests reach the model through the gateway.")
    template: dict[str, Any] | None = Field(
        None,
        description="Overlay on the pod template (metadata, spec), merged by the keys of Kubernetes' lists.",
        json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    )
    suspend: bool = Field(
        False,  # noqa: FBT003 - a pydantic field's default, not an argument that hides its meaning
        description="true freezes: no new revision, step or scaling; serving goes on. Default: false.",
    )

    @property
    def devices_per_replica(self) -> int:
        """Devices that one replica claims; 0 on CPU.

        >>> LLMDeploymentSpec(model=Model(uri="hf://a/b"), parallelism=Parallelism(tensor=4)).devices_per_replica
        4
        """
        if self.accelerator.resource == "none":
            return 0
        return self.accelerator.count or self.parallelism.tensor
