"""What GPUs the node pretends to have, shared by the device plugin and the metrics stand-in; pure but for one folder.

A device is unhealthy while a file of its name lies in the `unhealthy` folder: that is how a test breaks one.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

RESOURCE = "nvidia.com/gpu"
PRODUCT = "NVIDIA-L4"
MEMORY_MIB = 23034
COUNT = 4
LABELS = {
    "nvidia.com/gpu.present": "true",
    "nvidia.com/gpu.product": PRODUCT,
    "nvidia.com/gpu.memory": str(MEMORY_MIB),
    "nvidia.com/gpu.count": str(COUNT),
}
"""As GPU feature discovery names them."""


@dataclass(frozen=True)
class Bench:
    """The GPUs of one node.

    Attributes:
        folder: State folder; `folder/unhealthy/ID` marks a device.
        count: How many there are.
    """

    folder: Path
    count: int = COUNT

    def ids(self) -> list[str]:
        """Stable device ids.

        >>> Bench(folder=Path("x"), count=1).ids()
        ['GPU-1816c82c-e2d3-5170-a16b-5cfe8a9e3330']
        """
        return [f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{i}.gpu.modelfleet.dev')}" for i in range(self.count)]

    def unhealthy(self) -> frozenset[str]:
        """Ids that a test has marked."""
        folder = self.folder / "unhealthy"
        return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()

    def set_health(self, *, index: int, healthy: bool) -> None:
        """Break or mend a device; the kubelet knows within a second."""
        mark = self.folder / "unhealthy" / self.ids()[index]
        mark.parent.mkdir(parents=True, exist_ok=True)
        if healthy:
            mark.unlink(missing_ok=True)
        else:
            mark.touch()
