"""The gateway-neutral route model: what is served, by which revisions and endpoints, to whom.

Built from API objects by `core/routing/read.py`, rendered by `gateway/`. It must not know Envoy or Kubernetes' JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Balance = Literal["LeastRequest", "PrefixAffinity"]
Access = Literal["Namespaced", "AnyKey", "Open"]
OPERATIONS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
"""What clients may call; everything else of an engine (its metrics, loading of adapters) is not for them."""
MODELS_PATH = "/v1/models"
"""The list of models, which they may read."""


@dataclass(frozen=True, kw_only=True, order=True)
class Endpoint:
    """One pod that takes requests."""

    address: str
    port: int = 8000


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One revision and the pods of it that are ready and in rotation."""

    name: str
    """Its hash: what clients see in `x-modelfleet-revision`."""
    weight: int | None = None
    """Share that the operator asks for, relative to the other revisions'; None when status names no weight."""
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds; they outlive long prefills, since before the first token a healthy engine is silent."""

    connect: float = 0.5
    """A node that is gone answers nothing at all: this is what it costs the first request that is sent there."""
    silence: float = 600.0
    """Longest time without a byte from the engine, before the first and between two."""


@dataclass(frozen=True, kw_only=True)
class Stickiness:
    """What keeps a client's requests on one revision and, while it can, on one replica."""

    by: Literal["Header", "Cookie", "ApiKey"]
    name: str = ""
    """Name of the header or cookie."""


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A copy of some requests to another revision; its answers are thrown away."""

    revision: str
    percent: int


@dataclass(frozen=True, kw_only=True)
class Served:
    """One LLMDeployment as the gateway sees it."""

    uid: str
    namespace: str
    name: str
    created: str
    """creationTimestamp, as Kubernetes writes it: it sorts."""
    served_name: str
    """The name that its engines answer to."""
    adapter_names: tuple[str, ...] = ()
    """Further names that its engines answer to: `--lora-modules`."""
    revisions: tuple[Revision, ...] = ()
    allowed_tenants: tuple[str, ...] = ()
    balance: Balance = "LeastRequest"
    stickiness: Stickiness | None = None
    mirror: Mirror | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)

    @property
    def full_name(self) -> str:
        """The model name that always works."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key and the tenant that holds it; the key never shows in a repr."""

    tenant: str
    key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Everything that a gateway serves, and to whom."""

    models: tuple[Served, ...] = ()
    keys: tuple[ApiKey, ...] = ()
    access: Access = "Namespaced"
    namespaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Tenant → namespaces whose models it may use; a tenant that is absent has the namespace of its own name."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Tenant → requests per second that one Envoy lets through; a tenant that is absent has no limit."""
