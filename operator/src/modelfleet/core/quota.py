"""What a namespace's ResourceQuotas leave of an accelerator.

Read from the API's JSON. Must not know rollouts or nodes: it counts devices, as `fit.py` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelfleet.core.drift import count

PREFIX = "requests."
"""Of an extended resource's key in a quota; Kubernetes knows no other for them."""
ALWAYS = frozenset({"NotTerminating"})
"""Scopes that every engine's pod has. A quota of another scope is about some pods only, and is left to the API server."""


@dataclass(frozen=True, kw_only=True)
class Quota:
    """A ResourceQuota's devices, by resource."""

    namespace: str
    name: str
    uid: str
    hard: Mapping[str, int]
    used: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Left:
    """How many devices of one resource a quota still gives, and how many in all."""

    quota: str
    left: int
    hard: int


def read(body: Mapping[str, Any]) -> Quota | None:
    """Read a ResourceQuota; None where it limits no device of an engine.

    >>> meta = {"namespace": "team", "name": "gpus", "uid": "u"}
    >>> read({"metadata": meta, "spec": {"hard": {"requests.nvidia.com/gpu": "1k", "cpu": "4"}}}).hard
    {'nvidia.com/gpu': 1000}
    """
    meta, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    lines = (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    scopes = {*(spec.get("scopes") or ()), *(line.get("scopeName") for line in lines)}
    # What is enforced stands in status; a new quota has none yet.
    hard = _devices((spec.get("hard") or {}) | (status.get("hard") or {}))
    if not hard or scopes - ALWAYS:
        return None
    used = _devices(status.get("used") or {})
    return Quota(namespace=meta["namespace"], name=meta["name"], uid=meta["uid"], hard=hard, used=used)


def left(quota: Quota, *, resource: str, claimed: int) -> Left | None:
    """Say what a quota leaves of a resource beside `claimed` devices of its namespace; None where it does not limit it.

    What it says is used comes later than the pods, and knows no promise: the larger number counts.

    >>> quota = Quota(namespace="team", name="gpus", uid="u", hard={"nvidia.com/gpu": 4}, used={"nvidia.com/gpu": 1})
    >>> left(quota, resource="nvidia.com/gpu", claimed=3)
    Left(quota='gpus', left=1, hard=4)
    """
    if resource not in quota.hard:
        return None
    hard = quota.hard[resource]
    return Left(quota=quota.name, left=max(0, hard - max(claimed, quota.used.get(resource, 0))), hard=hard)


def _devices(amounts: Mapping[str, Any]) -> dict[str, int]:
    named = {key.removeprefix(PREFIX): count(value) for key, value in amounts.items() if key.startswith(PREFIX)}
    return {key: value for key, value in named.items() if "/" in key}
