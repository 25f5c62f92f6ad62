"""GPU arithmetic, done once for everyone: how many accelerators are free for a pod that wants some.

Must not know rollouts or scaling: it counts devices.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node's devices and whether pods may go there."""

    name: str
    labels: Mapping[str, str]
    allocatable: Mapping[str, int]
    schedulable: bool = True
    taints: tuple[tuple[str, str], ...] = ()
    """(key, effect) of every taint."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Devices that a pod holds, or that a replica without a pod yet is about to ask for."""

    resource: str
    count: int
    node: str = ""
    """Empty while it has no node: it then counts against every node that it could take."""
    product: str = ""
    times: int = 1
    """How many pods or replicas claim the same."""


@dataclass(frozen=True, kw_only=True)
class Want:
    """One more replica: so many devices on one node, of this product if one is named."""

    resource: str
    count: int
    product: str = ""


@dataclass(frozen=True, kw_only=True)
class Room:
    """How many more replicas fit now, and the most devices that any one node has at all, cordoned or tainted too."""

    replicas: int
    largest_node: int


PRODUCT_LABEL = "nvidia.com/gpu.product"
BLOCKING = ("NoSchedule", "NoExecute")


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
    suitable = [node for node in equipped if _takes_pods(node, want)]
    used: dict[str, int] = {}
    waiting = 0
    for claim in claims:
        if claim.resource != want.resource:
            continue
        if claim.node:
            used[claim.node] = used.get(claim.node, 0) + claim.count * claim.times
        elif not claim.product or not want.product or claim.product == want.product:
            waiting += -(-claim.count // want.count) * claim.times
    fits = sum(max(0, node.allocatable[want.resource] - used.get(node.name, 0)) // want.count for node in suitable)
    return Room(
        replicas=max(0, fits - waiting),
        largest_node=max((node.allocatable[want.resource] for node in equipped), default=0),
    )


def _has_devices(node: Node, want: Want) -> bool:
    if node.allocatable.get(want.resource, 0) <= 0:
        return False
    return not want.product or node.labels.get(PRODUCT_LABEL) == want.product


def _takes_pods(node: Node, want: Want) -> bool:
    return node.schedulable and all(key == want.resource or effect not in BLOCKING for key, effect in node.taints)
