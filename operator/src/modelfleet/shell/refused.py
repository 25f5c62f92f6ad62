"""Writes that the API server refuses: told in status in its words, left out of plans for a while, and tried again.

A quota, a policy or a missing right may change at any time, and nobody here watches them. Must not write or decide.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

from modelfleet.core.plan import Action, Create, Delete, DryRun, Plan, Rotate, Scale, target
from modelfleet.core.world import Refusal
from modelfleet.shell.queue import Key

REFUSED_SECONDS = 30.0
"""After that a refused write is tried again."""
Write = tuple[str, str, str]
"""Kind of action, kind and name of the object."""


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
        """Give what is remembered, each object once, in an order that stays."""
        by_object = {write[1:]: message for write, (_, message) in sorted(self._fresh(key).items())}
        return tuple(
            Refusal(kind=kind, name=name, message=message) for (kind, name), message in sorted(by_object.items())
        )

    def without(self, key: Key, plan: Plan) -> Plan:
        """Leave out of a plan what is refused now; time alone then changes the answer."""
        fresh = self._fresh(key)
        if not fresh:
            return plan
        soon = min(REFUSED_SECONDS, REFUSED_SECONDS if plan.requeue_after is None else plan.requeue_after)
        return replace(plan, actions=tuple(_others(plan.actions, fresh)), requeue_after=soon)

    def forget(self, key: Key) -> None:
        """Drop an LLMDeployment that is gone."""
        self._known.pop(key, None)

    def _fresh(self, key: Key) -> dict[Write, tuple[float, str]]:
        known = self._known.get(key, {})
        return {write: said for write, said in known.items() if self._clock() - said[0] < REFUSED_SECONDS}


def _others(actions: Iterable[Action], fresh: Iterable[Write]) -> Iterable[Action]:
    held = set(fresh)
    cut = False
    for action in actions:
        refused = _held(action, held)
        # What takes away keeps its order: no Deployment shrinks before its victim is out of rotation.
        taking = isinstance(action, Rotate | Scale | Delete)
        cut |= refused and taking
        if not (refused or (cut and taking)):
            yield action


def _held(action: Action, fresh: set[Write]) -> bool:
    kind, name = target(action)
    if _write(action) in fresh:
        return True
    # A revision runs only when its template is stored: a rollback must find what was rendered. Both have one name.
    unstored = (Create.__name__, "ControllerRevision", name) in fresh
    return isinstance(action, Create | DryRun) and kind == "Deployment" and unstored


def _write(action: Action) -> Write:
    return (type(action).__name__, *target(action))
