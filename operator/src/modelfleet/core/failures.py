"""Why a replica does not serve, in words that say what to do next.

Reads what the API shows of a pod (waiting reason, termination message), or of the Deployment where there is none; must
not talk to anyone.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelfleet.core.rollout.replicas import living
from modelfleet.core.world import Replica, Workload

ADVICE = {
    "ImagePullFailed": "check spec.engine.image, and that the nodes may pull it",
    "ModelNotFound": "check spec.model.uri (and revision): nothing is there",
    "ModelAccessDenied": "give spec.model.secretRef a token that may read the model",
    "OutOfMemory": "lower --max-model-len, raise resources or use more devices (parallelism.tensor)",
    "InvalidEngineArgument": "correct spec.engine.args; the engine refused them",
    "ParallelismMismatch": "choose a parallelism.tensor that divides the model's attention heads",
    "ContextTooLong": "lower --max-model-len to what the model or the memory allows",
    "TokenizerMissing": "the model folder has no tokenizer; add one or name it with --tokenizer",
    "ConfigMissing": "create the Secret or ConfigMap that the pod refers to",
    "PortInUse": "something else in the pod listens on port 8000 or 8001; change the ports of spec.template's containers",
    "ProbeTimeout": "no token came in time after the start; see the engine's log, give it more CPU or faster storage",
    "EngineHung": "the engine stopped answering and is restarted; see its log, and the node's GPU errors",
    "EngineDied": "the engine died from within and is restarted; see the log of the previous container",
    "EngineFailed": "the engine ended by itself with an error; see the log of the previous container",
    "DrainTimeout": "raise spec.drain.timeoutSeconds; requests in flight were cut",
    "CrashLooping": "see the log of the previous container",
    "Evicted": "the node was short of memory or disk; set resources.requests",
    "PodsRefused": (
        "raise the quota or lower spec.resources, create the PriorityClass or ServiceAccount that is named, or correct"
        " spec.template"
    ),
    "InsufficientGPU": "free or add accelerators, lower the replicas, or set rollout.capacity: InPlace",
}
"""Reason → what a person should do; the troubleshooting page has one section for each."""

_WAITING = {
    "ErrImagePull": "ImagePullFailed",
    "ImagePullBackOff": "ImagePullFailed",
    "InvalidImageName": "ImagePullFailed",
    "ErrImageNeverPull": "ImagePullFailed",
    "CreateContainerConfigError": "ConfigMissing",
    "CreateContainerError": "CrashLooping",
    "RunContainerError": "CrashLooping",
    "OOMKilled": "OutOfMemory",
    "Evicted": "Evicted",
    "Error": "CrashLooping",
    "CrashLoopBackOff": "CrashLooping",
}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What is wrong with a revision's replicas, for a condition."""

    reason: str
    message: str


def reported(termination: str) -> tuple[str, str] | None:
    """Read the supervisor's reason from a termination message, or the plain log tail of a stock image.

    >>> reported('{"reason": "ModelNotFound", "message": "no such folder"}')
    ('ModelNotFound', 'no such folder')
    >>> reported("torch.OutOfMemoryError: CUDA out of memory")
    ('OutOfMemory', 'torch.OutOfMemoryError: CUDA out of memory')
    >>> reported("") is None
    True
    """
    try:
        said = json.loads(termination)
        return str(said["reason"]), str(said.get("message", ""))
    except (ValueError, KeyError, TypeError):
        pass
    lines = [line.strip() for line in termination.splitlines() if line.strip()]
    for line in reversed(lines):
        low = line.lower()
        if "out of memory" in low or "no available memory for the cache blocks" in low:
            return "OutOfMemory", line
        if "unrecognized arguments" in low or "invalid choice" in low:
            return "InvalidEngineArgument", line
        if "repository not found" in low or "no such file or directory" in low:
            return "ModelNotFound", line
    return None


def diagnose(replicas: Iterable[Replica]) -> Failure | None:
    """Find the failure to show: the first, by pod name, of those that wait for something to be repaired."""
    for replica in sorted(replicas, key=lambda r: r.name):
        if replica.terminating or replica.ready:
            continue
        told = reported(replica.message)
        reason = _WAITING.get(replica.waiting_reason)
        if reason is None:
            continue
        message = replica.message
        if told is not None and reason in {"CrashLooping", "OutOfMemory"}:
            reason, message = told
        message = message[-400:] or replica.waiting_reason
        advised = replica.message.startswith("{") and "; " in message  # the supervisor says itself what to do
        if not advised:
            message += f"; {ADVICE.get(reason, ADVICE['CrashLooping'])}"
        return Failure(reason=reason, message=message)
    return None


def podless(workloads: Iterable[Workload], replicas: Sequence[Replica], *, first: str) -> Failure | None:
    """Say why replicas have no pod: those of revision `first`, or else of another one that wants more than it has."""
    for workload in sorted(workloads, key=lambda w: (w.revision != first, w.name)):
        lacks = workload.replicas > len(living(replicas, revision=workload.revision))
        if workload.refused and lacks:
            # The cause stands first in Kubernetes' words, and what to do must still fit into a condition.
            return Failure(reason="PodsRefused", message=f"{workload.refused[:600]}; {ADVICE['PodsRefused']}")
    return None
