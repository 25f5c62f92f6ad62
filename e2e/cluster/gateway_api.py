"""The Gateway API's own CRDs, of the pinned version; starts nothing and knows no implementation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from e2e.cluster import build
from e2e.cluster.resources import load_manifests

_MODULE = "sigs.k8s.io/gateway-api"


def crds(*plurals: str) -> list[dict[str, Any]]:
    """The CRDs of the standard channel, as its Go module ships them beside its code; those of some kinds, or all."""
    found = in_folder(build.module_dir(module="gateway-api", path=_MODULE) / "config" / "crd" / "standard")
    return [each for each in found if not plurals or each["spec"]["names"]["plural"] in plurals]


def in_folder(folder: Path) -> list[dict[str, Any]]:
    """The CRDs among the manifests of a folder."""
    return [each for each in load_manifests(folder) if each["kind"] == "CustomResourceDefinition"]
