"""Reads manifests and knows the address of each object in the API; sends nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "StorageClass",
}


def collection_path(manifest: dict[str, Any]) -> str:
    """Address of the collection that the object belongs to; a namespaced object without a namespace is in `default`.

    >>> collection_path({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "b"}})
    '/apis/apps/v1/namespaces/b/deployments'
    >>> collection_path({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}})
    '/api/v1/nodes'
    """
    version, kind = manifest["apiVersion"], manifest["kind"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    if kind in _CLUSTER_SCOPED:
        return f"{root}/{plural(kind)}"
    return f"{root}/namespaces/{manifest['metadata'].get('namespace', 'default')}/{plural(kind)}"


def plural(kind: str) -> str:
    """Resource name of a kind, by the rule that every kind of Kubernetes and ours follow.

    >>> [plural(kind) for kind in ("Pod", "NetworkPolicy", "StorageClass", "Endpoints")]
    ['pods', 'networkpolicies', 'storageclasses', 'endpoints']
    """
    word = kind.lower()
    if word == "endpoints":
        return word
    if word.endswith("y"):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x")) else f"{word}s"


def load_manifests(folder: Path) -> list[dict[str, Any]]:
    """Every document of the folder's YAML files, by file name; an absent folder has none."""
    files = sorted(folder.glob("*.yaml"))
    return [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]
