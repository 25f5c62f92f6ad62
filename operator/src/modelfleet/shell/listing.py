"""Whole listings beside the watches: before the first decision, and now and then against what a watch cannot show.

A watch that is opened again lists what exists and says nothing of what was deleted meanwhile. Must not decide or write.
"""

import asyncio
from collections.abc import Callable

import structlog

from modelfleet.adapters.errors import ApiProblem, Gone, Refused
from modelfleet.adapters.kube import Kube
from modelfleet.core import names
from modelfleet.shell.cache import Cache
from modelfleet.shell.handlers import OWNED
from modelfleet.shell.queue import Key, WorkQueue

log = structlog.get_logger(__name__)
REFRESH_SECONDS = 300.0
"""Bounds how long a deletion that no watch showed stays unseen; ten listings in that time are cheap."""
RETRY_SECONDS = 10.0
"""After a listing that failed: a time-out passes, and what was refused may be granted at any time."""


class Listing:
    """Lists every kind that decisions look at into the cache."""

    def __init__(self, *, kube: Kube, cache: Cache, namespaces: tuple[str, ...], read_nodes: bool) -> None:
        self._kube, self._cache = kube, cache
        self._namespaces = namespaces
        self._read_nodes = read_nodes

    async def keep(self, *, queue: WorkQueue, tell: Callable[[str], None]) -> None:
        """Refresh for ever, and queue those for whom something turned out to be gone; tell what is refused, or nothing."""
        pause = REFRESH_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = RETRY_SECONDS
            try:
                for key in await self.refresh():
                    queue.add(key)
            except ApiProblem as error:
                log.warning("listing.failed", error=str(error), retry_seconds=pause)
                if isinstance(error, Gone | Refused):
                    tell(f"not everything can be listed ({error}); install the CRD and the chart's RBAC")
            else:
                pause = REFRESH_SECONDS
                tell("")

    async def refresh(self) -> set[Key]:
        """Take in what exists and drop what does not; returns the LLMDeployments that this concerns.

        Raises:
            ApiProblem: a listing failed; what was not listed stays as it was.
        """
        lost = await self._take_in(api_version=names.API_VERSION, kind=names.KIND)
        for api_version, _, kind in OWNED:
            lost |= await self._take_in(api_version=api_version, kind=kind, selector=names.OWNED_SELECTOR)
        lost |= await self._take_in(api_version="v1", kind="ResourceQuota")
        if self._read_nodes:
            lost |= await self._take_in_nodes()
        return lost

    async def _take_in_nodes(self) -> set[Key]:
        before = dict(self._cache.nodes)
        for body in await self._kube.list(api_version="v1", kind="Node"):
            self._cache.observe(body)
            before.pop(body["metadata"]["name"], None)
        return self._cache.drop_nodes(before)

    async def _take_in(self, *, api_version: str, kind: str, selector: str = "") -> set[Key]:
        return await take_in(
            self._cache,
            kube=self._kube,
            namespaces=self._namespaces,
            api_version=api_version,
            kind=kind,
            selector=selector,
        )


async def take_in(
    cache: Cache, *, kube: Kube, namespaces: tuple[str, ...], api_version: str, kind: str, selector: str = ""
) -> set[Key]:
    """Take in what exists of a kind and drop what does not; returns the LLMDeployments that lost something.

    Raises:
        ApiProblem: a listing failed; nothing is dropped.
    """
    before = cache.known(kind=kind)
    listed: set[str] = set()
    for namespace in namespaces:
        for body in await kube.list(api_version=api_version, kind=kind, namespace=namespace, selector=selector):
            listed.add(body["metadata"]["uid"])
            cache.observe(body)
    return cache.drop(kind=kind, known=before - listed)
