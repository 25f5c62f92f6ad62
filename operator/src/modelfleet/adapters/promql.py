"""The PromQL of every signal: one query for the whole fleet, whatever its size.

Beside `prometheus.py`, which sends these. Each answers two series per pod, told apart by the label `part`: the value,
and the age in seconds of the oldest sample behind it by Prometheus' own clock (Prometheus alone would pass off a sample
of up to 5 minutes ago as current). Only the labels `namespace` and `pod` are required. Must not hold anything but text.
"""

from typing import Final

from modelfleet.core.scaling.series import NAMES, Meaning

PART: Final = "part"
_GPU: Final = "DCGM_FI_DEV_GPU_UTIL"


def _by_pod(*, value: str, age: str) -> str:
    return (
        f'label_replace({value}, "{PART}", "value", "", "")'
        f' or label_replace(max by (namespace, pod) ({age}), "{PART}", "age", "", "")'
    )


def _series(meaning: Meaning) -> str:
    """Select a vLLM gauge by every name that a release gives it; a pod has one of them.

    >>> _series("running")
    'vllm:num_requests_running'
    >>> _series("kv_cache_usage")
    '(vllm:kv_cache_usage_perc or vllm:gpu_cache_usage_perc)'
    """
    return _any(NAMES[meaning])


def _age(meaning: Meaning) -> str:
    """Tell how old the samples of a vLLM gauge are.

    `timestamp()` sees the time of a sample only on a bare name; around an expression it would be now.

    >>> _age("kv_cache_usage")
    'time() - (timestamp(vllm:kv_cache_usage_perc) or timestamp(vllm:gpu_cache_usage_perc))'
    """
    return f"time() - {_any(tuple(f'timestamp({name})' for name in NAMES[meaning]))}"


def _any(vectors: tuple[str, ...]) -> str:
    return f"({' or '.join(vectors)})" if len(vectors) > 1 else vectors[0]


def _engine(vector: str) -> str:
    """Sum a vLLM gauge over a pod's engines; `max` first, so that a pod scraped by two jobs is not counted twice."""
    return f"sum by (namespace, pod) (max by (namespace, pod, engine, model_name) ({vector}))"


def _workload(vector: str) -> str:
    """Name a DCGM series after the pod that uses the GPU.

    With Prometheus' default `honor_labels: false` that name is in `exported_*`, and `pod` is the exporter's own.
    """
    for label in ("namespace", "pod"):
        vector = f'label_replace({vector}, "{label}", "$1", "exported_{label}", "(.+)")'
    return vector


QUERIES: Final = {
    # Requests that wait for a place in the batch.
    "QueueDepth": _by_pod(value=_engine(_series("waiting")), age=_age("waiting")),
    # Requests in the engine. `+` joins: where one of the two is missing there is no value, not half of one.
    "InFlight": _by_pod(value=_engine(f"{_series('running')} + {_series('waiting')}"), age=_age("running")),
    # DCGM reports 0-100; targets are ratios. The average over the pod's GPUs.
    "GPUUtilization": _by_pod(
        value=f"avg by (namespace, pod) ({_workload(_GPU)}) / 100", age=_workload(f"time() - timestamp({_GPU})")
    ),
}
"""Signal type -> PromQL."""
