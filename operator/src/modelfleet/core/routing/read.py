"""From Kubernetes' JSON to the route model.

Tolerant of what is absent or odd: one LLMDeployment, pod or Secret that cannot be read must not stop the others, and
nothing that Envoy would refuse may reach the one table that all share. Must not fetch or render.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any

from modelfleet.core import names
from modelfleet.core.routing.model import ApiKey, Endpoint, Mirror, Revision, Served, Stickiness
from modelfleet.core.routing.resolve import adapter_names

Json = Mapping[str, Any]

ENGINE_PORT = 8000
SERVED_NAME = re.compile(r"[A-Za-z0-9._/:-]{1,253}")
TENANT = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
KEY = re.compile(r"[\x21-\x7e]{1,4096}")


def endpoint(pod: Json) -> Endpoint | None:
    """Read a pod's address, if it takes requests: ready, in rotation, not on its way out.

    >>> ready = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    >>> endpoint({"metadata": {"labels": {"modelfleet.dev/rotation": "in"}}, "status": ready})
    Endpoint(address='10.0.0.1', port=8000)
    >>> endpoint({"metadata": {"labels": {"modelfleet.dev/rotation": "out"}}, "status": ready})
    """
    meta, status = pod["metadata"], pod.get("status") or {}
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())
    in_rotation = (meta.get("labels") or {}).get(names.ROTATION) == "in"
    address = status.get("podIP")
    if not (ready and in_rotation and address) or "deletionTimestamp" in meta:
        return None
    return Endpoint(address=str(address), port=ENGINE_PORT)


def routed(body: Json) -> bool:
    """Whether the gateway serves this LLMDeployment at all: another provider may be chosen for it."""
    return str(_routing(body).get("provider", "Gateway")) == "Gateway"


def served(body: Json, *, pods: Iterable[Json]) -> Served:
    """Read an LLMDeployment; `pods` are its own, by owner and not by label."""
    meta, spec = body["metadata"], body.get("spec") or {}
    claimed = (spec.get("model") or {}).get("servedName") or meta["name"]
    args = tuple(str(arg) for arg in (spec.get("engine") or {}).get("args") or ())
    return Served(
        uid=meta["uid"],
        namespace=meta["namespace"],
        name=meta["name"],
        created=meta.get("creationTimestamp") or "",
        served_name=claimed if SERVED_NAME.fullmatch(str(claimed)) else meta["name"],
        adapter_names=tuple(name for name in adapter_names(args) if SERVED_NAME.fullmatch(name)),
        revisions=_revisions(body.get("status") or {}, pods),
        allowed_tenants=tuple(str(t) for t in _routing(body).get("allowedTenants") or ()),
        balance="PrefixAffinity" if _routing(body).get("balance") == "PrefixAffinity" else "LeastRequest",
        stickiness=_stickiness(_routing(body).get("sessionAffinity") or {}),
        mirror=_mirror(body.get("status") or {}),
    )


def _routing(body: Json) -> Json:
    found: Json = (body.get("spec") or {}).get("routing") or {}
    return found


def _stickiness(affinity: Json) -> Stickiness | None:
    header, cookie = str(affinity.get("header") or ""), str(affinity.get("cookie") or "")
    if TOKEN.fullmatch(header):
        return Stickiness(by="Header", name=header.lower())
    if TOKEN.fullmatch(cookie):
        return Stickiness(by="Cookie", name=cookie)
    return Stickiness(by="ApiKey") if affinity.get("apiKey") else None


def _mirror(status: Json) -> Mirror | None:
    rollout = status.get("rollout") or {}
    revision, percent = str(rollout.get("revision") or ""), rollout.get("mirror")
    if not revision or not isinstance(percent, int) or not 0 < percent <= 100:  # noqa: PLR2004 - percent
        return None
    return Mirror(revision=revision, percent=percent)


def _revisions(status: Json, pods: Iterable[Json]) -> tuple[Revision, ...]:
    """Join what status says of revisions with the pods that are there, in an order that never depends on either."""
    weights = {r["hash"]: r.get("weight") for r in status.get("revisions") or () if r.get("hash")}
    endpoints: dict[str, list[Endpoint]] = {name: [] for name in weights}
    for pod in pods:
        name = (pod["metadata"].get("labels") or {}).get(names.REVISION)
        if name:
            found = endpoint(pod)
            endpoints.setdefault(name, []).extend([found] if found else [])
    return tuple(
        Revision(name=name, weight=weights.get(name), endpoints=tuple(sorted(endpoints[name])))
        for name in sorted(endpoints)
    )


def api_keys(secret: Json) -> tuple[ApiKey, ...]:
    """Read the keys of a labelled Secret: every value is a key of the tenant that its annotation names.

    A tenant or value that no header can carry gives no key.

    >>> meta = {"annotations": {"modelfleet.dev/tenant": "team-a"}}
    >>> [one.tenant for one in api_keys({"metadata": meta, "data": {"one": "c2stMQ==", "bad": "AA=="}})]
    ['team-a']
    """
    tenant = str((secret["metadata"].get("annotations") or {}).get(names.TENANT) or "")
    if not TENANT.fullmatch(tenant):
        return ()
    values = (_decoded(value) for _, value in sorted((secret.get("data") or {}).items()))
    return tuple(ApiKey(tenant=tenant, key=value) for value in values if KEY.fullmatch(value))


def certificate(secret: Json) -> tuple[str, str] | None:
    """Read certificate and key of a TLS Secret; None while it has not both."""
    data = secret.get("data") or {}
    found = _decoded(data.get("tls.crt") or ""), _decoded(data.get("tls.key") or "")
    return found if all(found) else None


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode().strip()
    except (binascii.Error, ValueError):
        return ""
