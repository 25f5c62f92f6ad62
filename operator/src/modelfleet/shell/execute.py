"""Carry out a Plan: one API write per action, stage by stage, each answer taken into the cache at once.

The first problem ends the plan; the next pass derives a new one from what then exists. Must not decide.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, assert_never

import structlog

from modelfleet.adapters.errors import Conflict, Gone, Refused
from modelfleet.adapters.kube import JSON_PATCH, MERGE, Kube
from modelfleet.core import names
from modelfleet.core.conditions import moment, timestamp
from modelfleet.core.plan import (
    Action,
    Apply,
    Create,
    Delete,
    DryRun,
    Plan,
    Reason,
    Relabel,
    RestoreTemplate,
    Rotate,
    Scale,
    Select,
    stages,
    target,
)
from modelfleet.core.render.objects import HTTP_ROUTE
from modelfleet.core.world import Snapshot
from modelfleet.shell.cache import Cache
from modelfleet.shell.labels import repair
from modelfleet.shell.queue import Key
from modelfleet.shell.refused import ObjectRefused
from modelfleet.shell.taken import NameTaken, is_anothers

log = structlog.get_logger(__name__)
VICTIM_COST = "-1000"
COMPONENT = "modelfleet-operator"


class TemplateRefused(Exception):  # noqa: N818 - an answer of the API server, not a fault
    """The API server refused a rendered Deployment in a dry run."""

    def __init__(self, *, revision: str, message: str) -> None:
        super().__init__(message)
        self.revision, self.message = revision, message


class RouteRefused(Exception):  # noqa: N818 - an answer of the API server, not a fault
    """The API server refused our HTTPRoute: what is in it comes from the user."""


class EvaluationRefused(Exception):  # noqa: N818 - an answer of the API server, not a fault
    """The API server refused an evaluation's Job: what is in it comes from the user."""


class Executor:
    """Writes plans."""

    def __init__(self, *, kube: Kube, cache: Cache) -> None:
        self._kube, self._cache = kube, cache

    async def run(self, *, key: Key, snapshot: Snapshot, plan: Plan) -> None:
        """Write the plan's actions, then the status if it says something new, then the Events.

        Raises:
            ApiProblem: the plan was dropped; the object needs another pass.
            TemplateRefused: the wanted revision can never start as it is written.
            RouteRefused: the HTTPRoute cannot be as it is asked for.
            EvaluationRefused: nor can the evaluation's Job.
            NameTaken: somebody else's object is in the way.
            ObjectRefused: any other object cannot be written as it is, or not now.
        """
        for stage in stages(plan.actions):
            done = await asyncio.gather(*(self._act(key=key, action=one) for one in stage), return_exceptions=True)
            problems = [one for one in done if isinstance(one, BaseException)]
            # A refusal is told and gone around; what ends the pass for a better reason must not wait behind it.
            for problem in sorted(problems, key=lambda one: isinstance(one, ObjectRefused)):
                raise problem
        if plan.status and plan.status != snapshot.status:
            await self._write_status(snapshot=snapshot, plan=plan)
        for reason in plan.reasons:
            await self._tell(snapshot=snapshot, reason=reason)

    async def _act(self, *, key: Key, action: Action) -> None:
        kind, name = target(action)
        try:
            await self._attempt(key=key, action=action)
        except Refused as error:
            if kind == HTTP_ROUTE and not isinstance(action, Delete):
                raise RouteRefused(str(error)) from error
            if kind == "Job" and isinstance(action, Create):
                raise EvaluationRefused(str(error)) from error
            raise ObjectRefused(action=action, message=str(error)) from error
        except Gone:
            self._cache.forget(key, kind=kind, name=name)
            raise

    async def _attempt(self, *, key: Key, action: Action) -> None:
        try:
            await self._write(key=key, action=action)
        except Conflict:
            if isinstance(action, Create | DryRun) and (found := await self._find(action.manifest)):
                if is_anothers(found, wanted=action.manifest):
                    kind, name = target(action)
                    raise NameTaken(kind=kind, name=name) from None
                await self._relabel(found, wanted=action.manifest)
            raise

    async def _find(self, wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
        meta = wanted["metadata"]
        where = {"api_version": wanted["apiVersion"], "kind": wanted["kind"], "namespace": meta["namespace"]}
        try:
            return await self._kube.get(**where, name=meta["name"])
        except Gone:
            return None

    async def _relabel(self, found: Mapping[str, Any], *, wanted: Mapping[str, Any]) -> bool:
        """Put labels back that somebody took from an object of ours; tells whether any were missing."""
        body = repair(found, wanted=wanted)
        if body is None:
            return False
        api_version, kind, meta = wanted["apiVersion"], wanted["kind"], wanted["metadata"]
        where = {"api_version": api_version, "kind": kind, "namespace": meta["namespace"], "name": meta["name"]}
        answer = await self._kube.patch(**where, body=body, manager=names.METADATA_MANAGER)
        if repair(answer, wanted=wanted):
            raise Refused("its labels were put back and are gone again: some webhook takes them away")
        self._cache.observe(answer)
        log.info("metadata.repaired", kind=kind, name=meta["name"], labels=sorted(body["metadata"].get("labels", ())))
        return True

    async def _write(self, *, key: Key, action: Action) -> None:
        namespace = key[0]
        match action:
            case Create():
                self._cache.observe(await self._kube.create(action.manifest))
            case DryRun():
                await self._try(action)
            case Relabel():
                await self._take_back(action)
            case Apply():
                self._cache.observe(await self._kube.apply(action.manifest, resource_version=action.resource_version))
            case RestoreTemplate():
                await self._restore(namespace, action)
            case Select():
                await self._select(namespace, action)
            case Scale():
                await self._scale(namespace, action)
            case Rotate():
                await self._rotate(namespace, action)
            case Delete():
                await self._kube.delete(
                    api_version=action.api_version,
                    kind=action.kind,
                    namespace=namespace,
                    name=action.name,
                    uid=action.uid,
                )
                self._cache.forget(key, kind=action.kind, name=action.name)
            case _:
                assert_never(action)

    async def _take_back(self, action: Relabel) -> None:
        found = await self._find(action.manifest)
        if found and await self._relabel(found, wanted=action.manifest) and not action.seen:
            raise Conflict(f"{target(action)[1]} was out of sight: this plan was made without it")

    async def _try(self, action: DryRun) -> None:
        try:
            await self._kube.create(action.manifest, dry_run=True)
        except Refused as error:
            raise TemplateRefused(revision=action.revision, message=str(error)) from error

    async def _restore(self, namespace: str, action: RestoreTemplate) -> None:
        body = [
            _unchanged_since(action.resource_version),
            {"op": "replace", "path": "/spec/template", "value": dict(action.template)},
            # Whoever edited it no longer owns any of it; otherwise every later pass would see a foreign owner.
            {"op": "replace", "path": "/metadata/managedFields", "value": [{}]},
        ]
        self._cache.observe(
            await self._kube.patch(
                api_version="apps/v1",
                kind="Deployment",
                namespace=namespace,
                name=action.name,
                body=body,
                content_type=JSON_PATCH,
            )
        )

    async def _select(self, namespace: str, action: Select) -> None:
        body = [
            _unchanged_since(action.resource_version),
            {"op": "replace", "path": "/spec/selector", "value": dict(action.selector)},
        ]
        where: dict[str, Any] = {"api_version": "v1", "kind": "Service", "namespace": namespace}
        self._cache.observe(await self._kube.patch(**where, name=action.service, body=body, content_type=JSON_PATCH))

    async def _scale(self, namespace: str, action: Scale) -> None:
        body = {"metadata": {"resourceVersion": action.resource_version}, "spec": {"replicas": action.replicas}}
        where: dict[str, Any] = {"api_version": "apps/v1", "kind": "Deployment", "namespace": namespace}
        await self._kube.patch(**where, name=action.name, body=body, content_type=MERGE, sub="scale")
        # The answer is a Scale, not a Deployment; the next decision must see the new replicas, not the old.
        self._cache.observe(await self._kube.get(**where, name=action.name))

    async def _rotate(self, namespace: str, action: Rotate) -> None:
        body = {
            "metadata": {
                "resourceVersion": action.resource_version,
                "labels": {names.ROTATION: "in" if action.in_rotation else "out"},
                "annotations": {
                    names.DELETION_COST: None if action.in_rotation else VICTIM_COST,
                    names.OUT_SINCE: None if action.in_rotation else moment(action.at),
                },
            }
        }
        self._cache.observe(
            await self._kube.patch(api_version="v1", kind="Pod", namespace=namespace, name=action.pod, body=body)
        )

    async def _write_status(self, *, snapshot: Snapshot, plan: Plan) -> None:
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": snapshot.name, "namespace": snapshot.namespace},
            "status": dict(plan.status),
        }
        self._cache.observe(await self._kube.apply(manifest, resource_version=snapshot.resource_version, sub="status"))

    async def _tell(self, *, snapshot: Snapshot, reason: Reason) -> None:
        now = timestamp(snapshot.now)
        arrow = f"{reason.before} → {reason.after}: " if reason.before or reason.after else ""
        manifest = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{snapshot.name}.", "namespace": snapshot.namespace},
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": snapshot.name,
                "namespace": snapshot.namespace,
                "uid": snapshot.uid,
                "resourceVersion": snapshot.resource_version,
            },
            "type": "Warning" if reason.warning else "Normal",
            "reason": reason.reason,
            "message": (arrow + reason.message)[:1024],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
        }
        await self._kube.create(manifest)


def _unchanged_since(resource_version: str) -> dict[str, str]:
    """Fence a JSON patch. A `test` that fails is answered as a refusal (422), an old resourceVersion as a conflict."""
    return {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version}
