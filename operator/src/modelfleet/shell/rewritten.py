"""Which templates differ from what was stored by Kubernetes' own hand alone: a default, a zero value left out, a unit.

Only the API server knows how it writes a template down, and with it whatever webhook changes Deployments. So it is asked,
by a dry run that would put the stored template back, and only where the two differ at all. Must not write or decide.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelfleet.adapters.errors import Gone, Refused
from modelfleet.adapters.kube import JSON_PATCH, Kube
from modelfleet.core.upkeep import looks_edited
from modelfleet.core.world import StoredRevision, Workload
from modelfleet.shell.cache import Cache
from modelfleet.shell.queue import Key


class Rewritten:
    """The live templates that turned out to be the stored ones, by LLMDeployment and UID of the Deployment."""

    def __init__(self, *, kube: Kube, cache: Cache) -> None:
        self._kube, self._cache = kube, cache
        self._known: dict[Key, dict[str, Mapping[str, Any]]] = defaultdict(dict)

    async def ask(self, key: Key, *, uid: str) -> None:
        """Find out about templates that look edited; the same live template is asked about once.

        Raises:
            ApiProblem: the API server did not say.
        """
        stored = {s.revision: s for s in self._cache.records(key, kind="ControllerRevision", uid=uid)}
        for workload in list(self._cache.records(key, kind="Deployment", uid=uid)):
            known = stored.get(workload.revision)
            if known is None or self._is_known(key, workload) or not looks_edited(workload, stored=known):
                continue
            if await self._as_written(key, workload, stored=known) == workload.template:
                self._known[key][workload.uid] = workload.template

    def marked(self, key: Key, workload: Workload) -> Workload:
        """Say of a workload whether its template is known to be the stored one."""
        return replace(workload, rewritten=True) if self._is_known(key, workload) else workload

    def forget(self, key: Key) -> None:
        """Drop an LLMDeployment that is gone."""
        self._known.pop(key, None)

    def _is_known(self, key: Key, workload: Workload) -> bool:
        return self._known.get(key, {}).get(workload.uid) == workload.template

    async def _as_written(self, key: Key, workload: Workload, *, stored: StoredRevision) -> Mapping[str, Any] | None:
        try:
            answer = await self._kube.patch(
                api_version="apps/v1",
                kind="Deployment",
                namespace=key[0],
                name=workload.name,
                body=[{"op": "replace", "path": "/spec/template", "value": dict(stored.template)}],
                content_type=JSON_PATCH,
                dry_run=True,
            )
        except (Gone, Refused):
            return None  # putting it back meets the same, and tells it
        template: Mapping[str, Any] = answer["spec"]["template"]
        return template
