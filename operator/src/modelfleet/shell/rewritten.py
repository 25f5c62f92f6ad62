"""Which templates differ from what was stored by Kubernetes' own hand alone: a default, a zero value left out, a webhook.

Only the API server knows how it writes a template down, and with it whatever webhook changes Deployments. So it is asked,
by a dry run that would put the stored template back, and only where the two differ at all. Must not write or decide.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from modelfleet.adapters.errors import Gone, Refused, Transient
from modelfleet.adapters.kube import JSON_PATCH, Kube
from modelfleet.core.drift import edited
from modelfleet.core.upkeep import looks_edited
from modelfleet.core.world import StoredRevision, Workload
from modelfleet.shell.cache import Cache
from modelfleet.shell.queue import Key

UNKNOWN_SECONDS = 30.0
"""After that a server that did not say is asked again; until then nothing counts as edited."""


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    about: Mapping[str, Any]
    edited: bool = False
    until: float = math.inf


class Rewritten:
    """What is known of live templates that differ from the stored ones, by LLMDeployment and UID of the Deployment."""

    def __init__(self, *, kube: Kube, cache: Cache, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube, self._cache, self._clock = kube, cache, clock
        self._known: dict[Key, dict[str, _Verdict]] = {}

    async def ask(self, key: Key, *, uid: str) -> float | None:
        """Find out about templates that look edited, once for each; returns in how many seconds to ask again, if at all."""
        stored = {s.revision: s for s in self._cache.records(key, kind="ControllerRevision", uid=uid)}
        known = self._known.pop(key, {})
        for workload in list(self._cache.records(key, kind="Deployment", uid=uid)):
            original = stored.get(workload.revision)
            if original is None or not looks_edited(workload, stored=original):
                continue
            verdict = known.get(workload.uid)
            if verdict is None or verdict.about != workload.template or self._clock() >= verdict.until:
                verdict = await self._ask(key, workload, stored=original)
            self._known.setdefault(key, {})[workload.uid] = verdict
        unknown = any(verdict.until < math.inf for verdict in self._known.get(key, {}).values())
        return UNKNOWN_SECONDS if unknown else None

    def marked(self, key: Key, workload: Workload) -> Workload:
        """Say of a workload whether nobody is known to have edited its template."""
        verdict = self._known.get(key, {}).get(workload.uid)
        unedited = verdict is not None and verdict.about == workload.template and not verdict.edited
        return replace(workload, rewritten=True) if unedited else workload

    def forget(self, key: Key) -> None:
        """Drop an LLMDeployment that is gone."""
        self._known.pop(key, None)

    async def _ask(self, key: Key, workload: Workload, *, stored: StoredRevision) -> _Verdict:
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
        except (Gone, Refused, Transient):
            # A template that cannot be put back now is left as it is: what serves and what scales must not wait for it.
            return _Verdict(about=workload.template, until=self._clock() + UNKNOWN_SECONDS)
        again = answer["spec"]["template"]
        return _Verdict(about=workload.template, edited=edited(stored.template, workload.template, again=again))
