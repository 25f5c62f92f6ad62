"""The Job of an evaluation, from the jobTemplate of the user's CronJob.

Must not decide when it runs.
"""

from collections.abc import Mapping
from typing import Any

from modelfleet.core import names
from modelfleet.core.render.objects import owner_reference
from modelfleet.core.render.pod import served_name
from modelfleet.core.world import Snapshot

Json = Mapping[str, Any]


def job(snapshot: Snapshot, *, name: str, revision: str, template: Json) -> dict[str, Any]:
    """Render it: the user's words, whom to ask, an end in time.

    It is deleted here and not by its own time to live: an answer must be read before it goes.
    """
    words: Json = template.get("spec") or {}
    meta: Json = template.get("metadata") or {}
    kept = {key: value for key, value in words.items() if key != "ttlSecondsAfterFinished"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": snapshot.namespace,
            "labels": {
                **(meta.get("labels") or {}),
                **names.owned_labels(name=snapshot.name, revision=revision),
            },
            "annotations": dict(meta.get("annotations") or {}),
            "ownerReferences": [owner_reference(snapshot)],
        },
        "spec": {
            **kept,
            "activeDeadlineSeconds": _deadline(snapshot, given=words.get("activeDeadlineSeconds")),
            "template": _pod(snapshot, revision=revision, template=words.get("template") or {}),
        },
    }


def _deadline(snapshot: Snapshot, *, given: int | None) -> int:
    assert snapshot.spec is not None  # noqa: S101 - decide() answers an unreadable spec first
    evaluation = snapshot.spec.rollout.analysis.evaluation
    assert evaluation is not None  # noqa: S101 - nothing is rendered without
    return min(evaluation.timeout_seconds, given or evaluation.timeout_seconds)


def _pod(snapshot: Snapshot, *, revision: str, template: Json) -> dict[str, Any]:
    assert snapshot.spec is not None  # noqa: S101 - see _deadline()
    service = names.revision_name(name=snapshot.name, revision=revision)
    given = {
        "MODELFLEET_URL": f"http://{service}.{snapshot.namespace}.svc",
        "MODELFLEET_MODEL": served_name(snapshot.spec, name=snapshot.name),
        "MODELFLEET_REVISION": revision,
    }
    meta: Json = template.get("metadata") or {}
    spec: dict[str, Any] = dict(template.get("spec") or {})
    for kind in ("initContainers", "containers"):
        if kind in spec:
            spec[kind] = [_told(container, given=given) for container in spec[kind] or ()]
    labels = {**(meta.get("labels") or {}), names.EVALUATION: snapshot.name}
    return {"metadata": {**meta, "labels": labels}, "spec": spec}


def _told(container: Json, *, given: Mapping[str, str]) -> dict[str, Any]:
    """Put whom to ask first: later entries may refer to it."""
    ours = [{"name": name, "value": value} for name, value in given.items()]
    theirs = [one for one in container.get("env") or () if one.get("name") not in given]
    return {**container, "env": [*ours, *theirs]}
