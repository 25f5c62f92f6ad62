"""Rows about running the operator, for the generated reference: its environment and its metrics.

Sits beside `docs` and reads the modules that define them; it must not start anything.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

PREFIX = "MODELFLEET_"


OPERATOR_METRICS = ("modelfleet.shell.telemetry", "modelfleet.adapters.kube", "modelfleet.adapters.watch")
GATEWAY_METRICS = (
    "modelfleet.gateway.main",
    "modelfleet.gateway.ads",
    "modelfleet.gateway.report",
    "modelfleet.adapters.kube",
    "modelfleet.adapters.watch",
)


def environment_of(*, module: str = "modelfleet.settings", model_name: str = "Settings") -> list[tuple[str, ...]]:
    """Variable, default and meaning of every setting of a process."""
    model: Any = getattr(_module(module), model_name, None)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [
        (f"`{PREFIX}{name.upper()}`", _default(field.get_default(call_default_factory=True)), field.description or "")
        for name, field in model.model_fields.items()
    ]


def metric_rows(modules: tuple[str, ...] = OPERATOR_METRICS) -> list[tuple[str, ...]]:
    """Name, type, labels and meaning of every metric that these modules define, by name."""
    present = [module for module in map(_module, modules) if module]
    found = {id(metric): metric for module in present for metric in _metrics(module)}
    rows = []
    for metric in found.values():
        family = next(iter(metric.describe()))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001 - has no public name
        rows.append((f"`{name}`", family.type, labels, family.documentation))
    return sorted(rows)


def _metrics(module: ModuleType) -> Iterator[MetricWrapperBase]:
    for value in vars(module).values():
        if isinstance(value, MetricWrapperBase):
            yield value
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from (v for v in vars(value).values() if isinstance(v, MetricWrapperBase))


def _module(name: str) -> ModuleType | None:
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    return "none" if value in (None, "", (), {}) else f"`{value}`"
