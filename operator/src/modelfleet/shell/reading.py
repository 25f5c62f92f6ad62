"""From an LLMDeployment's JSON to its spec, or to words that say why not."""

from typing import Any

from pydantic import ValidationError

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec


def parse(raw: dict[str, Any]) -> tuple[LLMDeploymentSpec | None, str]:
    """Read a spec; None and the reason when this operator cannot."""
    try:
        return LLMDeploymentSpec.model_validate(raw), ""
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return None, f"spec.{where}: {first['msg']}; this operator cannot read it, upgrade the operator or correct it"
