"""Rows about conditions and decisions for the generated reference, read from the core's own source.

Sits beside `docs`. It must not list a reason of its own: what the core can say is found where it says it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType

from modelfleet.core import conditions, decide, demand, progress, report, upkeep
from modelfleet.core.routing import parents
from modelfleet.core.scaling import target

Row = tuple[str, ...]
REASON_ARGUMENT = 2


def condition_rows() -> list[Row]:
    """Condition type and the reasons that the core gives it, in the order of the code."""
    found: dict[str, list[str]] = {}
    for call in (call for module in (report, progress, parents) for call in _calls(module, name="condition")):
        kind = getattr(conditions, _last_name(call.args[0]))
        reasons = found.setdefault(kind, [])
        given = call.args[REASON_ARGUMENT]
        words = [*_words(given), *_from_elsewhere(given)]
        reasons.extend(word for word in words if word not in reasons)
    return [(f"`{kind}`", ", ".join(reasons)) for kind, reasons in sorted(found.items())]


def metric_reasons() -> list[str]:
    """Reasons of MetricsAvailable: the words that a reading of a metric is given."""
    given = [
        keyword.value
        for call in _calls(target, name="_Reading")
        for keyword in call.keywords
        if keyword.arg == "reason"
    ]
    words = [word for value in given for word in _words(value)]
    returned = _returned(target, functions=("_availability",))
    return list(dict.fromkeys([*words, *returned]))


def decision_rows() -> list[Row]:
    """Kind of each decision and its reasons; each is also an Event with this reason."""
    found: dict[str, list[str]] = {}
    for module in (decide, demand, upkeep):
        for call in _calls(module, name="Reason"):
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            for kind in _words(given["kind"]):
                words = _words(given["reason"]) or [f"`{r}`" for r in _returned(target, functions=("_reason",))]
                reasons = found.setdefault(kind.strip("`"), [])
                reasons.extend(word for word in words if word not in reasons)
    return [(f"`{kind}`", ", ".join(reasons)) for kind, reasons in sorted(found.items())]


def _from_elsewhere(given: ast.expr) -> list[str]:
    source = ast.unparse(given)
    if "metrics_reason" in source:
        return [f"`{reason.strip('`')}`" for reason in metric_reasons()]
    if "refused.reason" in source:
        return ["the reason of the Gateway's controller"]
    return ["the reason of a failed replica"] if "failure.reason" in source else []


def _calls(module: ModuleType, *, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Call) and _last_name(node.func) == name:
            yield node


def _returned(module: ModuleType, *, functions: tuple[str, ...]) -> list[str]:
    chosen = [n for n in ast.walk(_tree(module)) if isinstance(n, ast.FunctionDef) and n.name in functions]
    returns = [r.value for f in chosen for r in ast.walk(f) if isinstance(r, ast.Return) and r.value is not None]
    first = [value.elts[0] if isinstance(value, ast.Tuple) and value.elts else value for value in returns]
    return list(dict.fromkeys(word.strip("`") for value in first for word in _words(value)))


def _words(value: ast.expr) -> list[str]:
    """Every word that an expression can answer: a constant, or the branches of a choice."""
    if isinstance(value, ast.IfExp):
        return [*_words(value.body), *_words(value.orelse)]
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
        return [f"`{value.value}`"]
    return []


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))
