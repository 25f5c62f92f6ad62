"""Asks every control replica of the gateway what its Envoys have acknowledged.

Which pods to ask is read from the API each time: a drain waits for the answer, and an old list would lie. Must not join
or judge the answers: `core/routing/router.py` does.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import structlog

from modelfleet.adapters.kube import Kube
from modelfleet.core.routing.router import Reports

log = structlog.get_logger(__name__)
COMPONENT = "app.kubernetes.io/component"
ENVOYS = f"{COMPONENT}=gateway"
CONTROL = f"{COMPONENT}=gateway-control"
PORT = 8080
SECONDS = 2.0


class Gateway:
    """The control replicas in one namespace."""

    def __init__(self, *, kube: Kube, namespace: str, clock: Callable[[], float] = time.time) -> None:
        self._kube, self._namespace, self._clock = kube, namespace, clock
        self._http = httpx.AsyncClient(timeout=SECONDS, trust_env=False)

    async def fetch(self) -> Reports:
        """Ask all of them; one that does not answer is left out, and what it alone knew counts as unknown.

        Raises:
            ApiProblem: the pods of the gateway cannot be listed.
        """
        now = self._clock()
        envoys, replicas = await asyncio.gather(self._pods(ENVOYS), self._pods(CONTROL))
        replies = await asyncio.gather(*(self._ask(pod) for pod in replicas))
        names = tuple(sorted(pod["metadata"]["name"] for pod in envoys if _ready(pod)))
        return Reports(observed_at=now, envoys=names, replies=tuple(one for one in replies if one is not None))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _pods(self, selector: str) -> list[dict[str, Any]]:
        return await self._kube.list(api_version="v1", kind="Pod", namespace=self._namespace, selector=selector)

    async def _ask(self, pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            return None
        host = f"[{address}]" if ":" in address else address
        try:
            answer = await self._http.get(f"http://{host}:{PORT}/v1/acknowledgements")
            answer.raise_for_status()
            reply = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            log.warning("gateway.silent", pod=pod["metadata"]["name"], error=repr(error))
            return None
        return reply if isinstance(reply, Mapping) else None


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
