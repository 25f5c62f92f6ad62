"""The PromQL of every signal: one query for the whole fleet, whatever its size.

Beside `prometheus.py`, which sends these. Each answers two series per pod, told apart by the label `part`: the value,
and the age in seconds of the oldest sample behind it by Prometheus' own clock. Prometheus alone would pass off a sample
of up to 5 minutes ago as current, and so it does with what a pod said at an address that it no longer has, where the
server was killed before it could mark that series as ended. So only fresh samples make a value, and the age is that of
the newest sample of each engine or GPU. Only the labels `namespace` and `pod` are required. Must not hold anything but
text.
"""

from typing import Final

from modelfleet.core.scaling.series import NAMES, Meaning
from modelfleet.core.scaling.signals import STALE_AFTER_SECONDS

PART: Final = "part"
_GPU: Final = "DCGM_FI_DEV_GPU_UTIL"


def _by_pod(*, value: str, age: str) -> str:
    return (
        f'label_replace({value}, "{PART}", "value", "", "")'
        f' or label_replace(max by (namespace, pod) ({age}), "{PART}", "age", "", "")'
    )


def _fresh(name: str) -> str:
    """Select the series of one name whose newest sample may still be reckoned with.

    >>> _fresh("up")
    '(up and (time() - timestamp(up) <= 60))'
    """
    return f"({name} and ({_since(name)} <= {STALE_AFTER_SECONDS:g}))"


def _since(name: str) -> str:
    """Tell how old samples are; `timestamp()` sees their time on a bare name only, around an expression it is now."""
    return f"time() - timestamp({name})"


def _value(meaning: Meaning) -> str:
    """Select a vLLM gauge by every name that a release gives it; a pod has one of them. One value per engine.

    `max`, so that a pod scraped by two jobs is not counted twice.

    >>> _value("running").replace("vllm:num_requests_running", "NAME")
    'max by (namespace, pod, engine, model_name) ((NAME and (time() - timestamp(NAME) <= 60)))'
    """
    return f"max by (namespace, pod, engine, model_name) ({' or '.join(map(_fresh, NAMES[meaning]))})"


def _age(meaning: Meaning) -> str:
    """Tell how old the newest sample of each engine's gauge is."""
    return f"min by (namespace, pod, engine, model_name) ({' or '.join(map(_since, NAMES[meaning]))})"


def _sum(vector: str) -> str:
    """Sum over a pod's engines."""
    return f"sum by (namespace, pod) ({vector})"


def _workload(vector: str) -> str:
    """Name a DCGM series after the pod that uses the GPU.

    With Prometheus' default `honor_labels: false` that name is in `exported_*`, and `pod` is the exporter's own.
    """
    for label in ("namespace", "pod"):
        vector = f'label_replace({vector}, "{label}", "$1", "exported_{label}", "(.+)")'
    return vector


QUERIES: Final = {
    # Requests that wait for a place in the batch.
    "QueueDepth": _by_pod(value=_sum(_value("waiting")), age=_age("waiting")),
    # Requests in the engine. `+` joins: where one of the two is missing there is no value, not half of one.
    "InFlight": _by_pod(value=_sum(f"{_value('running')} + {_value('waiting')}"), age=_age("running")),
    # DCGM reports 0-100; targets are ratios. The average over the pod's GPUs.
    "GPUUtilization": _by_pod(
        value=f"avg by (namespace, pod) ({_workload(_fresh(_GPU))}) / 100",
        age=f"min by (namespace, pod, gpu, UUID) ({_workload(_since(_GPU))})",
    ),
}
"""Signal type -> PromQL."""
