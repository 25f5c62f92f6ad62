"""Where the embedded cluster keeps things; nothing here creates, reads or removes anything."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_DIR = Path(os.environ.get("MODELFLEET_CACHE_DIR", "/var/cache/modelfleet-cluster"))
"""Built programs and images: costly to make, safe to remove, shared by every clone on the machine."""

STATE_DIR = Path(os.environ.get("MODELFLEET_CLUSTER_DIR", "/var/lib/modelfleet-cluster"))
"""State of the one running cluster, outside any clone so that another clone can adopt or replace it."""

REPOSITORY = Path(__file__).resolve().parents[2]
"""Root of this clone."""

TOOLS_DIR = Path(__file__).resolve().parent / "tools"
"""One folder per pinned Go module."""

CRD_DIR = REPOSITORY / "crds"
"""The generated CustomResourceDefinitions."""
