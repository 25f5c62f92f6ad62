"""The PromQL of every signal: one query for the whole fleet, whatever its size.

Beside `prometheus.py`, which sends these. Each answers two series per pod, told apart by the label `part`: the value,
and the age in seconds of the oldest sample behind it by Prometheus' own clock (Prometheus alone would pass off a sample
of up to 5 minutes ago as current). Only the labels `namespace` and `pod` are required. Must not hold anything but text.
"""

from typing import Final

PART: Final = "part"


def _by_pod(*, value: str, age: str) -> str:
    return (
        f'label_replace({value}, "{PART}", "value", "", "")'
        f' or label_replace(max by (namespace, pod) ({age}), "{PART}", "age", "", "")'
    )


def _engine(metric: str) -> str:
    """Sum a vLLM gauge over a pod's engines; `max` first, so that a pod scraped by two jobs is not counted twice."""
    return f"sum by (namespace, pod) (max by (namespace, pod, engine, model_name) ({metric}))"


def _workload(vector: str) -> str:
    """Name a DCGM series after the pod that uses the GPU.

    With Prometheus' default `honor_labels: false` that name is in `exported_*`, and `pod` is the exporter's own.
    """
    for label in ("namespace", "pod"):
        vector = f'label_replace({vector}, "{label}", "$1", "exported_{label}", "(.+)")'
    return vector


_WAITING: Final = "vllm:num_requests_waiting"
_RUNNING: Final = "vllm:num_requests_running"
_GPU: Final = "DCGM_FI_DEV_GPU_UTIL"

QUERIES: Final = {
    # Requests that wait for a place in the batch.
    "QueueDepth": _by_pod(value=_engine(_WAITING), age=f"time() - timestamp({_WAITING})"),
    # Requests in the engine. `+` joins: where one of the two is missing there is no value, not half of one.
    "InFlight": _by_pod(value=_engine(f"{_RUNNING} + {_WAITING}"), age=f"time() - timestamp({_RUNNING})"),
    # DCGM reports 0-100; targets are ratios. The average over the pod's GPUs.
    "GPUUtilization": _by_pod(
        value=f"avg by (namespace, pod) ({_workload(_GPU)}) / 100", age=_workload(f"time() - timestamp({_GPU})")
    ),
}
"""Signal type -> PromQL."""
