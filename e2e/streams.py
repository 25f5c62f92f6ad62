"""Streams from a load pod to an LLMDeployment, counted to the last one.

Sits on `fleet`, which starts the pod; its program is `stream_client.py`. It must not judge the counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from e2e import fleet
from e2e.edge import Edge
from e2e.llm import Llm

TOKENS = 400
"""Some seconds of an answer when a dozen share two cores."""


class Streams:
    """What a scenario may do with running streams."""

    def __init__(self, *, llm: Llm, count: int, pod: str) -> None:
        self._llm, self._count, self._pod = llm, count, pod

    def counts(self) -> dict[str, Any]:
        """How many are open, finished, cut and failed so far, and the most frequent problems."""
        return fleet.load_counts(namespace=self._llm.namespace, pod=self._pod)

    def moment(self) -> float:
        """Tell the time on the clients' clock; a log that has just been rotated has no line yet."""
        return float(self._llm.until("a line of the clients", self.counts)["at"])

    def await_finished(self, *, more: int = 0, seconds: float = 300.0) -> None:
        """Wait until `more` streams have ended well from now on; one for each client unless told."""
        wanted = self.counts().get("finished", 0) + (more or self._count)
        self._llm.until(
            f"{wanted} whole streams",
            lambda: (counts := self.counts()) and counts["finished"] >= wanted and counts,
            seconds=seconds,
        )

    def end(self, *, seconds: float = 300.0) -> dict[str, Any]:
        """Begin no more, wait for the end of those that run, and return the last counts."""
        fleet.end_load(namespace=self._llm.namespace, pod=self._pod)
        phase = ("get", "pod", self._pod, "-o", "jsonpath={.status.phase}")
        self._llm.until(
            "the end of the streams", lambda: self._llm.kubectl(*phase) in {"Succeeded", "Failed"}, seconds=seconds
        )
        return self.counts()


@contextmanager
def streams(
    llm: Llm,
    *,
    count: int,
    tokens: int = TOKENS,
    seconds: float = 3600.0,
    pod: str = "load",
    by: Edge | None = None,
) -> Iterator[Streams]:
    """Keep `count` streams going at a time; each client begins its next when one has ended."""
    fleet.stop_load(namespace=llm.namespace, pod=pod)
    # By its full name: at the gateway another namespace may have the short one.
    name = f"{llm.namespace}/{llm.name}" if by else llm.name
    fleet.send_load(namespace=llm.namespace, name=name, streams=count, seconds=seconds, tokens=tokens, pod=pod, by=by)
    flow = Streams(llm=llm, count=count, pod=pod)
    try:
        llm.until("the load pod", flow.counts)
        yield flow
    finally:
        fleet.stop_load(namespace=llm.namespace, pod=pod)
