"""Writes that the API server refuses: told in status in its words, left out of plans for a while, and tried again.

A quota, a policy or a missing right may change at any time, and nobody here watches them. Must not write or decide.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from modelfleet.core.plan import Action, Create, Delete, DryRun, Plan, Rotate, Scale, target
from modelfleet.core.world import Refusal, Workload
from modelfleet.shell.queue import Key

REFUSED_SECONDS = 30.0
"""After that a refused write is tried again."""
Write = tuple[str, str, str, str]
"""Kind of action, kind and name of the object, and what was wanted of it where that may be its contrary."""


class ObjectRefused(Exception):  # noqa: N818 - an answer of the API server, not a fault
    """The API server refused a write of an object of ours."""

    def __init__(self, *, action: Action, message: str) -> None:
        super().__init__(message)
        self.write, self.message = _write(action), message


class Refusals:
    """What was refused and why, by LLMDeployment."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[Key, dict[Write, tuple[float, str]]] = defaultdict(dict)

    def put(self, key: Key, refused: ObjectRefused) -> None:
        """Remember one for a while."""
        self._known[key] = {**self._fresh(key), refused.write: (self._clock(), refused.message)}

    def of(self, key: Key) -> tuple[Refusal, ...]:
        """Give what is remembered, in an order that stays."""
        return tuple(
            Refusal(action=action, kind=kind, name=name, message=message)
            for (action, kind, name, _), (_, message) in sorted(self._fresh(key).items(), key=lambda one: one[0][1:])
        )

    def without(self, key: Key, plan: Plan, *, workloads: Sequence[Workload] = ()) -> Plan:
        """Leave out of a plan what is refused now; time alone then changes the answer.

        `workloads` are those that the plan was made for.
        """
        fresh = self._fresh(key)
        if not fresh:
            return plan
        soon = min(REFUSED_SECONDS, REFUSED_SECONDS if plan.requeue_after is None else plan.requeue_after)
        return replace(plan, actions=tuple(_others(plan.actions, fresh, workloads=workloads)), requeue_after=soon)

    def forget(self, key: Key) -> None:
        """Drop an LLMDeployment that is gone."""
        self._known.pop(key, None)

    def _fresh(self, key: Key) -> dict[Write, tuple[float, str]]:
        known = self._known.get(key, {})
        return {write: said for write, said in known.items() if self._clock() - said[0] < REFUSED_SECONDS}


def _others(actions: Iterable[Action], fresh: Iterable[Write], *, workloads: Sequence[Workload]) -> Iterable[Action]:
    held = set(fresh)
    has = {workload.name: workload.replicas for workload in workloads}
    cut = False
    for action in actions:
        refused = _held(action, held)
        # What takes away keeps its order: nothing shrinks before what is to replace it grows, or before its victim is
        # out of rotation. What gives goes on.
        cut |= refused and isinstance(action, Rotate | Scale | Delete)
        if not (refused or (cut and _takes(action, has=has))):
            yield action


def _takes(action: Action, *, has: Mapping[str, int]) -> bool:
    match action:
        case Rotate():
            return not action.in_rotation
        case Scale():
            return action.replicas < has.get(action.name, math.inf)
        case Delete():
            return action.kind == "Deployment"
        case _:
            return False


def _held(action: Action, fresh: set[Write]) -> bool:
    kind, name = target(action)
    if _write(action) in fresh:
        return True
    # A revision runs only when its template is stored: a rollback must find what was rendered. Both have one name.
    unstored = (Create.__name__, "ControllerRevision", name, "") in fresh
    return isinstance(action, Create | DryRun) and kind == "Deployment" and unstored


def _write(action: Action) -> Write:
    match action:
        case Scale():
            wish = str(action.replicas)
        case Rotate():
            wish = "in" if action.in_rotation else "out"
        case _:
            wish = ""
    return (type(action).__name__, *target(action), wish)
