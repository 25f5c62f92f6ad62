"""kopf's part: watch, take into the cache, name what may need work. Nothing else, and nothing is written.

Only `on.event` handlers: they put no annotations or finalizers on anybody's objects.
"""

from typing import Any

import kopf

from modelfleet.core import names
from modelfleet.shell.cache import Cache
from modelfleet.shell.queue import WorkQueue

OWNED = (
    ("v1", "pods", "Pod"),
    ("v1", "services", "Service"),
    ("apps/v1", "deployments", "Deployment"),
    ("apps/v1", "controllerrevisions", "ControllerRevision"),
    ("batch/v1", "jobs", "Job"),
    ("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy"),
)


class _NoDiffs(kopf.DiffBaseStorage):
    """Nothing is compared with what was handled last: only its copy of every object is saved, a third of the CPU."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return


def make_registry(*, cache: Cache, queue: WorkQueue, read_nodes: bool) -> kopf.OperatorRegistry:
    """Register the watches."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**more: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**more) or kopf.login_with_kubeconfig(**more)

    @kopf.on.startup(registry=registry)
    def configure(settings: kopf.OperatorSettings, **_: object) -> None:
        settings.scanning.disabled = True
        settings.posting.enabled = False
        settings.persistence.diffbase_storage = _NoDiffs()
        settings.watching.chunk_size = 500
        settings.watching.server_timeout = 300
        for group, plural, _kind in OWNED:
            resource = plural if "/" not in group else f"{plural}.{group.split('/')[0]}"
            settings.watching.label_selectors[resource] = names.OWNED_SELECTOR

    def follow(*where: str, kind: str, api_version: str) -> None:
        @kopf.on.event(*where, registry=registry, id=f"see-{kind.lower()}")
        async def see(type: str | None, body: kopf.Body, **_: object) -> None:  # noqa: A002 - kopf's name
            _take_in({**body, "apiVersion": api_version, "kind": kind}, type == "DELETED", cache=cache, queue=queue)

    follow(names.GROUP, names.VERSION, names.PLURAL, kind=names.KIND, api_version=names.API_VERSION)
    for api_version, plural, kind in OWNED:
        follow(*(*api_version.split("/"), plural), kind=kind, api_version=api_version)
    follow("v1", "resourcequotas", kind="ResourceQuota", api_version="v1")
    if read_nodes:
        follow("v1", "nodes", kind="Node", api_version="v1")
    return registry


def _take_in(body: dict[str, Any], deleted: bool, *, cache: Cache, queue: WorkQueue) -> None:  # noqa: FBT001 - an event's own two words
    """Observe one event and queue whom it concerns: also those who want, or wanted, the same served name."""
    if body["kind"] == "Node":
        before = cache.nodes.get(body["metadata"]["name"])
        cache.observe(body, deleted=deleted)
        if cache.nodes.get(body["metadata"]["name"]) != before:
            _wake(cache=cache, queue=queue)
        return
    if body["kind"] == "ResourceQuota":
        namespace = body["metadata"]["namespace"]
        had = dict(cache.quotas.get(namespace, {}))
        cache.observe(body, deleted=deleted)
        if cache.quotas.get(namespace, {}) != had:
            _wake(cache=cache, queue=queue, namespace=namespace)
        return
    if body["kind"] != names.KIND:
        key = cache.observe(body, deleted=deleted)
        if key is not None:
            queue.add(key)
        if deleted and body["kind"] == "Pod":
            _wake(cache=cache, queue=queue)
        return
    mine = (body["metadata"]["namespace"], body["metadata"]["name"])
    concerned = {mine} | cache.same_name(mine)
    cache.observe(body, deleted=deleted)
    for key in concerned | cache.same_name(mine):
        queue.add(key)


def _wake(*, cache: Cache, queue: WorkQueue, namespace: str = "") -> None:
    """Let everyone who waits for a device look again, or everyone of a namespace: one may be free now."""
    for key in cache.waiting:
        if namespace in ("", key[0]):
            queue.add(key)
