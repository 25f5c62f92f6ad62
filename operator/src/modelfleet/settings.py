"""Settings of the operator process, from the environment: every field with unit, default and reason.

Read once at start by `shell/main.py`. Must not hold anything that a user sets per LLMDeployment.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

PREFIX = "MODELFLEET_"
Kind = TypeVar("Kind", bound=BaseModel)


class SettingsError(Exception):
    """A setting cannot be used; the message names the environment variable and what to do."""


class Settings(BaseModel):
    """What one operator process is told at start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = Field("modelfleet", description="Namespace of the operator itself; its Lease lives there.")
    watch_namespaces: tuple[str, ...] = Field((), description="Namespaces to serve. Default: empty, all of them.")
    read_nodes: bool = Field(
        True,  # noqa: FBT003 - a field's default
        description="Whether nodes and others' pods may be read; without it free devices are unknown.",
    )
    prometheus_url: str = Field("", description="Address of Prometheus. Default: empty, scaling holds.")
    prometheus_timeout_seconds: float = Field(5.0, gt=0, description="Seconds per query. Default: 5.")
    prometheus_headers_dir: Path | None = Field(None, description="Folder of files, each a request header by its name.")
    prometheus_ca_file: Path | None = Field(None, description="CA bundle that signed Prometheus' certificate.")
    engine_images: Mapping[str, Mapping[str, str]] = Field(
        default_factory=dict, description="JSON: engine type → gpu and cpu → image."
    )
    gateway_url: str = Field("", description="Address of the gateway for clients. Default: empty, there is none.")
    engine_peers: tuple[Mapping[str, Any], ...] = Field(
        (), description="JSON: peers of the NetworkPolicy for engines behind the gateway. Default: empty, no policy."
    )
    gateway_ack_timeout_seconds: float = Field(
        30.0, ge=0, description="Seconds that a replica which leaves waits for every Envoy's word. Default: 30."
    )
    discovery_seconds: float = Field(
        300.0, gt=0, description="Seconds between two looks whether the Gateway API is there. Default: 300."
    )
    metrics_port: int = Field(8080, ge=1, le=65535, description="Port of /metrics, /healthz and /readyz.")
    lease_name: str = Field("modelfleet-operator", description="Name of the Lease that elects the leader.")
    lease_seconds: float = Field(15.0, ge=3, description="Seconds after which a silent leader is replaced.")
    identity: str = Field("", description="Holder name in the Lease. Default: the host name and a random word.")
    rendering_version: str = Field("1", min_length=1, description="Version of the renderer, stored with revisions.")
    tick_seconds: float = Field(15.0, gt=0, description="Seconds between two looks at the metrics, as the HPA's.")
    workers: int = Field(8, ge=1, le=64, description="LLMDeployments worked on at a time.")
    debounce_seconds: float = Field(0.3, ge=0, description="Least seconds between two passes over the same object.")

    @field_validator("watch_namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("engine_images", "engine_peers", mode="before")
    @classmethod
    def _parse(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the operator's settings; an empty variable counts as unset.

    Raises:
        SettingsError: a value cannot be read.
    """
    return read(Settings, environ)


def read(kind: type[Kind], environ: Mapping[str, str]) -> Kind:
    """Read a process' settings from variables named as their fields.

    Raises:
        SettingsError: a value cannot be read.
    """
    given = {name: environ[PREFIX + name.upper()] for name in kind.model_fields if environ.get(PREFIX + name.upper())}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise SettingsError(f"{name}: {first['msg']}; correct the chart value that sets it") from error
