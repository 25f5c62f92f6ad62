"""Why an engine ended, read from the last lines it printed.

Pure: text in, reason out. It must not read files, and it is only asked when the engine has gone.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from signal import Signals

LIMIT = 900
"""Characters of a message: the pod's status holds 4096 bytes for all containers' messages together."""

# "(EngineCore pid=71) ERROR 11-21 14:40:00 [core.py:886] " before the words that matter
_PREFIX = re.compile(r"^(\([^)]*\) )?((ERROR|INFO|WARNING|CRITICAL) [\d-]+ [\d:]+ \[[^]]*\] )?\s*")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class Reason:
    """A machine-readable word and a sentence for a person."""

    reason: str
    message: str

    def as_json(self) -> str:
        """The termination message."""
        return json.dumps({"reason": self.reason, "message": self.message[:LIMIT]}, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Lines like this mean that; the advice is appended to the engine's own words."""

    reason: str
    pattern: re.Pattern[str]
    advice: str


def _rule(reason: str, pattern: str, advice: str) -> Rule:
    return Rule(reason=reason, pattern=re.compile(pattern, re.IGNORECASE), advice=advice)


# The first rule that matches any line wins; in that rule, the last such line is shown.
RULES = (
    _rule(
        "ModelAccessDenied",
        r"GatedRepoError|gated repo|(401|403) Client Error|access to model .* is restricted",
        "set spec.model.secretRef to a Secret whose token may read this model",
    ),
    _rule(
        "ContextTooLong",
        r"max_model_len .* is greater than the derived max_model_len",
        "lower --max-model-len in spec.engine.args",
    ),
    _rule(
        "OutOfMemory",
        r"no available memory for the cache blocks|out of memory|OutOfMemoryError|less than desired GPU memory utilization"
        r"|KV cache is needed|larger than the (maximum number of tokens|available KV cache)|can't allocate memory"
        r"|^MemoryError|bad_alloc|Not enough (available )?memory",
        "lower --max-model-len, raise --gpu-memory-utilization, or give the replica more memory",
    ),
    _rule(
        "ParallelismMismatch",
        r"must be divisible by .*parallel|world size .* is larger than the number of available|parallel size .*(exceed|larger)",
        "set spec.parallelism.tensor to a divisor of the model's attention heads and to the GPUs of a replica",
    ),
    _rule(
        "InsufficientGPU",
        r"no CUDA GPUs are available|failed to infer device type|no CUDA-capable device|NVIDIA driver .* too old",
        "run on a node with a GPU, or use the CPU image",
    ),
    _rule(
        "TokenizerMissing",
        r"can't load tokenizer|couldn't instantiate the backend tokenizer|tokenizer\S* .*not found",
        "put the tokenizer's files beside the weights, or name one with --tokenizer",
    ),
    _rule(
        "ModelNotFound",
        r"RepositoryNotFoundError|is not a valid model identifier|invalid repository ID or local directory"
        r"|repo id must (be in the form|use alphanumeric)|cannot find any model weights|does not appear to have a file named"
        r"|LocalEntryNotFoundError|No such file or directory: '.*(config\.json|\.safetensors)'"
        r"|(cannot find|can't load|couldn't find) .*(config|model files?|cached files)",
        "check spec.model.uri and spec.model.revision",
    ),
    _rule("PortInUse", r"address already in use", "remove --port from spec.engine.args"),
    _rule(
        "InvalidEngineArgument",
        r"^vllm[^:]*: error: |^usage: vllm|value error, |(unrecognized|expected one|invalid choice).*argument|argument --?\S+: ",
        "correct spec.engine.args",
    ),
    _rule(
        "InvalidEngineArgument",
        r"^(ValueError|NotImplementedError|pydantic\S*ValidationError): ",
        "correct spec.engine.args",
    ),
)


def reason_of(*, tail: str, status: int, out_of_memory_killed: bool = False) -> Reason:
    """Say why the engine ended although nobody asked it to.

    Args:
        tail: the last lines that it printed.
        status: exit code, or minus the number of the signal that ended it.
        out_of_memory_killed: the kernel ended a process of this container for its memory limit.

    >>> reason_of(tail="vllm serve: error: argument --max-model-len: invalid", status=2).reason
    'InvalidEngineArgument'
    >>> reason_of(tail="", status=0).message.partition(";")[0]
    'the engine exited 0 without being asked'
    """
    if out_of_memory_killed:
        return Reason(
            reason="OutOfMemory",
            message="the kernel ended the engine at the container's memory limit; raise spec.resources.limits.memory",
        )
    lines = [_PREFIX.sub("", _COLOUR.sub("", line)).strip() for line in tail.splitlines()]
    for rule in RULES if status >= 0 else ():
        found = [line for line in lines if rule.pattern.search(line)]
        if found:
            return Reason(reason=rule.reason, message=f"{_shortened(found[-1])}; {rule.advice}")
    if status < 0:
        name = Signals(-status).name
        return Reason(
            reason="EngineDied", message=f"the engine was ended by {name}; see the log of the previous container"
        )
    if status == 0:
        return Reason(
            reason="EngineDied",
            message="the engine exited 0 without being asked; its core died, see the log of the previous container",
        )
    last = next((line for line in reversed(lines) if line), "it printed nothing")
    return Reason(reason="EngineFailed", message=f"the engine exited {status}: {_shortened(last)}")


def _shortened(line: str) -> str:
    return line if len(line) <= LIMIT // 2 else line[: LIMIT // 2 - 1] + "…"
