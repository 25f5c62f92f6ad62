"""Owned objects: what must exist beside the replicas, what drifted, what may be forgotten.

Each function answers one question with the writes that follow. Must not size anything.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from modelfleet.core import names
from modelfleet.core.drift import holds
from modelfleet.core.plan import Action, Apply, Create, Delete, Reason, Relabel, RestoreTemplate, Select
from modelfleet.core.render import objects
from modelfleet.core.routing.provider import provider
from modelfleet.core.routing.shares import shares
from modelfleet.core.world import Snapshot, StoredRevision, Workload


def wanted_objects(
    snapshot: Snapshot, *, revisions: tuple[str, ...], stable: str = "", leaving: Collection[str] = ()
) -> Iterator[Mapping[str, Any]]:
    """Render the Services, the disruption budget, the network policy and the HTTPRoute that should exist."""
    yield objects.stable_service(snapshot, revision=stable)
    for each in revisions:
        yield objects.revision_service(snapshot, revision=each)
    yield objects.disruption_budget(snapshot)
    if _behind_the_gateway(snapshot) and snapshot.settings.engine_peers:
        yield objects.network_policy(snapshot)
    if _behind_the_gateway_api(snapshot) and snapshot.route_obstacle is None and revisions:
        yield objects.http_route(snapshot, weights=shares(snapshot, revisions=revisions, leaving=leaving))


def _behind_the_gateway(snapshot: Snapshot) -> bool:
    """Whether keys are asked for: who is reached by a Service must stay open to whoever reaches it today."""
    return snapshot.spec is not None and provider(snapshot.spec, gateway_url=snapshot.settings.gateway_url) == "Gateway"


def _behind_the_gateway_api(snapshot: Snapshot) -> bool:
    return snapshot.spec is not None and snapshot.spec.routing.provider == "GatewayAPI"


def keep_objects(
    snapshot: Snapshot, *, revisions: tuple[str, ...], stable: str = "", leaving: Collection[str] = ()
) -> tuple[Action, ...]:
    """Create what is missing, repair what was changed, delete what is no longer wanted.

    Args:
        snapshot: the LLMDeployment.
        revisions: those that keep their Service.
        stable: the one that the plain Service selects; empty for all of them.
        leaving: names of pods that are to leave rotation; no route counts on them any more.
    """
    live = {(o.kind, o.name): o for o in snapshot.objects}
    actions: list[Action] = []
    for manifest in wanted_objects(snapshot, revisions=revisions, stable=stable, leaving=leaving):
        seen = live.pop((manifest["kind"], manifest["metadata"]["name"]), None)
        if seen is None:
            actions.append(Create(manifest=manifest))
        elif manifest["kind"] == "Service" and selects(seen.body) != selects(manifest):
            actions.append(
                Select(service=seen.name, resource_version=seen.resource_version, selector=selects(manifest))
            )
        elif not holds(manifest, seen.body) or _route_edited(manifest, seen.body):
            actions.append(Apply(manifest=manifest, resource_version=seen.resource_version))
    actions += [
        Delete(api_version="networking.k8s.io/v1", kind=kind, name=name, uid=old.uid)
        for (kind, name), old in live.items()
        if kind == "NetworkPolicy"
    ]
    if not _behind_the_gateway_api(snapshot):
        actions += [
            Delete(api_version=objects.HTTP_ROUTE_API, kind=kind, name=name, uid=old.uid)
            for (kind, name), old in live.items()
            if kind == objects.HTTP_ROUTE
        ]
    return tuple(actions)


def _route_edited(manifest: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Whether a route says more than we do: a filter or a listener that someone added changes where requests go."""
    seen = live.get("spec") or {}
    return manifest["kind"] == objects.HTTP_ROUTE and any(
        seen.get(key, []) != value for key, value in manifest["spec"].items()
    )


def selects(service: Mapping[str, Any]) -> Mapping[str, str]:
    """Give a Service's selector."""
    return dict((service.get("spec") or {}).get("selector") or {})


def looks_edited(workload: Workload, *, stored: StoredRevision) -> bool:
    """Whether a live template says less or else than the stored one, and not only in Kubernetes' own words."""
    return not workload.rewritten and not holds(stored.template, workload.template)


def edited_templates(snapshot: Snapshot) -> tuple[tuple[Workload, StoredRevision], ...]:
    """Find the Deployments whose template was edited by hand, with what was stored."""
    stored = {s.revision: s for s in snapshot.stored}
    pairs = ((w, stored[w.revision]) for w in snapshot.workloads if w.revision in stored)
    return tuple((w, known) for w, known in pairs if w.foreign_managers or looks_edited(w, stored=known))


def restore_templates(snapshot: Snapshot) -> tuple[tuple[Action, ...], tuple[Reason, ...]]:
    """Put back every template that was edited by hand, but for those that the API server does not let us put back."""
    refused = {one.name for one in snapshot.refused if one.action == RestoreTemplate.__name__}
    actions: list[Action] = []
    reasons: list[Reason] = []
    for workload, known in edited_templates(snapshot):
        if workload.name in refused:
            continue
        actions.append(
            RestoreTemplate(name=workload.name, resource_version=workload.resource_version, template=known.template)
        )
        who = ", ".join(workload.foreign_managers) or "someone"
        reasons.append(
            Reason(
                kind="Repair",
                reason="TemplateDrifted",
                message=f"Deployment {workload.name} was edited by {who}; its stored template is put back."
                " Change the LLMDeployment instead.",
                warning=True,
            )
        )
    return tuple(actions), tuple(reasons)


def keep_stored(snapshot: Snapshot) -> tuple[Action, ...]:
    """Store a template again whose ControllerRevision was deleted while its Deployment lives."""
    stored = {s.revision for s in snapshot.stored}
    number = max((s.number for s in snapshot.stored), default=0)
    missing = [w for w in snapshot.workloads if w.revision and w.revision not in stored]
    return tuple(
        Create(
            manifest=objects.controller_revision(
                snapshot, revision=w.revision, number=number + index, template=w.template
            )
        )
        for index, w in enumerate(missing, start=1)
    )


def keep_labels(snapshot: Snapshot) -> tuple[Action, ...]:
    """Put back the labels of Deployments; of Services and the like the repair of the whole object does it.

    Of a revision that has pods and no Deployment, the Deployment may only be out of sight: it is looked for.
    """
    alive = {r.revision for r in snapshot.replicas if r.revision and not (r.terminating or r.failed)}
    known = {w.revision for w in snapshot.workloads}
    found = [(w.revision, True) for w in snapshot.workloads if w.mislabelled and w.revision]
    found += [(revision, False) for revision in sorted(alive - known)]
    return tuple(
        Relabel(manifest=objects.known_deployment(snapshot, revision=revision), seen=seen) for revision, seen in found
    )


def forget(snapshot: Snapshot, *, revision: str) -> tuple[Action, ...]:
    """Delete old revisions beyond the history limit; never one that still has a pod."""
    limit = snapshot.spec.rollout.revision_history_limit if snapshot.spec else 5
    busy = {r.revision for r in snapshot.replicas} | {w.revision for w in snapshot.workloads if w.replicas}
    idle = [s for s in snapshot.stored if s.revision != revision and s.revision not in busy]
    idle.sort(key=lambda s: s.number, reverse=True)
    workloads = {w.revision: w for w in snapshot.workloads}
    services = {o.name: o for o in snapshot.objects if o.kind == "Service"}
    actions: list[Action] = []
    for old in idle[limit:]:
        if service := services.get(names.revision_name(name=snapshot.name, revision=old.revision)):
            actions.append(Delete(api_version="v1", kind="Service", name=service.name, uid=service.uid))
        if deployment := workloads.get(old.revision):
            actions.append(Delete(api_version="apps/v1", kind="Deployment", name=deployment.name, uid=deployment.uid))
        actions.append(Delete(api_version="apps/v1", kind="ControllerRevision", name=old.name, uid=old.uid))
    return tuple(actions)
