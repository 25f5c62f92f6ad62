"""Which nodes a pod may go to, by its own words: node selector, required node affinity, tolerations.

Read from a pod template as the scheduler reads it; preferences, other pods and volumes are the scheduler's alone. Must not
count devices: `fit.py` does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

BLOCKING = ("NoSchedule", "NoExecute")
"""Effects that keep a pod away."""
CORDONED = "node.kubernetes.io/unschedulable"
"""Key of the taint that a cordoned node has."""

Json = Mapping[str, Any]
Taint = tuple[str, str, str]
"""Key, value and effect."""


@dataclass(frozen=True, kw_only=True)
class Toleration:
    """As Kubernetes has it: an empty key with Exists is every taint, an empty effect every effect."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""

    def covers(self, taint: Taint) -> bool:
        """Whether the taint keeps nobody away who says so.

        >>> Toleration(key="team", value="a").covers(("team", "a", "NoSchedule"))
        True
        >>> Toleration(operator="Exists", effect="NoExecute").covers(("team", "a", "NoSchedule"))
        False
        """
        key, value, effect = taint
        if self.effect not in ("", effect) or self.key not in ("", key):
            return False
        return self.operator == "Exists" or (bool(self.key) and self.value == value)


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One line of a node selector term; `field` when it is about a field of the node instead of a label."""

    key: str
    operator: str
    values: tuple[str, ...] = ()
    field: bool = False

    def holds(self, *, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a node meets it."""
        found = {"metadata.name": name}.get(self.key) if self.field else labels.get(self.key)
        match self.operator:
            case "In":
                return found in self.values
            case "NotIn":
                return found not in self.values
            case "Exists":
                return found is not None
            case "DoesNotExist":
                return found is None
            case "Gt" | "Lt":
                return _compared(found, self.values, more=self.operator == "Gt")
            case _:
                return False


@dataclass(frozen=True, kw_only=True)
class NodeChoice:
    """Where a pod may go: all of the selector, one of the terms if there are any, and no taint that it does not tolerate."""

    selector: tuple[tuple[str, str], ...] = ()
    terms: tuple[tuple[Requirement, ...], ...] = ()
    tolerations: tuple[Toleration, ...] = ()

    def allows(self, *, name: str, labels: Mapping[str, str]) -> bool:
        """Whether selector and affinity allow a node."""
        if any(labels.get(key) != value for key, value in self.selector):
            return False
        met = (term and all(line.holds(name=name, labels=labels) for line in term) for term in self.terms)
        return not self.terms or any(met)

    def tolerates(self, taints: Iterable[Taint], *, resource: str = "") -> bool:
        """Whether no taint keeps the pod away; one named after the resource that it asks for is meant for others.

        Clusters may add a toleration of it to each such pod, which no template shows.
        """
        return all(
            taint[2] not in BLOCKING or taint[0] == resource or any(one.covers(taint) for one in self.tolerations)
            for taint in taints
        )


ANYWHERE = NodeChoice()
"""Of a pod that says nothing."""


def node_choice(spec: Json) -> NodeChoice:
    """Read a pod's spec. One that no API server admits restricts nothing: the dry run says what is wrong with it."""
    try:
        return _read(spec)
    except (AttributeError, KeyError, TypeError, ValueError):
        return ANYWHERE


def _read(spec: Json) -> NodeChoice:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    return NodeChoice(
        selector=tuple(sorted((str(key), str(value)) for key, value in (spec.get("nodeSelector") or {}).items())),
        terms=tuple(
            (
                *(_requirement(line) for line in term.get("matchExpressions") or ()),
                *(_requirement(line, field=True) for line in term.get("matchFields") or ()),
            )
            for term in required.get("nodeSelectorTerms") or ()
        ),
        tolerations=tuple(
            Toleration(
                key=str(one.get("key") or ""),
                operator=str(one.get("operator") or "Equal"),
                value=str(one.get("value") or ""),
                effect=str(one.get("effect") or ""),
            )
            for one in spec.get("tolerations") or ()
        ),
    )


def _requirement(line: Json, *, field: bool = False) -> Requirement:
    values = tuple(str(value) for value in line.get("values") or ())
    return Requirement(key=str(line["key"]), operator=str(line["operator"]), values=values, field=field)


def _compared(found: str | None, values: tuple[str, ...], *, more: bool) -> bool:
    try:
        number, bound = int(found or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return number > bound if more else number < bound
