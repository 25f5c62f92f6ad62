"""Engine arguments and environment that ModelFleet sets itself, each with the reason why a user may not.

Beside `spec`, which puts these rules into the CRD. It must not parse arguments: they are passed on unaltered.
"""

from typing import NamedTuple

from modelfleet.api.v1alpha1.base import cel


class OwnedFlags(NamedTuple):
    """Flags refused for one reason."""

    flags: tuple[str, ...]
    message: str
    allowed: tuple[str, ...] = ()


VLLM_OWNED = (
    OwnedFlags(
        ("--port", "--host", "--uds"),
        "remove --port, --host and --uds: probes, Services and metrics use port 8000 of every pod",
    ),
    OwnedFlags(("--served-model-name",), "remove --served-model-name: set spec.model.servedName"),
    OwnedFlags(("--model", "--revision"), "remove --model and --revision: set spec.model.uri and spec.model.revision"),
    OwnedFlags(("--shutdown-timeout",), "remove --shutdown-timeout: set spec.drain.timeoutSeconds"),
    OwnedFlags(
        ("--api-key", "--hf-token"),
        "remove --api-key and --hf-token: arguments are readable by all; use spec.engine.env with valueFrom.secretKeyRef"
        " (VLLM_API_KEY) and spec.model.secretRef (HF_TOKEN)",
    ),
    OwnedFlags(
        ("--disable-log-stats",),
        "remove --disable-log-stats: it takes away the metrics that scaling and rollouts read",
    ),
    OwnedFlags(
        ("--api-server-count", "-asc"),
        "remove --api-server-count: more than one API server breaks draining; add replicas instead",
        allowed=("--api-server-count=1", "--api_server_count=1", "-asc=1"),
    ),
    OwnedFlags(("--tensor-parallel-size", "-tp"), "remove --tensor-parallel-size: set spec.parallelism.tensor"),
    OwnedFlags(
        (
            "--pipeline-parallel-size",
            "-pp",
            "--data-parallel-size",
            "-dp",
            "--prefill-context-parallel-size",
            "-pcp",
        ),
        "remove pipeline, data and prefill-context parallelism: a replica is one pod; add replicas instead",
    ),
    OwnedFlags(
        ("--nnodes", "-n", "--node-rank", "-r", "--headless"),
        "remove --nnodes, --node-rank and --headless: a replica is one pod; add replicas instead",
    ),
    OwnedFlags(
        ("--ssl-keyfile", "--ssl-certfile", "--ssl-ca-certs", "--root-path", "--grpc"),
        "remove the ssl, root-path and grpc flags: probes, metrics and routing speak plain HTTP at the root",
    ),
    OwnedFlags(
        ("--config",), "remove --config: a file could set flags that ModelFleet owns; write them as engine.args"
    ),
)
"""vLLM's flags (0.32) that the operator sets or that would break what it promises."""


def pattern(flag: str) -> str:
    """A regular expression of every way vLLM reads `flag`: underscores, `=value`, `.key`, and every abbreviation.

    A prefix of an owned flag is its abbreviation, or ambiguous: then vLLM itself refuses it. Which of the two differs
    between releases, so all are refused. That costs nobody anything: no other flag of vLLM is such a prefix.

    >>> import re
    >>> bool(re.search(pattern("--api-key"), "--api_k=secret")), bool(re.search(pattern("--model"), "--model-impl=auto"))
    (True, False)
    """
    words = flag.lstrip("-")
    dashes = flag.removesuffix(words)
    if len(words) == 1:
        return f"^{flag}"  # its value may follow at once: -n2
    rest = words[1:]
    optional = "".join(f"({char}" for char in rest).replace("-", "[-_]") + ")?" * len(rest)
    return f"^{dashes}{words[0]}{optional}([.=]|$)"


def arg_rules() -> tuple[dict[str, str], ...]:
    """The CEL rules of `spec.engine.args`, one for each reason."""
    rules = []
    for owned in VLLM_OWNED:
        refused = "|".join(pattern(flag) for flag in owned.flags)
        allowed = f"a in {list(owned.allowed)} || " if owned.allowed else ""
        rules.append(cel(f"self.all(a, {allowed}!a.matches('{refused}'))", owned.message))
    return tuple(rules)


def env_rules() -> tuple[dict[str, str], ...]:
    """The CEL rules of one entry of `spec.engine.env`."""
    return (
        cel("!(has(self.value) && has(self.valueFrom))", "set value or valueFrom, not both"),
        cel(
            "!self.name.startsWith('MODELFLEET_')", "names that begin with MODELFLEET_ are set by ModelFleet; remove it"
        ),
        cel(
            "self.name != 'VLLM_SERVER_DEV_MODE'",
            "remove VLLM_SERVER_DEV_MODE: it opens remote calls into the engine to everyone who reaches the pod",
        ),
        cel(
            "!(self.name in ['VLLM_API_KEY', 'HF_TOKEN']) || !has(self.value)",
            "a secret must not stand in the spec; use valueFrom.secretKeyRef",
        ),
    )
