"""The Kubernetes API over `kubernetes.aio`: plain dicts in and out, one table of kinds, one place for errors.

Every write passes the `guard` first (is the Lease still held?). Must not know what is written or why.
"""

import asyncio
import json
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from kubernetes.aio import client as kclient
from kubernetes.aio import config as kconfig
from kubernetes.aio.dynamic import DynamicClient
from prometheus_client import Counter

from modelfleet.adapters.errors import Conflict, Gone, Refused, Transient
from modelfleet.core.names import API_VERSION, FIELD_MANAGER, KIND, PLURAL

PLURALS = {
    ("v1", "Pod"): "pods",
    ("v1", "Node"): "nodes",
    ("v1", "Service"): "services",
    ("v1", "Event"): "events",
    ("v1", "Secret"): "secrets",
    ("v1", "ResourceQuota"): "resourcequotas",
    ("apps/v1", "Deployment"): "deployments",
    ("apps/v1", "ReplicaSet"): "replicasets",
    ("apps/v1", "ControllerRevision"): "controllerrevisions",
    ("batch/v1", "Job"): "jobs",
    ("batch/v1", "CronJob"): "cronjobs",
    ("policy/v1", "PodDisruptionBudget"): "poddisruptionbudgets",
    ("networking.k8s.io/v1", "NetworkPolicy"): "networkpolicies",
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): "httproutes",
    ("coordination.k8s.io/v1", "Lease"): "leases",
    (API_VERSION, KIND): PLURAL,
}
REQUEST_SECONDS = 15.0
PAGE = 500
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"

CALLS = Counter("modelfleet_api_calls_total", "Requests to the Kubernetes API.", ["verb", "kind", "code"])


async def connect() -> kclient.ApiClient:
    """Make a client from the pod's service account, or from the kubeconfig.

    Raises:
        kubernetes.aio.config.ConfigException: neither is there.
    """
    configuration = kclient.Configuration()
    try:
        kconfig.load_incluster_config(client_configuration=configuration)
    except kconfig.ConfigException:
        await kconfig.load_kube_config(client_configuration=configuration)
    configuration.connection_pool_maxsize = 32
    # Without a proxy there is nothing to take from the environment; looking costs a thread's turn per request.
    configuration.client_session_kwargs = {"trust_env": bool(urllib.request.getproxies())}
    return kclient.ApiClient(configuration)


class Kube:
    """Requests by kind and name.

    Attributes:
        guard: called before every write; raises NotLeader when this process may not write.
    """

    def __init__(self, *, api: kclient.ApiClient, guard: Callable[[], None] | None = None) -> None:
        self._dynamic = DynamicClient(api)  # never awaited: the table above stands for discovery
        self.guard = guard or (lambda: None)

    def path(self, *, api_version: str, kind: str, namespace: str = "", name: str = "", sub: str = "") -> str:
        """Build the URL path of a kind, an object or its subresource."""
        root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        parts = [root]
        if namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(PLURALS[(api_version, kind)])
        parts += [part for part in (name, sub) if part]
        return "/".join(parts)

    async def get(self, *, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """Read one object."""
        path = self.path(api_version=api_version, kind=kind, namespace=namespace, name=name)
        return await self._request("get", path, kind=kind)

    async def list(
        self, *, api_version: str, kind: str, namespace: str = "", selector: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        """Read all objects of a kind, page by page; `apiVersion` and `kind` are filled in."""
        path = self.path(api_version=api_version, kind=kind, namespace=namespace)
        found: list[dict[str, Any]] = []
        token = None
        while True:
            more = {"limit": PAGE, "_continue": token, "label_selector": selector or None}
            page = await self._request("get", path, kind=kind, verb="list", field_selector=fields or None, **more)
            found += [{"apiVersion": api_version, "kind": kind, **item} for item in page.get("items") or ()]
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found

    async def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """POST a new object; a dry run also refuses a field that the API does not know, which else is dropped."""
        path = self._path_of(manifest, name=False)
        query = [("dryRun", "All"), ("fieldValidation", "Strict")] if dry_run else []
        return await self._write("post", path, kind=manifest["kind"], body=manifest, query_params=query)

    async def apply(self, manifest: Mapping[str, Any], *, resource_version: str, sub: str = "") -> dict[str, Any]:
        """Server-side apply over the object seen at `resource_version`; 409 when it is not that any more."""
        body = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": resource_version}}
        path = self._path_of(manifest, name=True, sub=sub)
        return await self._write(
            "patch", path, kind=manifest["kind"], body=body, content_type=APPLY, force_conflicts=True
        )

    async def patch(  # noqa: D417 - the identity arguments speak for themselves
        self,
        *,
        api_version: str,
        kind: str,
        namespace: str,
        name: str,
        body: Any,
        content_type: str = MERGE,
        sub: str = "",
        manager: str = FIELD_MANAGER,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Patch one object or its subresource.

        Args:
            body: a merge patch, or a list of JSON patch operations with `content_type=JSON_PATCH`.
            dry_run: answer what would come of it, and change nothing.
        """
        query = [("dryRun", "All")] if dry_run else []
        path = self.path(api_version=api_version, kind=kind, namespace=namespace, name=name, sub=sub)
        return await self._write(
            "patch",
            path,
            kind=kind,
            body=body,
            content_type=content_type,
            field_manager=manager,
            query_params=query,
        )

    async def delete(self, *, api_version: str, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete exactly the object with this UID."""
        path = self.path(api_version=api_version, kind=kind, namespace=namespace, name=name)
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        await self._write("delete", path, kind=kind, body=body)

    def _path_of(self, manifest: Mapping[str, Any], *, name: bool, sub: str = "") -> str:
        meta = manifest["metadata"]
        return self.path(
            api_version=manifest["apiVersion"],
            kind=manifest["kind"],
            namespace=meta.get("namespace", ""),
            name=meta["name"] if name else "",
            sub=sub,
        )

    async def _write(self, method: str, path: str, *, kind: str, body: Any, **params: Any) -> dict[str, Any]:
        self.guard()
        params.setdefault("field_manager", FIELD_MANAGER)
        return await self._request(method, path, kind=kind, body=body, **params)

    async def _request(
        self, method: str, path: str, *, kind: str, verb: str = "", body: Any = None, **params: Any
    ) -> dict[str, Any]:
        verb = verb or {"post": "create"}.get(method, method)
        # The client appends to what it is given as defaults: each call brings its own.
        params = {"query_params": [], "header_params": {}, **params}
        try:
            response = await self._dynamic.request(
                method,
                path,
                body=body,
                serialize=False,
                _request_timeout=REQUEST_SECONDS,
                **params,
            )
            answer: dict[str, Any] = await response.json()
        except kclient.ApiException as error:
            CALLS.labels(verb, kind, str(error.status)).inc()
            raise _problem(error) from error
        except (TimeoutError, aiohttp.ClientError, asyncio.IncompleteReadError, ssl.SSLError, OSError) as error:
            CALLS.labels(verb, kind, "none").inc()
            raise Transient(f"{method} {path}: {error!r}") from error
        CALLS.labels(verb, kind, str(response.status)).inc()
        return answer


def _problem(error: kclient.ApiException) -> Exception:
    message = _message(error)
    if error.status == 409:  # noqa: PLR2004 - an HTTP status is its own name
        return Conflict(message)
    if error.status in {404, 410}:
        return Gone(message)
    if error.status in {400, 401, 403, 405, 413, 415, 422}:
        return Refused(message)
    retry = (error.headers or {}).get("Retry-After", "")
    return Transient(message, retry_after=float(retry) if str(retry).isdigit() else None)


def _message(error: kclient.ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return f"{error.status} {error.reason}"
