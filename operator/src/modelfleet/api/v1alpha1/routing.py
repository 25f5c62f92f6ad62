"""How requests reach an LLMDeployment: `spec.routing`. It restarts nothing: no revision depends on it.

Must not decide who serves a request: `core/routing` does.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from modelfleet.api.v1alpha1.base import ATOMIC, ApiModel, Name, cel, checked

Tenant = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Host = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
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
    api_key: bool | None = Field(None, description="true: all requests of a tenant belong together, whatever its key.")


class ParentRef(ApiModel):
    """A Gateway, or one listener of it."""

    name: Name = Field(description="Name of the Gateway.")
    namespace: Tenant | None = Field(None, description="Its namespace. Default: the LLMDeployment's own.")
    section_name: Name | None = Field(None, description="Name of one listener. Default: all that admit the route.")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(None, description="Only listeners on this port.")


class GatewayAPI(ApiModel):
    """Where the HTTPRoute of this LLMDeployment is to be attached."""

    parent_refs: Annotated[tuple[ParentRef, ...], Field(min_length=1, max_length=32)] = Field(
        description="The Gateways that are to route to this model.", json_schema_extra=ATOMIC
    )
    hostnames: Annotated[tuple[Host, ...], Field(max_length=16)] = Field(
        (),
        description="Host names that mean this model; the first is in status.url. Two models on one listener need"
        " different ones. Default: empty, every host name of the listener.",
        json_schema_extra=ATOMIC,
    )


class Routing(ApiModel):
    """How requests reach the replicas, and whose."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            cel(
                "!has(self.provider) || self.provider != 'GatewayAPI' || has(self.gatewayAPI)",
                "provider GatewayAPI needs routing.gatewayAPI.parentRefs: name the Gateway that is to route to this model",
            ),
            cel(
                "!has(self.gatewayAPI) || (has(self.provider) && self.provider == 'GatewayAPI')",
                "routing.gatewayAPI is for provider GatewayAPI only; set provider: GatewayAPI or remove it",
            ),
            cel(
                "!has(self.allowedTenants) || self.allowedTenants.size() == 0 || !has(self.provider)"
                " || self.provider != 'GatewayAPI'",
                "with provider GatewayAPI the Gateway decides who may use the model; remove routing.allowedTenants",
            ),
        )
    )
    provider: Literal["Gateway", "GatewayAPI", "Service"] | None = Field(
        None,
        description="Gateway: ModelFleet's own. GatewayAPI: an HTTPRoute for a Gateway that the cluster has."
        " Service: a plain Service per LLMDeployment."
        " Default: Gateway where the chart's gateway is enabled, else Service.",
    )
    gateway_api: GatewayAPI | None = Field(
        None, alias="gatewayAPI", description="Which Gateways, and under which host names; for provider GatewayAPI."
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
