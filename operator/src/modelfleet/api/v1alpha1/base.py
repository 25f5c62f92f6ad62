"""What every API model shares: frozen, camelCase outside and snake_case inside, bounded words.

Sits under `spec` and `status`. It must not know any field of them, do I/O or read a clock.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel


def cel(rule: str, message: str) -> dict[str, str]:
    """One `x-kubernetes-validations` entry.

    Args:
        rule: a CEL expression over `self` that is true for what is admitted.
        message: plain words that say what to do instead.
    """
    return {"rule": rule, "message": message}


def checked(*rules: dict[str, str], **extra: Any) -> dict[str, Any]:
    """The `json_schema_extra` of a model or field with CEL rules; `extra` are further schema keys."""
    return {"x-kubernetes-validations": list(rules), **extra}


def listed_by(key: str) -> dict[str, Any]:
    """The `json_schema_extra` of a list in which `key` is unique, so that appliers can own single entries."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
"""The `json_schema_extra` of a list that is replaced as a whole."""


class ApiModel(BaseModel):
    """A part of the spec: an unknown field is an error, as a misspelt one would otherwise be lost silently."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    def manifest(self) -> dict[str, Any]:
        """The JSON form under its API names, without what is not set (None)."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusModel(ApiModel):
    """A part of the status: unknown fields are skipped, as a newer operator may have written them."""

    model_config = ConfigDict(extra="ignore")


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[AwareDatetime, PlainSerializer(_rfc3339, return_type=str)]
"""A moment with a time zone; written in UTC and whole seconds, as Kubernetes does."""

Word = Annotated[str, Field(max_length=128)]
"""A short name, hash, reason or resource name."""

MESSAGE_LIMIT = 2048
Message = Annotated[str, Field(max_length=MESSAGE_LIMIT)]
"""A sentence for people."""

Name = Annotated[str, Field(min_length=1, max_length=253)]
"""The name of a Kubernetes object or of a key in one."""
