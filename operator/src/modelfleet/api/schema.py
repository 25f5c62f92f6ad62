"""From a pydantic model to the structural schema that a CustomResourceDefinition wants.

Small on purpose: it knows the forms that our models use and refuses every other one with its path, so that nothing
reaches the API server half understood. It must not know LLMDeployment, read files or do I/O.
"""

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

PASSED = frozenset(
    {
        "type", "format", "enum", "description", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems",
        "maxItems", "minProperties", "maxProperties", "required", "x-kubernetes-validations", "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-preserve-unknown-fields",
    }
)  # fmt: skip
"""Keys that mean the same in JSON schema and in a structural schema."""

# A default in the CRD would write words into the user's spec that the user did not say.
DROPPED = frozenset({"title", "default"})
EXCLUSIVE = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
INT_OR_STRING = "x-kubernetes-int-or-string"


class SchemaError(ValueError):
    """A model has a form that cannot be written as a structural schema; the message names the path."""

    def __init__(self, *, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of `model` under its API names.

    Raises:
        SchemaError: a union other than `X | None` and `int | str`, an unbounded string, list or map, or an unknown key.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(schema, path=model.__name__, definitions=schema.pop("$defs", {}))


def _convert(node: Mapping[str, Any], *, path: str, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """One node and all below it."""
    node = _resolved(node, path=path, definitions=definitions)
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key in DROPPED or (key == "additionalProperties" and isinstance(value, bool)):
            continue
        if key == "const":
            out["enum"] = [value]
        elif key in EXCLUSIVE:  # OpenAPI 3.0: a number and a flag, not one number
            out |= {EXCLUSIVE[key]: value, key: True}
        elif key == "properties":
            out[key] = {
                name: _convert(child, path=f"{path}.{name}", definitions=definitions) for name, child in value.items()
            }
        elif key in ("items", "additionalProperties"):
            out[key] = _convert(value, path=f"{path}[]", definitions=definitions)
        elif key in PASSED or key == INT_OR_STRING:
            out[key] = copy.deepcopy(value)  # a shared list would become a YAML alias
        else:
            raise SchemaError(path=path, problem=f"{key!r} has no form in a structural schema; change the model")
    _check_bounds(out, path=path)
    return out


def _resolved(node: Mapping[str, Any], *, path: str, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """`node` without `$ref` and `anyOf`: what they name is merged in, and the node's own words win."""
    own = dict(node)
    if "$ref" in own:
        target = definitions[own.pop("$ref").removeprefix("#/$defs/")]
        return _resolved(_merged(target, own), path=path, definitions=definitions)
    if "anyOf" in own:
        choices = [choice for choice in own.pop("anyOf") if choice != {"type": "null"}]
        if len(choices) == 1:
            return _resolved(_merged(choices[0], own), path=path, definitions=definitions)
        if [choice.get("type") for choice in choices] == ["integer", "string"]:
            return {INT_OR_STRING: True, **own}
        raise SchemaError(path=path, problem="only X | None and int | str are possible unions; choose one type")
    return own


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    rules = [*base.get("x-kubernetes-validations", ()), *own.get("x-kubernetes-validations", ())]
    return {**base, **own, **({"x-kubernetes-validations": rules} if rules else {})}


def _check_bounds(node: Mapping[str, Any], *, path: str) -> None:
    """Everything is bounded: the API server refuses rules over what has no end, and etcd has little room."""
    bounded = {
        "string": not {"maxLength", "enum", "format"}.isdisjoint(node),
        "array": "maxItems" in node,
        "object": "additionalProperties" not in node or "maxProperties" in node,
    }
    if not bounded.get(node.get("type", ""), True):
        raise SchemaError(path=path, problem=f"this {node['type']} has no upper bound; add max_length")
