from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from modelfleet.api.crd import crd
from modelfleet.api.schema import SchemaError, structural


class Inner(BaseModel):
    """From the class."""

    kind: Literal["A"] = "A"


class Good(BaseModel):
    inner: Inner = Field(default_factory=Inner, description="From the field.")
    ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    amounts: Annotated[dict[str, int | str], Field(max_length=3)] | None = None
    free: dict[str, Any] | None = Field(None, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})


def test_every_form_that_the_models_use() -> None:
    assert structural(Good)["properties"] == {
        "inner": {
            "type": "object",
            "description": "From the field.",
            "properties": {"kind": {"type": "string", "enum": ["A"]}},
        },
        "ratio": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1},
        "amounts": {
            "type": "object",
            "maxProperties": 3,
            "additionalProperties": {"x-kubernetes-int-or-string": True},
        },
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }


class UnboundedString(BaseModel):
    word: str


class UnboundedList(BaseModel):
    words: list[int]


class UnboundedMap(BaseModel):
    words: dict[str, int]


class Union(BaseModel):
    either: int | bool


class Pair(BaseModel):
    pair: Annotated[tuple[int, int], Field(max_length=2)]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (UnboundedString, "UnboundedString.word: this string has no upper bound; add max_length"),
        (UnboundedList, "UnboundedList.words: this array has no upper bound"),
        (UnboundedMap, "UnboundedMap.words: this object has no upper bound"),
        (Union, "Union.either: only X | None and int | str are possible unions"),
        (Pair, "Pair.pair: 'prefixItems' has no form in a structural schema"),
    ],
)
def test_what_has_no_form_is_refused_with_its_path(model: type[BaseModel], message: str) -> None:
    with pytest.raises(SchemaError) as refused:
        structural(model)
    assert message in str(refused.value)


def every_node(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [found for child in node for found in every_node(child)]
    if isinstance(node, dict):
        return [node, *(found for child in node.values() for found in every_node(child))]
    return []


def test_the_crd_writes_no_words_into_the_users_spec() -> None:
    assert not [node for node in every_node(crd()) if "default" in node]


def test_every_field_is_described() -> None:
    def undescribed(schema: dict[str, Any], path: str) -> list[str]:
        missing = [path] if "description" not in schema and path.count(".") > 0 else []
        for name, child in schema.get("properties", {}).items():
            missing += undescribed(child, f"{path}.{name}")
        return missing + (undescribed(schema["items"], f"{path}") if "properties" in schema.get("items", {}) else [])

    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    assert [*undescribed(schema["spec"], "spec"), *undescribed(schema["status"], "status")] == []
