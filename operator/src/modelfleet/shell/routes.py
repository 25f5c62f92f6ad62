"""HTTPRoutes, which not every cluster has: whether they can be read, the watch while they can, and whose a name is.

Looked for at start and every few minutes, for kopf finds a kind at its start or never. Must not write or decide.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from kubernetes.aio import client as kclient

from modelfleet.adapters.errors import ApiProblem, Gone, Refused
from modelfleet.adapters.kube import Kube
from modelfleet.adapters.watch import Kind, Watcher
from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core import names, observe
from modelfleet.core.render.objects import HTTP_ROUTE, HTTP_ROUTE_API
from modelfleet.core.world import OwnedObject, RouteObstacle
from modelfleet.shell.cache import Cache
from modelfleet.shell.listing import take_in
from modelfleet.shell.queue import Key, WorkQueue

log = structlog.get_logger(__name__)
REFUSAL_SECONDS = 300.0
"""After that a refused route is tried again: what refused it may have changed."""


class Routes:
    """The Gateway API as this cluster serves it.

    Attributes:
        missing: Why HTTPRoutes cannot be read, in the API server's words; empty when they can.
    """

    def __init__(
        self,
        *,
        api: kclient.ApiClient,
        kube: Kube,
        cache: Cache,
        namespaces: tuple[str, ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api, self._kube, self._cache, self._namespaces = api, kube, cache, namespaces
        self._clock = clock
        self._refused: dict[Key, tuple[int, float, str]] = {}
        self.missing = ""

    async def look(self) -> set[Key]:
        """Find out whether HTTPRoutes can be read, and take in those of ours; returns the LLMDeployments that lost theirs.

        Raises:
            ApiProblem: the API server did not say either.
        """
        try:
            lost = await take_in(
                self._cache,
                kube=self._kube,
                namespaces=self._namespaces,
                api_version=HTTP_ROUTE_API,
                kind=HTTP_ROUTE,
                selector=names.OWNED_SELECTOR,
            )
        except (Gone, Refused) as error:
            self.missing = str(error)
            return self._cache.drop(kind=HTTP_ROUTE, known=self._cache.known(kind=HTTP_ROUTE))
        self.missing = ""
        return lost

    async def keep(self, *, queue: WorkQueue, seconds: float) -> None:
        """Watch while there is something to watch, and look every so many seconds whether there is."""
        while True:
            before = self.missing
            watching = [] if before else [asyncio.create_task(w.follow()) for w in self._watchers(queue)]
            try:
                while self.missing == before:
                    await asyncio.sleep(seconds)
                    for key in await self._look_again():
                        queue.add(key)
            finally:
                for task in watching:
                    task.cancel()
                await asyncio.gather(*watching, return_exceptions=True)
            log.info("gateway_api.missing" if self.missing else "gateway_api.found", message=self.missing)
            for key in self._concerned():
                queue.add(key)

    async def _look_again(self) -> set[Key]:
        try:
            return await self.look()
        except ApiProblem as error:
            log.warning("gateway_api.unknown", error=str(error))
            return set()

    def _watchers(self, queue: WorkQueue) -> list[Watcher]:
        def see(body: Mapping[str, Any], deleted: bool) -> None:  # noqa: FBT001 - an event's own two words
            # Of what went during a gap, no version is known.
            key = self._cache.observe(
                {**body, "metadata": {"resourceVersion": "0", **body["metadata"]}}, deleted=deleted
            )
            if key is not None:
                queue.add(key)

        kinds = [
            Kind(api_version=HTTP_ROUTE_API, kind=HTTP_ROUTE, namespace=namespace, selector=names.OWNED_SELECTOR)
            for namespace in self._namespaces
        ]
        return [Watcher(api=self._api, kind=kind, observe=see) for kind in kinds]

    def _concerned(self) -> list[Key]:
        return [
            key
            for key, body in self._cache.fleet.items()
            if ((body.get("spec") or {}).get("routing") or {}).get("provider") == "GatewayAPI"
        ]

    async def find(
        self, key: Key, *, body: Mapping[str, Any], spec: LLMDeploymentSpec | None
    ) -> OwnedObject | RouteObstacle | None:
        """Find an LLMDeployment's route, or what keeps it from being written; None when it is to be made, or not wanted.

        Raises:
            ApiProblem: the API server did not say.
        """
        if spec is None or spec.routing.provider != "GatewayAPI":
            return None
        if self.missing:
            return RouteObstacle(reason="GatewayAPIMissing", message=self.missing)
        uid = body["metadata"]["uid"]
        known = next(self._cache.records(key, kind=HTTP_ROUTE, uid=uid), None) or await self._by_name(key, uid=uid)
        if isinstance(known, RouteObstacle):
            return known
        when = self._refused.get(key)
        if (
            when is not None
            and when[0] == body["metadata"].get("generation", 1)
            and self._clock() - when[1] < REFUSAL_SECONDS
        ):
            return RouteObstacle(reason="RouteRefused", message=when[2])
        return known

    async def _by_name(self, key: Key, *, uid: str) -> OwnedObject | RouteObstacle | None:
        try:
            body = await self._kube.get(api_version=HTTP_ROUTE_API, kind=HTTP_ROUTE, namespace=key[0], name=key[1])
        except Gone:
            return None
        owners = body["metadata"].get("ownerReferences") or ()
        if any(owner["uid"] == uid for owner in owners):
            return observe.owned_object({**body, "kind": HTTP_ROUTE})  # its labels are gone: the watch lost it
        who = next((f"{owner['kind']} {owner['name']}" for owner in owners), "someone else")
        return RouteObstacle(reason="RouteNotOurs", message=who)

    def refused(self, key: Key, *, generation: int, message: str) -> None:
        """Note that the API server refused the route that this generation asks for."""
        self._refused[key] = (generation, self._clock(), message)

    def forget(self, key: Key) -> None:
        """Drop what is known of an LLMDeployment that is gone."""
        self._refused.pop(key, None)
