"""What to do about each condition reason: one sentence per reason.

Sits under the CLI, and adds the reasons of conditions to those of failed replicas, which the core words itself.
It must hold text only: `docs/troubleshooting.md` has a section for every reason here, and a test sees to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from modelfleet.core.failures import ADVICE as FAILURES

ADVICE: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{reason: f"{advice[0].upper()}{advice[1:]}." for reason, advice in FAILURES.items()},
        # Valid
        "TemplateInvalid": "Correct the field of spec.template that the message names; the running revision serves on.",
        "SpecInvalid": "Correct the field that the message names and apply again; the running revision serves on.",
        "NameTaken": "Rename or delete the object that the message names, or rename the LLMDeployment: another's object is never written.",
        "GatewayRequired": "Enable the chart's gateway, set spec.routing.provider to GatewayAPI, or choose strategy RollingUpdate.",
        "WindowInvalid": "Correct spec.rollout.window as the message says; the running revision serves on.",
        "QueryInvalid": "Correct the query of spec.rollout.analysis.metrics that the message names.",
        "ImageUnknown": "Set spec.engine.image, or engineImages in the chart's values.",
        # Ready
        "ReplicasLoading": "Wait: the message says for what; a replica is ready when it has generated one token. `kubectl get pods -w` shows it.",
        "NotYet": "Wait: no replica has loaded the model yet.",
        # Progressing
        "ReplicasStarting": "Wait: replicas of the newest revision are on their way.",
        "RevisionRollingOut": "Wait: the old revision serves until the new one is ready.",
        "ProgressDeadlineExceeded": "Read the other conditions for the cause, then correct the spec or go back to the previous one.",
        "WaitingForCapacity": "Free a GPU, or set spec.rollout.capacity to InPlace, or spec.rollout.maxUnavailable to 1.",
        # CapacityAvailable
        "Unschedulable": "Give the scheduler what its message names: a claim, memory, a label, a node without taint.",
        "NoSuchNode": "Lower spec.accelerator.count to what one node has, or add such a node.",
        "NodesNotReadable": "Nothing has to be done: the scheduler is the judge, and one replica is asked for at a time.",
        # MetricsAvailable
        "AwaitingData": "Wait for the next scrape; until then replicas may rise but not fall.",
        "QueryFailed": "Check prometheus.url in the chart's values, and that the operator may reach it; replicas do not fall meanwhile.",
        "NoData": "Check that Prometheus scrapes the engine pods and the GPU exporter; replicas do not fall meanwhile.",
        "Stale": "Check that Prometheus answers the operator (its log names the query); replicas do not fall meanwhile.",
        "PartialData": "Check why Prometheus does not scrape the pods that the message names; replicas do not fall meanwhile.",
        # RouteAccepted
        "ServedNameConflict": "Choose another spec.model.servedName: the older LLMDeployment keeps this one.",
        "RejectedByEnvoy": "Correct what Envoy's message names (a served name, tenants); the last good routes stay in use.",
        "RouterUnverified": "Look at the log of the Envoy that the message names, and at its link to the gateway's control pods.",
        "GatewayAPIMissing": "Install the Gateway API (v1.2 or newer) and a Gateway, or set spec.routing.provider to another.",
        "RouteNotOurs": "Rename or delete the HTTPRoute of this name, or rename the LLMDeployment: another's route is never written.",
        "RouteRefused": "Correct the part of spec.routing.gatewayAPI that the message names; the last route stays in use.",
        "AwaitingGateway": "Check that the Gateway in spec.routing.gatewayAPI.parentRefs exists and that its controller runs.",
        # Degraded, beside what failed replicas say
        "ObjectRefused": "Raise the quota, correct the policy, or give the operator the right that the message names; it is tried again within half a minute.",
        "RolledBack": "Read status.rollout.analysis for the cause, then revert or correct the spec; until it changes the old revision serves.",
        "Aborted": "Revert or correct the spec; until it changes the old revision serves.",
        # Drifted, Suspended
        "TemplateEdited": "Change the LLMDeployment instead of its Deployment: the stored template is put back.",
        "Suspended": "Set spec.suspend to false when ModelFleet should act again; serving goes on meanwhile.",
    }
)
