"""Everything that the pods and LLMDeployments of a namespace go through, in the order in which it was stored.

Watches beside the test, so that nothing in between is missed. Must not judge; `broken` below does, by the promises that
hold for every rollout in stages.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from math import ceil
from typing import Any, NamedTuple, Self

from e2e.rollouts import weights
from modelfleet.cli.rollout_view import serving
from tests.api.fleet import Fleet, pending
from tests.api.rollouts import warm

KINDS = ("llmdeployments", "pods")
ROUND_SECONDS = "1"
SURGE = 1
"""Pods beyond those wanted, which a rollout may have unless it says otherwise."""


class State(NamedTuple):
    """One moment: objects by name."""

    llmdeployments: dict[str, dict[str, Any]]
    pods: dict[str, dict[str, Any]]


class Chronicle:
    """A context manager; `states` are those of the time while it was open."""

    def __init__(self, *, fleet: Fleet) -> None:
        self._fleet = fleet
        self._events: list[tuple[int, str, dict[str, Any], bool]] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._first: dict[str, dict[str, dict[str, Any]]] = {}

    def __enter__(self) -> Self:
        for kind in KINDS:
            answer = self._fleet.plane.http.get(self._fleet.path(kind)).json()
            self._first[kind] = {one["metadata"]["name"]: one for one in answer["items"]}
            thread = threading.Thread(target=self._watch, args=(kind, answer["metadata"]["resourceVersion"]))
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, kind: str, version: str) -> None:
        last = False
        while not last:
            last = self._stop.is_set()  # one more round after the end: what was stored by then is all there
            params = {"watch": "1", "resourceVersion": version, "timeoutSeconds": ROUND_SECONDS}
            with self._fleet.plane.http.stream("GET", self._fleet.path(kind), params=params) as answer:
                for line in answer.iter_lines():
                    event = json.loads(line)
                    assert event["type"] in {"ADDED", "MODIFIED", "DELETED"}, event
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._events.append((int(version), kind, event["object"], event["type"] == "DELETED"))

    @property
    def states(self) -> Iterator[State]:
        """Every state, oldest first."""
        now = {kind: dict(first) for kind, first in self._first.items()}
        yield State(**{kind: dict(objects) for kind, objects in now.items()})
        for _, kind, body, gone in sorted(self._events, key=lambda event: event[0]):
            now[kind].pop(body["metadata"]["name"], None)
            if not gone:
                now[kind][body["metadata"]["name"]] = body
            yield State(**{kind: dict(objects) for kind, objects in now.items()})


def broken(states: Iterator[State], *, name: str, desired: int) -> list[str]:
    """What no state of a rollout may show: traffic without a pod, stable below its share, more pods than planned."""
    found: dict[str, None] = {}
    least: dict[str, int] = {}  # a rollback gives stable everything at once, and its replicas as soon as they are there
    for state in states:
        body = state.llmdeployments[name]
        mine = [p for p in state.pods.values() if p["metadata"]["labels"].get("modelfleet.dev/llmdeployment") == name]
        shares, stable = weights(body["status"]), serving(body["status"])
        for revision, percent in shares.items():
            if not warm(mine, revision):
                found[f"{revision} has {percent} % and no warm pod"] = None
        least[stable] = min(least.get(stable, desired), ceil(desired * shares.get(stable, 0) / 100))
        if warm(mine, stable) < least[stable]:
            found[f"stable {stable} has {warm(mine, stable)} warm pods at {shares}, {least[stable]} are its share"] = (
                None
            )
        if len(alive := [p for p in mine if "deletionTimestamp" not in p["metadata"]]) > desired + SURGE:
            found[f"{len(alive)} pods, {desired} wanted"] = None
        if any(map(pending, mine)):
            found["a pod that no node can hold"] = None
    return list(found)
