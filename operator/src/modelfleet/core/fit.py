"""GPU arithmetic, done once for everyone: how many accelerators are free for a pod that wants some.

Must not know rollouts or scaling: it counts devices.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelfleet.core.scheduling import ANYWHERE, CORDONED, NodeChoice, Taint


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node's devices and whether pods may go there."""

    name: str
    labels: Mapping[str, str]
    allocatable: Mapping[str, int]
    schedulable: bool = True
    taints: tuple[Taint, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Devices that a pod holds, or that a replica without a pod yet is about to ask for."""

    resource: str
    count: int
    node: str = ""
    """Empty while it has no node: it then counts against every node that it could take."""
    choice: NodeChoice = ANYWHERE
    """Which nodes that are; not looked at once it has one."""
    times: int = 1
    """How many pods or replicas claim the same."""


@dataclass(frozen=True, kw_only=True)
class Want:
    """One more replica: so many devices on one node, among those that its pod may go to."""

    resource: str
    count: int
    choice: NodeChoice = ANYWHERE


@dataclass(frozen=True, kw_only=True)
class Room:
    """How many more replicas fit now, and the most devices that any one node has that the pod may choose, tainted or not."""

    replicas: int
    largest_node: int


PRODUCT_LABEL = "nvidia.com/gpu.product"


def room(*, want: Want, nodes: Iterable[Node], claims: Iterable[Claim]) -> Room:
    """Count the replicas that fit beside everything that is used or already asked for.

    >>> node = Node(name="n", labels={}, allocatable={"nvidia.com/gpu": 4})
    >>> want = Want(resource="nvidia.com/gpu", count=2)
    >>> room(want=want, nodes=[node], claims=[Claim(resource="nvidia.com/gpu", count=1, node="n")]).replicas
    1

    A cordoned node takes nothing now, but it is there:

    >>> cordoned = Node(name="n", labels={}, allocatable={"nvidia.com/gpu": 4}, schedulable=False)
    >>> room(want=want, nodes=[cordoned], claims=[])
    Room(replicas=0, largest_node=4)
    """
    equipped = [node for node in nodes if _has_devices(node, want)]
    suitable = [node for node in equipped if _takes(node, want.choice, resource=want.resource)]
    used: dict[str, int] = {}
    waiting = 0
    for claim in claims:
        if claim.resource != want.resource:
            continue
        if claim.node:
            used[claim.node] = used.get(claim.node, 0) + claim.count * claim.times
        elif any(_may_take(node, claim) for node in suitable):
            waiting += -(-claim.count // want.count) * claim.times
    fits = sum(max(0, node.allocatable[want.resource] - used.get(node.name, 0)) // want.count for node in suitable)
    return Room(
        replicas=max(0, fits - waiting),
        largest_node=max((node.allocatable[want.resource] for node in equipped), default=0),
    )


def _has_devices(node: Node, want: Want) -> bool:
    has_some = node.allocatable.get(want.resource, 0) > 0
    return has_some and want.choice.allows(name=node.name, labels=node.labels)


def _takes(node: Node, choice: NodeChoice, *, resource: str) -> bool:
    taints = node.taints if node.schedulable else (*node.taints, (CORDONED, "", "NoSchedule"))
    return choice.tolerates(taints, resource=resource)


def _may_take(node: Node, claim: Claim) -> bool:
    allowed = claim.choice.allows(name=node.name, labels=node.labels)
    # A claim that is larger than any node waits for ever, and must keep nobody else waiting.
    allowed = allowed and node.allocatable.get(claim.resource, 0) >= claim.count
    return allowed and _takes(node, claim.choice, resource=claim.resource)
