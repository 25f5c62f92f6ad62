"""Rows about conditions and decisions for the generated reference, read from the core's own source.

Sits beside `docs`. It must not list a reason of its own: what the core can say is found where it says it. A reason that is
worked out in a way that is not understood here is an error, never left out.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, ModuleType
from typing import Final

from modelfleet import core
from modelfleet.core import conditions, refusals
from modelfleet.core.judgement import verdict
from modelfleet.core.scaling import target

Row = tuple[str, ...]
Function = ast.FunctionDef | None
REASON_ARGUMENT = 2
OF_A_REPLICA: Final = "the reason of a failed replica"


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One call in the core, and the function that it stands in."""

    node: ast.Call
    module: ModuleType
    inside: Function

    def words(self, value: ast.expr) -> list[str]:
        """Every word that an argument can be: what stands there, or where it comes from."""
        match value:
            case ast.Constant(value=str(word)):
                return [word] if word else []
            case ast.IfExp(body=one, orelse=other):
                return [*self.words(one), *self.words(other)]
            case ast.BoolOp(values=several):
                return [word for one in several for word in self.words(one)]
            case ast.Name(id=name):
                return self._named(name)
        known = _ELSEWHERE.get(ast.unparse(value))
        if known is None:
            raise LookupError(f"{self.module.__name__}: where does the reason {ast.unparse(value)} come from?")
        return list(known())

    def _named(self, name: str) -> list[str]:
        """Words of a variable: a constant of the module, what the function puts into it, or what it is called with."""
        constant = getattr(self.module, name, None)
        if isinstance(constant, str):
            return [constant]
        if self.inside is None:
            raise LookupError(f"{self.module.__name__}: {name} is no constant")
        assigned = [node for node in ast.walk(self.inside) if isinstance(node, ast.Assign)]
        values = [a.value for a in assigned if any(isinstance(t, ast.Name) and t.id == name for t in a.targets)]
        if values:
            return [word for value in values for word in self.words(value)]
        return list(_given(self.inside.name, keyword=name))


def condition_rows() -> list[Row]:
    """Condition type and the reasons that the core gives it."""
    found: dict[str, set[str]] = {}
    for call in _calls("condition"):
        kind = getattr(conditions, _last_name(call.node.args[0]))
        found.setdefault(kind, set()).update(call.words(call.node.args[REASON_ARGUMENT]))
    return _rows(found)


def decision_rows() -> list[Row]:
    """Kind of each decision and its reasons; each is also an Event with this reason."""
    found: dict[str, set[str]] = {}
    for call in _calls("Reason"):
        given = {keyword.arg: keyword.value for keyword in call.node.keywords}
        for kind in call.words(given["kind"]):
            if kind != "Condition":  # the Event of a condition, with the condition's own reason
                found.setdefault(kind, set()).update(call.words(given["reason"]))
    # A decision of a rollout may be told by a better word than that of whoever took it.
    found["Rollout"].update(_given("replace", keyword="reason"))
    return _rows(found)


def _rows(found: dict[str, set[str]]) -> list[Row]:
    def shown(word: str) -> str:
        return word if " " in word else f"`{word}`"

    return [
        (f"`{kind}`", ", ".join(map(shown, sorted(words, key=lambda word: (" " in word, word)))))
        for kind, words in sorted(found.items())
    ]


def _metric_reasons() -> Iterator[str]:
    """Reasons of MetricsAvailable: the words that a reading of a metric is given."""
    yield from _given("_Reading", keyword="reason")
    yield from _returned(target, function="_availability")


def _failed_rollout() -> Iterator[str]:
    """Why something else is served than the spec asks for; one that a person asked for is no failure."""
    yield from (word for word in _given("Override", keyword="reason") if word != "RollbackTo")


def _holds() -> Iterator[str]:
    """What holds a rollout; a missing device is told by another word."""
    yield from (word for word in _given("held", keyword="hold") if word != "InsufficientCapacity")


def _verdict_holds() -> Iterator[str]:
    yield from _returned(verdict, function="hold")
    yield from verdict.HOLDS.values()


_ELSEWHERE: Final = MappingProxyType[str, Callable[[], Iterable[str]]](
    {
        "found.reason": lambda: _given("Problem", keyword="reason"),
        "failure.reason": lambda: [OF_A_REPLICA],
        "worst.reason": lambda: [OF_A_REPLICA, refusals.REASON, *_failed_rollout()],
        "refused.reason": lambda: ["the reason of the Gateway's controller"],
        "result.metrics_reason": _metric_reasons,
        "before['reason']": list,  # what was said before
        "result.reason": lambda: _returned(target, function="_reason"),
        "memory.hold": _holds,
        "memory.paused": lambda: _given("paused", keyword="why"),
        "verdict.hold": _verdict_holds,
        "override.get('reason', '')": list,  # what status remembers of before
    }
)
"""Expressions that are no words themselves → where their words are given."""


def _given(function: str, *, keyword: str) -> Iterator[str]:
    """Every word that a function or class is called with by this keyword."""
    for call in _calls(function):
        for word in call.node.keywords:
            if word.arg == keyword:
                yield from call.words(word.value)


def _calls(name: str) -> Iterator[_Call]:
    for module in _modules():
        for node, inside in _nodes(module):
            if isinstance(node, ast.Call) and _last_name(node.func) == name:
                yield _Call(node=node, module=module, inside=inside)


def _below(node: ast.AST, *, inside: Function) -> Iterator[tuple[ast.AST, Function]]:
    """Everything below a node, each with the innermost function around it."""
    for child in ast.iter_child_nodes(node):
        yield child, inside
        yield from _below(child, inside=child if isinstance(child, ast.FunctionDef) else inside)


def _returned(module: ModuleType, *, function: str) -> Iterator[str]:
    """Words that a function returns; of several values the first."""
    for node, inside in _nodes(module):
        if isinstance(node, ast.Return) and inside is not None and inside.name == function:
            value = node.value.elts[0] if isinstance(node.value, ast.Tuple) else node.value
            for one in (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,):
                if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value:
                    yield one.value


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


@cache
def _modules() -> tuple[ModuleType, ...]:
    found = pkgutil.walk_packages(core.__path__, prefix=f"{core.__name__}.")
    return tuple(importlib.import_module(one.name) for one in found)


@cache
def _nodes(module: ModuleType) -> tuple[tuple[ast.AST, Function], ...]:
    """The whole source; read once, for every table asks it for many names."""
    return tuple(_below(ast.parse(inspect.getsource(module)), inside=None))
