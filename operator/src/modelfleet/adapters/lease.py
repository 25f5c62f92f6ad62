"""Leadership by a `coordination.k8s.io` Lease.

The deadline is on the monotonic clock and every call times out below the retry period, so that a leader that cannot
renew stops writing before another may start. A Lease does not fence: `check` guards every write, and writes carry the
resourceVersion they are based on. Must not start or stop anything: `shell/main.py` does.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from modelfleet.adapters.errors import ApiProblem, Conflict, Gone, NotLeader
from modelfleet.adapters.kube import Kube

API = "coordination.k8s.io/v1"


class Lease:
    """One candidate for one Lease."""

    def __init__(self, *, kube: Kube, namespace: str, name: str, identity: str, seconds: float) -> None:
        self._kube, self._namespace, self._name = kube, namespace, name
        self._identity, self._seconds = identity, seconds
        self._deadline = 0.0
        self._body: dict[str, Any] | None = None
        self._seen: tuple[Any, float] = (None, 0.0)
        """What the other holder last wrote, and when we saw it change (monotonic): no clocks are compared."""

    @property
    def retry_seconds(self) -> float:
        """Seconds between two attempts."""
        return self._seconds / 5

    @property
    def held(self) -> bool:
        """Whether this process may write now. Two thirds of the lease: the rest is for writes already on their way."""
        return time.monotonic() < self._deadline

    def check(self) -> None:
        """Raise NotLeader unless the Lease is held."""
        if not self.held:
            raise NotLeader("the Lease is not held any more; another operator leads")

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while not await self._attempt():  # noqa: ASYNC110 - the API is polled, there is no event to wait for
            await asyncio.sleep(self.retry_seconds)

    async def keep(self) -> None:
        """Renew until it cannot be renewed in time; then return."""
        while self.held:
            await asyncio.sleep(self.retry_seconds)
            await self._attempt()

    async def release(self) -> None:
        """Let another lead at once."""
        if self.held and self._body is not None:
            self._deadline = 0.0
            try:
                await self._put({**self._body["spec"], "holderIdentity": "", "leaseDurationSeconds": 1})
            except ApiProblem:
                return

    async def _attempt(self) -> bool:
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.retry_seconds * 0.9):
                got = await self._take()
        except (ApiProblem, TimeoutError):
            return False
        if got:
            self._deadline = started + self._seconds * 2 / 3
        return got

    async def _take(self) -> bool:
        try:
            self._body = await self._kube.get(api_version=API, kind="Lease", namespace=self._namespace, name=self._name)
        except Gone:
            self._body = None
        spec = (self._body or {}).get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        mark = (holder, spec.get("renewTime"), spec.get("acquireTime"))
        if mark != self._seen[0]:
            self._seen = (mark, time.monotonic())
        patience = float(spec.get("leaseDurationSeconds") or self._seconds)
        if holder not in ("", self._identity) and time.monotonic() - self._seen[1] < patience:
            return False
        now = datetime.now(tz=UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        changed = holder != self._identity
        try:
            await self._put(
                {
                    "holderIdentity": self._identity,
                    "leaseDurationSeconds": int(self._seconds),
                    "acquireTime": now if changed else spec.get("acquireTime", now),
                    "renewTime": now,
                    "leaseTransitions": int(spec.get("leaseTransitions") or 0) + changed,
                }
            )
        except Conflict:
            return False
        return True

    async def _put(self, spec: dict[str, Any]) -> None:
        meta = {"name": self._name, "namespace": self._namespace}
        if self._body is None:
            self._body = await self._kube.create({"apiVersion": API, "kind": "Lease", "metadata": meta, "spec": spec})
            return
        version = self._body["metadata"]["resourceVersion"]
        self._body = await self._kube.patch(
            api_version=API,
            kind="Lease",
            namespace=self._namespace,
            name=self._name,
            body={"metadata": {"resourceVersion": version}, "spec": spec},
        )
