"""The engine part of the spec: image, arguments, environment.

Beside `spec`, which names it. It must not know what a flag means; `flags` lists those that are refused.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from modelfleet.api.v1alpha1.base import ApiModel, Name, cel, checked, listed_by
from modelfleet.api.v1alpha1.flags import arg_rules, env_rules


class KeyRef(ApiModel):
    """One key of a Secret or ConfigMap."""

    name: Name = Field(description="Name of the Secret or ConfigMap.")
    key: Name = Field(description="Key in it.")
    optional: bool | None = Field(None, description="Start without it when it is missing. Default: false.")


class FieldRef(ApiModel):
    """One field of the pod."""

    field_path: Name = Field(description="For example status.podIP.")


class EnvSource(ApiModel):
    """Where the value of an environment variable comes from."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            cel(
                "[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)].filter(x, x).size() == 1",
                "set exactly one of secretKeyRef, configMapKeyRef and fieldRef",
            )
        )
    )
    secret_key_ref: KeyRef | None = Field(None, description="A key of a Secret.")
    config_map_key_ref: KeyRef | None = Field(None, description="A key of a ConfigMap.")
    field_ref: FieldRef | None = Field(None, description="A field of the pod.")


class EnvVar(ApiModel):
    """One environment variable of the engine's container."""

    model_config = ConfigDict(json_schema_extra=checked(*env_rules()))
    name: Annotated[str, Field(min_length=1, max_length=256)] = Field(description="Name of the variable.")
    value: Annotated[str, Field(max_length=8192)] | None = Field(None, description="Its value, visible to all readers.")
    value_from: EnvSource | None = Field(None, description="Where the value comes from, instead of `value`.")


class Engine(ApiModel):
    """The program that serves."""

    type: Literal["vLLM"] = Field("vLLM", description="Kind of engine. Default: vLLM.")
    image: Annotated[str, Field(max_length=512)] = Field(
        "", description="Container image. Default (also when empty): the chart's value for the type and accelerator."
    )
    args: Annotated[tuple[Annotated[str, Field(max_length=2048)], ...], Field(max_length=128)] = Field(
        (),
        description="Arguments passed to the engine unaltered, after those that ModelFleet sets.",
        json_schema_extra=checked(*arg_rules(), **{"x-kubernetes-list-type": "atomic"}),
    )
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64)] = Field(
        (), description="Environment variables of the engine's container.", json_schema_extra=listed_by("name")
    )
