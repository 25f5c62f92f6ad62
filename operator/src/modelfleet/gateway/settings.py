"""Settings of the gateway's control process, from the environment: every field with unit, default and reason.

Read once at start by `main`. Must not hold what changes while it runs: that comes from the API.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from modelfleet.core.routing.model import Access


class TenantSettings(BaseModel):
    """What one tenant may, in the words of the chart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespaces: tuple[str, ...] | None = Field(None, description="Default: the namespace of its own name.")
    rate: float | None = Field(
        None, gt=0, alias="requestsPerSecond", description="Requests per second in each Envoy. Default: no limit."
    )


class GatewaySettings(BaseModel):
    """What one control process is told at start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = Field("modelfleet", description="Namespace of the gateway itself; keys are read here only.")
    watch_namespaces: tuple[str, ...] = Field((), description="Namespaces to serve. Default: empty, all of them.")
    access: Access = Field("Namespaced", description="Whom a model without allowedTenants admits.")
    tenants: Mapping[str, TenantSettings] = Field(
        default_factory=dict,
        description="JSON: tenant → namespaces whose models it may use (default: its own name's) and requestsPerSecond "
        "that each Envoy lets through (default: no limit).",
    )
    tls_secret: str = Field("", description="Secret with the edge's certificate. Default: empty, the edge is plain.")
    request_port: int = Field(8443, ge=1, le=65535, description="Port on which Envoys take requests.")
    ads_port: int = Field(18000, ge=0, le=65535, description="Port on which Envoys get their configuration.")
    ads_tls_dir: Path | None = Field(
        None, description="Folder with tls.crt, tls.key and ca.crt. Default: none, plain, for tests on loopback only."
    )
    ads_address: str = Field("[::]", description="Address on which Envoys get their configuration.")
    metrics_port: int = Field(8080, ge=1, le=65535, description="Port of /metrics, /healthz, /readyz and the report.")

    @field_validator("watch_namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("tenants", mode="before")
    @classmethod
    def _parse(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value
