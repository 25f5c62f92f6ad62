"""Who routes requests to an LLMDeployment. The schema has no default: it depends on the installation."""

from typing import Literal

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec

Provider = Literal["Gateway", "GatewayAPI", "Service"]


def provider(spec: LLMDeploymentSpec, *, gateway_url: str) -> Provider:
    """Resolve `spec.routing.provider`: unset, it is the installation's gateway where there is one.

    >>> spec = LLMDeploymentSpec.model_validate({"model": {"uri": "hf://a/b"}, "replicas": 1})
    >>> provider(spec, gateway_url=""), provider(spec, gateway_url="http://gateway")
    ('Service', 'Gateway')
    """
    return spec.routing.provider or ("Gateway" if gateway_url else "Service")
