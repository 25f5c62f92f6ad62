"""List, then watch: every change of one kind of object, and every deletion, also those during a gap.

Beside kopf's watches because the gateway reads Secrets of one namespace and everything else of all, wants no batching
delay, and must learn at once from a new listing what has gone. Must not know what the objects are for.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import structlog
from kubernetes.aio import client as kclient
from kubernetes.aio.dynamic import DynamicClient
from prometheus_client import Counter

from modelfleet.adapters.kube import PAGE, REQUEST_SECONDS, Kube

log = structlog.get_logger(__name__)

WATCH_SECONDS = 290
"""How long the API server holds one watch open; a longer one is cut by proxies without a word."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
EXPIRED = 410
METADATA_ONLY = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v1,application/json"

RELISTS = Counter("modelfleet_watch_listings_total", "Whole listings, at start and after a gap.", ["kind"])


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is watched."""

    api_version: str
    kind: str
    namespace: str = ""
    selector: str = ""
    fields: str = ""
    metadata_only: bool = False


class _Gap(Exception):  # noqa: N818 - it is no error: the watch cannot go on from where it was
    """The API server no longer knows what happened since; a new listing does."""


class Watcher:
    """Follows one kind for ever."""

    def __init__(
        self, *, api: kclient.ApiClient, kind: Kind, observe: Callable[[Mapping[str, Any], bool], None]
    ) -> None:
        self.what = f"{kind.kind} in {kind.namespace or 'all namespaces'}"
        self.synced = asyncio.Event()
        self._dynamic = DynamicClient(api)
        self._path = Kube(api=api).path(api_version=kind.api_version, kind=kind.kind, namespace=kind.namespace)
        self._kind = kind
        self._observe = observe
        self._known: dict[str, dict[str, Any]] = {}
        """UID → enough of the object to tell of its deletion."""

    async def follow(self) -> None:
        """List and watch until cancelled; what fails is tried again."""
        pause = FIRST_PAUSE
        while True:
            try:
                version = await self._list()
                pause = FIRST_PAUSE
                self.synced.set()
                while True:
                    version = await self._watch(version)
            except _Gap:
                log.info("watch.gap", kind=self._kind.kind)
            except (
                kclient.ApiException,
                TimeoutError,
                aiohttp.ClientError,
                asyncio.IncompleteReadError,
                OSError,
                ValueError,
            ) as error:
                log.warning("watch.failed", kind=self._kind.kind, error=str(error)[:500], retry_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _list(self) -> str:
        RELISTS.labels(self._kind.kind).inc()
        listed: set[str] = set()
        token: str | None = None
        while True:
            response = await self._request(limit=PAGE, _continue=token, seconds=REQUEST_SECONDS)
            page = await response.json()
            for body in page.get("items") or ():
                listed.add(body["metadata"]["uid"])
                self._take("ADDED", body)
            meta = page.get("metadata") or {}
            token = meta.get("continue")
            if not token:
                break
        for uid in self._known.keys() - listed:
            self._take("DELETED", self._known[uid])
        return str(meta["resourceVersion"])

    async def _watch(self, version: str) -> str:
        """Read one watch to its end; returns from where the next goes on."""
        bookmarks = [("allowWatchBookmarks", "true")]
        response = await self._request(
            watch="true",
            resource_version=version,
            timeout_seconds=WATCH_SECONDS,
            query_params=bookmarks,
            seconds=WATCH_SECONDS + REQUEST_SECONDS,
        )
        try:
            async for event in events(response):
                if event["type"] == "ERROR":
                    raise _Gap
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._take(event["type"], event["object"])
        finally:
            response.close()
        return version

    def _take(self, change: str, body: dict[str, Any]) -> None:
        full = {**body, "apiVersion": self._kind.api_version, "kind": self._kind.kind}
        meta = body["metadata"]
        if change == "DELETED":
            self._known.pop(meta["uid"], None)
        else:
            kept = {key: meta.get(key) for key in ("uid", "name", "namespace", "labels")}
            self._known[meta["uid"]] = {"metadata": kept}
        self._observe(full, change == "DELETED")

    async def _request(
        self, *, seconds: float, query_params: list[tuple[str, str]] | None = None, **params: Any
    ) -> Any:
        suffix = "" if params.get("watch") else "List"
        accept = METADATA_ONLY.format(suffix) if self._kind.metadata_only else "application/json"
        try:
            # The client appends to the lists it is given as defaults: each call brings its own.
            return await self._dynamic.request(
                "get",
                self._path,
                serialize=False,
                label_selector=self._kind.selector or None,
                field_selector=self._kind.fields or None,
                query_params=query_params or [],
                header_params={"Accept": accept},
                _request_timeout=seconds,
                **params,
            )
        except kclient.ApiException as error:
            if error.status == EXPIRED:
                raise _Gap from error
            raise


async def events(response: Any) -> AsyncIterator[dict[str, Any]]:
    """Split the body into its lines; an object may be longer than any line limit of a reader."""
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield json.loads(line)
