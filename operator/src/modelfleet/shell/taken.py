"""Names of ours that somebody else's objects have: told in status, and tried again now and then.

An object is another's when its owner is not the LLMDeployment that asks. What a deleted LLMDeployment of the same name left
behind is on its way out, and only waited for. Must not write or decide.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from modelfleet.core import names
from modelfleet.core.plan import Action, Create, DryRun, Plan
from modelfleet.shell.queue import Key

TAKEN_SECONDS = 30.0
"""After that a name is tried again: its holder may be gone, and nobody watches what is not ours."""
Name = tuple[str, str]


class NameTaken(Exception):  # noqa: N818 - an answer of the API server, not a fault
    """An object that we are to create exists, and is not ours."""

    def __init__(self, *, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name}")
        self.kind, self.name = kind, name


class Taken:
    """Kinds and names, by LLMDeployment."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[Key, dict[Name, float]] = defaultdict(dict)

    def put(self, key: Key, taken: NameTaken) -> None:
        """Remember one for a while."""
        self._known[key][(taken.kind, taken.name)] = self._clock()

    def of(self, key: Key) -> tuple[str, ...]:
        """Give what is remembered, such as `Service chat`."""
        return tuple(f"{kind} {name}" for kind, name in sorted(self._fresh(key)))

    def without(self, key: Key, plan: Plan) -> Plan:
        """Leave out of a plan what cannot be created now; time alone then changes the answer."""
        fresh = self._fresh(key)
        if not fresh:
            return plan
        soon = min(TAKEN_SECONDS, TAKEN_SECONDS if plan.requeue_after is None else plan.requeue_after)
        return replace(plan, actions=tuple(_others(plan.actions, fresh)), requeue_after=soon)

    def forget(self, key: Key) -> None:
        """Drop an LLMDeployment that is gone."""
        self._known.pop(key, None)

    def _fresh(self, key: Key) -> set[Name]:
        known = self._known.get(key, {})
        return {name for name, since in known.items() if self._clock() - since < TAKEN_SECONDS}


def _others(actions: Iterable[Action], fresh: set[Name]) -> Iterable[Action]:
    for action in actions:
        if not (isinstance(action, Create | DryRun) and _held(action.manifest, fresh)):
            yield action


def _held(manifest: Mapping[str, Any], fresh: set[Name]) -> bool:
    kind, name = _name(manifest)
    # No template is stored that the API server was not asked about; both have the revision's name.
    return (kind, name) in fresh or (kind == "ControllerRevision" and ("Deployment", name) in fresh)


def _name(manifest: Mapping[str, Any]) -> Name:
    return manifest["kind"], manifest["metadata"].get("name", "")


def is_anothers(found: Mapping[str, Any], *, wanted: Mapping[str, Any]) -> bool:
    """Tell whether an object that exists belongs to somebody else than who wants to create it.

    >>> mine = {"metadata": {"ownerReferences": [{"kind": "LLMDeployment", "name": "chat", "uid": "2"}]}}
    >>> is_anothers({"metadata": {}}, wanted=mine)
    True

    Of an LLMDeployment of the same name that was deleted: the garbage collector is on its way.

    >>> is_anothers({"metadata": {"ownerReferences": [{"kind": "LLMDeployment", "name": "chat", "uid": "1"}]}}, wanted=mine)
    False
    """
    holders, ours = (
        {(owner["kind"], owner["name"]) for owner in body["metadata"].get("ownerReferences") or ()}
        for body in (found, wanted)
    )
    return bool(ours) and not (ours & holders) and all(kind == names.KIND for kind, _ in ours)
