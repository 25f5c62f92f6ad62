"""Tells from the status of an LLMDeployment why it is as it is.

Sits in the CLI and is pure: a dictionary in, text out. It must not ask the cluster, and it must not
guess: what it says stands in the object. Every section is a small function from the object to lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelfleet.cli.advice import ADVICE
from modelfleet.cli.rollout_view import behind, judgement, position, standing
from modelfleet.core.demand import HELD
from modelfleet.core.failures import ADVICE as FAILURES

TYPE_ORDER: Final = (
    "Suspended",
    "Valid",
    "Degraded",
    "Ready",
    "Progressing",
    "CapacityAvailable",
    "ModelLoaded",
    "MetricsAvailable",
    "RouteAccepted",
    "Drifted",
)
"""The order in which conditions explain each other: causes before consequences."""

TRUE_IS_TROUBLE: Final = frozenset({"Degraded", "Drifted", "Suspended"})
QUIET_REASONS: Final = frozenset({"NotNeeded", "UpToDate"})


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One condition that is not as one would wish, with what to do about it."""

    type: str
    status: str
    reason: str
    message: str

    @property
    def advice(self) -> str:
        """What to do next; empty when the reason is not known here, or when the message says it already."""
        if self.reason in FAILURES and FAILURES[self.reason] in self.message:
            return ""
        return ADVICE.get(self.reason, "")

    def lines(self) -> Iterator[str]:
        """The finding as text."""
        yield f"  {self.type} is {self.status} ({self.reason or 'no reason given'})"
        if self.message:
            yield f"      {self.message}"
        if self.advice:
            yield f"      What to do: {self.advice}"


def explain(obj: Mapping[str, Any]) -> str:
    """Explain an LLMDeployment from its own words.

    Args:
        obj: The object as the API serves it.

    Returns:
        Several lines of plain text: headline, what stands out, revisions, scaling, the last decisions.

    >>> print(explain({"metadata": {"name": "chat", "namespace": "team-a"}}))
    chat in team-a: not seen by the operator yet
    <BLANKLINE>
    What to do: check that the operator runs, watches the namespace team-a and has a leader.
    """
    status: Mapping[str, Any] = obj.get("status") or {}
    name = obj["metadata"]["name"]
    namespace = obj["metadata"].get("namespace", "default")
    if not status:
        return (
            f"{name} in {namespace}: not seen by the operator yet\n\n"
            f"What to do: check that the operator runs, watches the namespace {namespace} and has a leader."
        )
    found = findings(status)
    sections = (
        [f"{name} in {namespace}: {headline(obj=obj, found=found)}"],
        [*filter(None, [behind(obj)])],
        _titled("What stands out", (line for finding in found for line in finding.lines())),
        _titled("Replicas", _replicas(status)),
        _titled("Revisions", _revisions(status)),
        _titled("Rollout", _rollout(status)),
        _titled("Scaling", _scaling(status)),
        _titled("Last decisions, newest first", _decisions(status)),
    )
    return "\n\n".join("\n".join(section) for section in sections if section)


def headline(*, obj: Mapping[str, Any], found: Iterable[Finding]) -> str:
    """One phrase: the state, and the first cause when there is one."""
    if obj["metadata"].get("deletionTimestamp"):
        return "being deleted; Kubernetes removes what it owns"
    status = obj.get("status") or {}
    phase = status.get("phase") or "state unknown"
    first = next(iter(found), None)
    return (
        f"{phase}, because {first.type} is {first.status} ({first.reason})" if first else f"{phase}, nothing stands out"
    )


def findings(status: Mapping[str, Any]) -> tuple[Finding, ...]:
    """The conditions that are not as one would wish, causes first."""
    conditions = [c for c in status.get("conditions") or () if _stands_out(c)]
    rank = {kind: place for place, kind in enumerate(TYPE_ORDER)}
    conditions.sort(key=lambda c: (rank.get(c.get("type", ""), len(rank)), c.get("type", "")))
    return tuple(
        Finding(
            type=c.get("type", "?"),
            status=c.get("status", "Unknown"),
            reason=c.get("reason", ""),
            message=c.get("message", ""),
        )
        for c in conditions
    )


def _stands_out(condition: Mapping[str, Any]) -> bool:
    kind, value = condition.get("type"), condition.get("status")
    if condition.get("reason") in QUIET_REASONS:
        return False
    if kind == "Progressing":  # True says that something is under way: worth a line
        return value != "False" or condition.get("reason") in ADVICE
    return value == "True" if kind in TRUE_IS_TROUBLE else value != "True"


def _titled(title: str, lines: Iterable[str]) -> list[str]:
    body = list(lines)
    return [title, *body] if body else []


def _replicas(status: Mapping[str, Any]) -> Iterator[str]:
    if "replicas" not in status:
        return
    gpus = f", {status['gpus']} GPUs" if status.get("gpus") else ""
    yield f"  {status.get('readyReplicas', 0)} of {status['replicas']} ready, {status.get('updatedReplicas', 0)} on the newest revision{gpus}"
    if status.get("url"):
        yield f"  served at {status['url']}"


def _revisions(status: Mapping[str, Any]) -> Iterator[str]:
    for revision in status.get("revisions") or ():
        label = revision.get("name") or revision.get("hash", "?")
        ready = f"{revision.get('ready', 0)} of {revision.get('replicas', 0)} ready"
        weight = f", {revision['weight']} % of the traffic" if "weight" in revision else ""
        yield f"  {label}  {revision.get('role', '')}  {ready}{weight}"


def _rollout(status: Mapping[str, Any]) -> Iterator[str]:
    rollout: Mapping[str, Any] = status.get("rollout") or {}
    told = (position(status), *standing(rollout), *judgement(rollout))
    yield from (f"  {line}" for line in told if line)


def _scaling(status: Mapping[str, Any]) -> Iterator[str]:
    scaling: Mapping[str, Any] = status.get("scaling") or {}
    if "desired" in scaling:
        binding = scaling.get("binding")
        why = ", and no more while some of them have no node" if binding == HELD else f", because of {binding}"
        yield f"  {scaling['desired']} wanted{why if binding else ''}"
    if scaling.get("lastScaleTime"):
        yield f"  last changed {scaling['lastScaleTime']}"


def _decisions(status: Mapping[str, Any]) -> Iterator[str]:
    for decision in reversed(status.get("decisions") or ()):
        change = f" {decision['from']} -> {decision['to']}" if {"from", "to"} <= decision.keys() else ""
        yield f"  {decision.get('time', '?')}  {decision.get('kind', '?')}{change} ({decision.get('reason', '')})"
        if decision.get("message"):
            yield f"      {decision['message']}"
