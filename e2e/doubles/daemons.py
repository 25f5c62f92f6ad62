"""How the stand-ins are started with the cluster, and what they leave on the node; pure but for `label`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from e2e.cluster.netns import ADDRESS, Daemon
from e2e.cluster.node_config import NODE
from e2e.cluster.node_daemons import SERVER, python_module
from e2e.doubles.gpus import COUNT, LABELS

DCGM_PORT = 9400


def daemons(*, root: Path) -> list[Daemon]:
    """The device plugin and the metrics stand-in; devices are marked in the `doubles` folder of the state folder."""
    state = f"--state={root}/doubles"
    return [
        python_module("e2e.doubles.gpu_plugin", state, f"--count={COUNT}"),
        python_module(
            "e2e.doubles.dcgm",
            state,
            f"--listen={ADDRESS}:{DCGM_PORT}",
            f"--server={SERVER}",
            f"--pki={root}/pki",
            f"--host={NODE}",
        ),
    ]


def label(*, kubectl: Callable[..., str]) -> None:
    """Put the labels of GPU feature discovery on the node."""
    kubectl("label", "node", NODE, "--overwrite", *(f"{key}={value}" for key, value in LABELS.items()))
