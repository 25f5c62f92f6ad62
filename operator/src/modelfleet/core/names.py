"""Names, labels and the revision hash: everything that identifies what ModelFleet owns.

Sits at the bottom of the core. It must not know manifests or decisions. Nothing here may ever change its answer for the
same input: names are how an operator recognises what an earlier one made.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

GROUP = "modelfleet.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "LLMDeployment"
PLURAL = "llmdeployments"

FIELD_MANAGER = "modelfleet"
METADATA_MANAGER = "modelfleet-meta"
"""Of labels that are put back: it never owns anything of a spec."""

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY_VALUE = "modelfleet"
APP_NAME = "app.kubernetes.io/name"
APP_NAME_VALUE = "modelfleet-engine"
OWNER = f"{GROUP}/llmdeployment"
REVISION = f"{GROUP}/revision"
ROTATION = f"{GROUP}/rotation"
RENDERING = f"{GROUP}/rendering-version"
RESTART = f"{GROUP}/restart"
API_KEY = f"{GROUP}/api-key"
"""Label of a Secret in the gateway's namespace: each of its values is a key of the tenant that TENANT names."""
TENANT = f"{GROUP}/tenant"
EVALUATION = f"{GROUP}/evaluation"
"""Label of an evaluation's pods: the LLMDeployment. They carry none of its other labels, or they would count as replicas."""
OUT_SINCE = f"{GROUP}/out-since"
"""Annotation of a pod: when it was taken out of rotation."""
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

OWNED_SELECTOR = f"{MANAGED_BY}={MANAGED_BY_VALUE},{OWNER}"

HASHED_FIELDS = (
    "model",
    "engine",
    "parallelism",
    "accelerator",
    "resources",
    "cache",
    "drain",
    "priorityClassName",
    "template",
)
"""Spec fields that make a revision. Replicas, scaling, rollout, routing, adapters and suspend never restart a pod."""

HASH_LENGTH = 10


def revision_hash(*, spec: Mapping[str, Any], annotations: Mapping[str, str]) -> str:
    """Name the revision that a spec asks for: ten lowercase hexadecimal digits.

    The hash is over the user's own words (unset fields are absent), never over what an operator renders from them, so
    that a newer operator finds the same revision and restarts nothing. `tests/unit/core/hash_vectors.json` holds golden
    vectors that are never edited.

    >>> a = revision_hash(spec={"model": {"uri": "hf://a/b"}, "replicas": 1}, annotations={})
    >>> b = revision_hash(spec={"replicas": 7, "model": {"uri": "hf://a/b"}}, annotations={"note": "x"})
    >>> a == b, len(a)
    (True, 10)
    """
    words = {field: spec[field] for field in HASHED_FIELDS if spec.get(field) is not None}
    if RESTART in annotations:
        words["restart"] = annotations[RESTART]
    canonical = json.dumps(words, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:HASH_LENGTH]


def revision_name(*, name: str, revision: str) -> str:
    """Name a revision's Deployment, ControllerRevision and Service.

    >>> revision_name(name="chat", revision="0123456789")
    'chat-0123456789'
    """
    return f"{name}-{revision}"


def owned_labels(*, name: str, revision: str | None = None) -> dict[str, str]:
    """Label an owned object; the watches select on them."""
    labels = {MANAGED_BY: MANAGED_BY_VALUE, APP_NAME: APP_NAME_VALUE, OWNER: name}
    if revision is not None:
        labels[REVISION] = revision
    return labels
