"""How requests reach an LLMDeployment: `spec.routing`. It restarts nothing: no revision depends on it.

Must not decide who serves a request: `core/routing` does.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from modelfleet.api.v1alpha1.base import ApiModel, cel, checked

Tenant = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Token = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class SessionAffinity(ApiModel):
    """What keeps a conversation on one revision and, while it can, on one replica."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            cel(
                "[has(self.header), has(self.cookie), has(self.apiKey) && self.apiKey].filter(x, x).size() == 1",
                "set exactly one of header, cookie and apiKey: true",
            )
        )
    )
    header: Token | None = Field(None, description="Request header whose value names the session.")
    cookie: Token | None = Field(None, description="Cookie whose value names the session; the application sets it.")
    api_key: bool | None = Field(None, description="true: all requests of a tenant belong together.")


class Routing(ApiModel):
    """How requests reach the replicas, and whose."""

    provider: Literal["Gateway", "Service"] | None = Field(
        None,
        description="Gateway: ModelFleet's own. Service: a plain Service per LLMDeployment."
        " Default: Gateway where the chart's gateway is enabled, else Service.",
    )
    allowed_tenants: Annotated[tuple[Tenant, ...], Field(max_length=256)] = Field(
        (), description="Tenants that may use this model. Default: empty, the chart's gateway.access decides."
    )
    balance: Literal["LeastRequest", "PrefixAffinity"] = Field(
        "LeastRequest",
        description="LeastRequest: the replica with fewest requests. PrefixAffinity: equal beginnings of prompts go to"
        " the same replica, as long as it has no more than 1.25 times the average. Default: LeastRequest.",
    )
    session_affinity: SessionAffinity | None = Field(None, description="Keeps a conversation where it began.")
