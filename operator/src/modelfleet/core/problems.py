"""What is wrong with a spec that the API server admitted: what one object alone does not show, or no schema can say.

The first problem is shown as `Valid=False`; nothing new starts until it is gone, and what serves goes on. Must not look at
what runs.
"""

from dataclasses import dataclass
from functools import lru_cache

import promql_parser

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core.judgement.question import unresolved
from modelfleet.core.render.pod import engine_image
from modelfleet.core.rollout import opening
from modelfleet.core.routing.provider import provider
from modelfleet.core.world import Snapshot


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One word for machines, and what to do."""

    reason: str
    message: str


def problem(snapshot: Snapshot) -> Problem | None:
    """Find the first problem."""
    spec = snapshot.spec
    if spec is None:
        return None
    if snapshot.taken:
        message = (
            f"{' and '.join(snapshot.taken)} is there and not ours: rename or delete it, or rename the LLMDeployment"
        )
        return Problem(reason="NameTaken", message=message)
    if not engine_image(spec, settings=snapshot.settings):
        message = "no image for this engine: set spec.engine.image or the chart's engine images"
        return Problem(reason="ImageUnknown", message=message)
    by = provider(spec, gateway_url=snapshot.settings.gateway_url)
    routed = by == "GatewayAPI" or (by == "Gateway" and bool(snapshot.settings.gateway_url))
    if spec.rollout.strategy in {"Canary", "BlueGreen"} and not routed:
        message = (
            f"strategy {spec.rollout.strategy} needs a gateway: install the chart with gateway.enabled, set"
            " routing.provider: GatewayAPI, or choose RollingUpdate"
        )
        return Problem(reason="GatewayRequired", message=message)
    if found := opening.problem(spec.rollout.window, now=snapshot.now):
        return Problem(reason="WindowInvalid", message=found)
    return _query(spec)


def _query(spec: LLMDeploymentSpec) -> Problem | None:
    """Refuse a query that no Prometheus could answer, before a rollout waits for its answer."""
    for metric in spec.rollout.analysis.metrics:
        if not metric.query:
            continue
        if unknown := unresolved(metric.query):
            message = (
                f"the query of rollout.analysis.metrics[{metric.name}] names {', '.join(f'${name}' for name in unknown)};"
                " known are $namespace, $name, $canary and $stable"
            )
            return Problem(reason="QueryInvalid", message=message)
        if wrong := _unreadable(metric.query):
            message = f"the query of rollout.analysis.metrics[{metric.name}] cannot be read: {wrong}"
            return Problem(reason="QueryInvalid", message=message)
    return None


@lru_cache(maxsize=1024)
def _unreadable(query: str) -> str:
    """Say why it is no PromQL; empty when it is. Every pass asks several times about the same few."""
    try:
        promql_parser.parse(query.replace("$", "_"))
    except ValueError as error:
        return str(error)
    return ""
