"""What the CLI asks of a cluster, with the person's own kubeconfig: read, follow, and write one annotation.

Sits in the CLI; of the operator's adapters it takes only how a watch is cut into events. It must not write anything but
that annotation.
Errors become `CannotRead`, whose text says what to do next.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import aiohttp
from kubernetes import aio
from kubernetes.aio.dynamic import DynamicClient

from modelfleet.adapters.watch import events
from modelfleet.core import names

RESOURCE: Final = f"{names.PLURAL}.{names.GROUP}"
TIMEOUT_SECONDS: Final = 10
WATCH_SECONDS: Final = 290
"""How long one watch is held open; a longer one is cut by proxies without a word."""
RECONNECTS: Final = 5
"""In a row, each after twice the pause of the one before: half a minute without an answer."""
FIRST_PAUSE: Final = 1.0
FIELD_MANAGER: Final = "modelfleet-cli"
NOT_FOUND: Final = 404
FORBIDDEN: Final = (401, 403)
TOO_MANY: Final = 429
SERVER_ERROR: Final = 500
LOST: Final = (aiohttp.ClientError, asyncio.IncompleteReadError, TimeoutError, OSError)


class CannotRead(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """The cluster did not do what was asked; the text says why and what to do."""


class NoCluster(CannotRead):
    """The cluster does not answer: worth another try."""


class Cluster:
    """One namespace of a cluster.

    Attributes:
        namespace: Where everything is looked for.
    """

    def __init__(self, *, client: aio.client.ApiClient, namespace: str) -> None:
        self.namespace = namespace
        self._dynamic = DynamicClient(client)

    async def read(self, name: str) -> dict[str, Any]:
        """Read an LLMDeployment."""
        return await self._json("get", self._path(name), asked=f"get {RESOURCE}", name=name)

    async def annotate(self, name: str, *, key: str, value: str) -> None:
        """Write one annotation of an LLMDeployment, and nothing else."""
        body = {"metadata": {"annotations": {key: value}}}
        await self._json(
            "patch",
            self._path(name),
            asked=f"patch {RESOURCE}",
            name=name,
            body=body,
            content_type="application/merge-patch+json",
            field_manager=FIELD_MANAGER,
        )

    async def revisions(self, name: str) -> list[dict[str, Any]]:
        """List the ControllerRevisions of an LLMDeployment."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/controllerrevisions"
        selector = f"{names.MANAGED_BY}={names.MANAGED_BY_VALUE},{names.OWNER}={name}"
        answer = await self._json(
            "get", path, asked="list controllerrevisions.apps", name=name, label_selector=selector
        )
        return list(answer["items"])

    async def follow(self, name: str) -> AsyncGenerator[dict[str, Any]]:
        """Yield an LLMDeployment as it is, and again whenever it changes, for ever. Close it when you have seen enough.

        Raises:
            CannotRead: It is gone, may not be watched, or the cluster was away for too long.
        """
        lost, known = 0, False
        while True:
            try:
                seen = await self.read(name)
                lost, known = 0, True
                yield seen
                async with aclosing(self._changes(name, version=seen["metadata"]["resourceVersion"])) as changes:
                    async for seen in changes:
                        yield seen
            except NoCluster:
                lost += 1
                if not known or lost > RECONNECTS:
                    raise
            await asyncio.sleep(FIRST_PAUSE * 2 ** max(0, lost - 1))

    async def _changes(self, name: str, *, version: str) -> AsyncGenerator[dict[str, Any]]:
        """Read one watch to its end."""
        answer = await self._request(
            "get",
            self._path(),
            asked=f"watch {RESOURCE}",
            name=name,
            watch="true",
            field_selector=f"metadata.name={name}",
            resource_version=version,
            timeout_seconds=WATCH_SECONDS,
            _request_timeout=WATCH_SECONDS + TIMEOUT_SECONDS,
        )
        try:
            async for event in events(answer):
                if event["type"] == "ERROR":  # too much happened meanwhile: it is read anew
                    return
                if event["type"] == "DELETED":
                    raise CannotRead(f"{name} in {self.namespace} was deleted.")
                yield event["object"]
        except LOST as error:
            raise _away(error) from error
        finally:
            answer.close()

    async def _json(self, method: str, path: str, *, asked: str, name: str, **more: Any) -> dict[str, Any]:
        answer = await self._request(method, path, asked=asked, name=name, _request_timeout=TIMEOUT_SECONDS, **more)
        return dict(await answer.json())

    async def _request(self, method: str, path: str, *, asked: str, name: str, **more: Any) -> Any:
        try:
            # The client appends to the lists it is given as defaults: each call brings its own.
            return await self._dynamic.request(method, path, serialize=False, query_params=[], header_params={}, **more)
        except aio.client.ApiException as error:
            raise refusal(
                status=int(error.status or 0), said=_said(error), asked=asked, name=name, namespace=self.namespace
            ) from error
        except LOST as error:
            raise _away(error) from error

    def _path(self, name: str = "") -> str:
        root = f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/{names.PLURAL}"
        return f"{root}/{name}" if name else root


@asynccontextmanager
async def connect(*, namespace: str | None, context: str | None) -> AsyncIterator[Cluster]:
    """Open a cluster.

    Args:
        namespace: Where to look; None means the kubeconfig context's own.
        context: The kubeconfig context; None means the current one.

    Raises:
        CannotRead: There is no kubeconfig that can be used.
    """
    try:
        where = namespace or _namespace_of(context)
        client = await aio.config.new_client_from_config(context=context)
    except Exception as error:
        raise CannotRead(f"No usable kubeconfig: {error}. Set KUBECONFIG, or check --context.") from error
    async with client:
        yield Cluster(client=client, namespace=where)


def read(*, name: str, namespace: str | None, context: str | None) -> dict[str, Any]:
    """Read one LLMDeployment, and close the cluster again.

    Raises:
        CannotRead: There is no such object, no such API, no right to read it, or no cluster.
    """

    async def one() -> dict[str, Any]:
        async with connect(namespace=namespace, context=context) as cluster:
            return await cluster.read(name)

    return asyncio.run(one())


def _namespace_of(context: str | None) -> str:
    contexts, active = aio.config.list_kube_config_contexts()
    chosen = next((c for c in contexts if c["name"] == context), active) if context else active
    return str(chosen["context"].get("namespace") or "default")


def refusal(*, status: int, said: str, asked: str, name: str, namespace: str) -> CannotRead:
    """Word what the API server's answer means for a person.

    >>> print(refusal(status=403, said="no", asked="patch llmdeployments", name="chat", namespace="team-a"))
    You may not patch llmdeployments in team-a: ask for that right. The API server says: no
    """
    if status == NOT_FOUND:
        return CannotRead(
            f"No LLMDeployment {name} in {namespace}. `kubectl get llmdep -A` lists all; "
            "if it knows no such resource, install the chart first."
        )
    more = f" The API server says: {said}" if said else ""
    if status in FORBIDDEN:
        return CannotRead(f"You may not {asked} in {namespace}: ask for that right.{more}")
    kind = NoCluster if status == TOO_MANY or status >= SERVER_ERROR else CannotRead
    return kind(f"The API server answered {status} for {name} in {namespace}; try again, then look at its log.{more}")


def _away(error: BaseException) -> NoCluster:
    why = str(error) or type(error).__name__
    return NoCluster(f"The cluster does not answer: {why}. Check it with `kubectl version`.")


def _said(error: aio.client.ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return ""
