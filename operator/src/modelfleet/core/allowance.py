"""How many more replicas an LLMDeployment may ask for at all: what its budget and its namespace's quotas leave.

Unlike free devices, which a node may bring, nothing but a person changes these: no capacity goes beyond them. Must not
decide who gets what is left.
"""

from collections import Counter
from dataclasses import dataclass

from modelfleet.core.observe import template_claims
from modelfleet.core.rollout.targets import UNLIMITED
from modelfleet.core.world import Snapshot


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """Replicas that may still be asked for, and the devices of whoever limits them."""

    replicas: int = UNLIMITED
    by: str = ""
    """Who that is, in words; empty when nobody does."""
    left: int = 0
    hard: int = 0


def allowance(snapshot: Snapshot, *, revision: str = "") -> Allowance:
    """Find the tightest limit, in replicas of a revision; of the one that the spec asks for by default."""
    spec, each = snapshot.spec, per_replica(snapshot, revision=revision)
    if spec is None or not each:
        return Allowance()
    limits = [(f"quota {quota.quota}", quota.left, quota.hard) for quota in snapshot.quotas]
    if spec.scaling and spec.scaling.max_gpus is not None:
        budget = spec.scaling.max_gpus
        limits.insert(0, ("scaling.maxGPUs", max(0, budget - held(snapshot)), budget))
    found = (Allowance(replicas=left // each, by=by, left=left, hard=hard) for by, left, hard in limits)
    return min(found, key=lambda one: one.replicas, default=Allowance())


def free(snapshot: Snapshot, *, revision: str = "") -> int | None:
    """Count the replicas that free devices could hold, and that may be asked for; None when that is unknown."""
    each, limit = per_replica(snapshot, revision=revision), allowance(snapshot, revision=revision).replicas
    if snapshot.spec is None or not each:
        return UNLIMITED
    if snapshot.free_gpus is None:
        return None if limit else 0
    # Nodes were asked for replicas of the spec's size.
    return min(snapshot.free_gpus * (snapshot.spec.devices_per_replica or each) // each, limit)


def lack(snapshot: Snapshot, *, replicas: int = 1, revision: str = "") -> str:
    """Say who does not allow so many more replicas, such as `quota gpus leaves 0 of 4 nvidia.com/gpu`; empty when all do."""
    found = allowance(snapshot, revision=revision)
    if snapshot.spec is None or found.replicas >= replicas:
        return ""
    return f"{found.by} leaves {found.left} of {found.hard} {snapshot.spec.accelerator.resource}"


def held(snapshot: Snapshot) -> int:
    """Count the devices of all revisions: of the replicas that are asked for, and of those that leave and are not gone."""
    asked = {w.revision: w.replicas for w in snapshot.workloads}
    there = [r for r in snapshot.replicas if not r.failed]
    alive = Counter(r.revision for r in there if not r.terminating)
    leaving = Counter(r.revision for r in there if r.terminating)
    return sum(
        per_replica(snapshot, revision=revision) * (max(asked.get(revision, 0), alive[revision]) + leaving[revision])
        for revision in asked.keys() | alive.keys() | leaving.keys()
    )


def per_replica(snapshot: Snapshot, *, revision: str) -> int:
    """Count the devices of one replica of a revision, which may be others than today's spec asks for."""
    if snapshot.spec is None:
        return 0
    resource = snapshot.spec.accelerator.resource
    templates = {stored.revision: stored.template for stored in snapshot.stored}
    templates |= {workload.revision: workload.template for workload in snapshot.workloads}
    if revision not in templates:
        return snapshot.spec.devices_per_replica
    return sum(claim.count for claim in template_claims(templates[revision]) if claim.resource == resource)
