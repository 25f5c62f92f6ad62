"""The gateway as one tenant's client sees it: its address, a key, and where the client's own copy of the key lies.

Sits on the cluster's kubectl. It must not assert anything.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import httpx
import yaml

from e2e import reach
from e2e.cluster import whole

CLIENT_SECRET = "gateway-key"  # noqa: S105 - a name
"""A client's own copy of its key, in its namespace; a Secret of the gateway's namespace is for the gateway alone."""
CLIENT_FIELD = "OPENAI_API_KEY"
IN_A_ROW = 10
"""Each question goes to either of two Envoys: one of them is missed once in a thousand times."""


class Edge:
    """One tenant at the gateway of a release; by default its models are those of the namespace of its name."""

    def __init__(self, *, tenant: str, namespace: str, service: str) -> None:
        self.tenant, self.key = tenant, uuid.uuid4().hex
        self.host = f"http://{service}.{namespace}.svc"
        """As pods reach it."""
        self._namespace, self._service = namespace, service

    @property
    def url(self) -> str:
        """As this machine reaches it, for now: a chart that is installed anew has another address."""
        return reach.address(namespace=self._namespace, name=self._service)

    @property
    def headers(self) -> dict[str, str]:
        """What a client sends."""
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def secret(self) -> str:
        """Name of the Secret by which the gateway knows the key."""
        return f"key-{self.tenant}"

    def grant(self) -> None:
        """Make the key known, and give the tenant's namespace a copy for its clients."""
        known = {
            "name": self.secret,
            "namespace": self._namespace,
            "labels": {"modelfleet.dev/api-key": ""},
            "annotations": {"modelfleet.dev/tenant": self.tenant},
        }
        copy = {"name": CLIENT_SECRET, "namespace": self.tenant}
        manifests = [
            {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {CLIENT_FIELD: self.key}}
            for meta in (known, copy)
        ]
        whole.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def revoke(self) -> None:
        """Take the key away."""
        whole.kubectl("delete", "secret", self.secret, "-n", self._namespace, "--ignore-not-found")

    def ask(self, model: str, *, tokens: int = 4, revision: str = "", **more: Any) -> httpx.Response:
        """Send one chat request, to one revision if it is named; whatever comes back is returned."""
        body = {"model": model, "messages": [{"role": "user", "content": "Count."}], "max_tokens": tokens, **more}
        headers = {**self.headers, **({"x-modelfleet-revision": revision} if revision else {})}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=60)

    def until(self, model: str, status: int, *, seconds: float = 60.0) -> httpx.Response:
        """Ask until the answer has this status so often in a row that every Envoy has said so.

        Raises:
            TimeoutError: it did not; the message has the last answer.
        """
        deadline, row = time.monotonic() + seconds, 0
        while True:
            answer = self.ask(model, tokens=1)
            row = row + 1 if answer.status_code == status else 0
            if row == IN_A_ROW:
                return answer
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {status} in {seconds:.0f} s; last {answer.status_code}: {answer.text}")
            time.sleep(0 if row else 0.2)
