"""Which accelerators our own replicas hold, are about to ask for, or gave up for a while: per LLMDeployment, and in all.

Kept up to date object by object, so that asking costs the same whatever the size of the fleet. Must not decide.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from modelfleet.core.fit import Claim
from modelfleet.core.observe import template_claims
from modelfleet.core.plan import Action, Create, Scale
from modelfleet.core.world import Workload
from modelfleet.shell.queue import Key


class Devices:
    """A ledger of claims."""

    def __init__(self) -> None:
        self._held: dict[Key, Counter[Claim]] = {}
        self._promised: dict[Key, Counter[Claim]] = {}
        self._kept: dict[Key, Counter[Claim]] = {}
        self._total: Counter[Claim] = Counter()

    def put(self, key: Key, claims: Iterable[Claim], *, kept: Iterable[Claim] = ()) -> None:
        """Replace what the objects of one LLMDeployment claim now.

        `kept` is what it does not ask for now and will: a rollout that gives a replica up before the next one starts.
        Nobody else gets these devices; without that it would end with fewer replicas than it began with.
        """
        self._replace(key, held=_counted(claims), promised=self._promised.get(key), kept=_counted(kept))

    @contextmanager
    def promise(self, key: Key, more: Iterable[Claim]) -> Iterator[None]:
        """Count `more` as taken while a plan that asks for it is carried out.

        Until then what the LLMDeployment holds is shown as it was decided on: its own new objects appear one by one
        meanwhile, and would be counted twice.
        """
        held, kept = self._held.get(key, Counter()), self._kept.get(key, Counter())
        self._replace(key, held=held, promised=held + (_counted(more) | kept), kept=kept)
        try:
            yield
        finally:
            self._replace(key, held=self._held.get(key), promised=None, kept=self._kept.get(key))

    def claims(self, *, asker: Key) -> list[Claim]:
        """Give every claim once, with how many make it; what is kept for `asker` is free for it."""
        return [replace(claim, times=times) for claim, times in (self._total - self._kept_for(asker)).items()]

    def claimed(self, *, resource: str, asker: Key) -> int:
        """Count the devices that the LLMDeployments of the asker's namespace hold or ask for; those kept for it are free."""
        mine = {key for key in (*self._held, *self._promised, *self._kept) if key[0] == asker[0]}
        shown = [(claim, times) for key in mine for claim, times in self._shown(key).items()]
        kept = [(claim, -times) for claim, times in self._kept_for(asker).items()]
        return sum(claim.count * times for claim, times in (*shown, *kept) if claim.resource == resource)

    def _replace(
        self, key: Key, *, held: Counter[Claim] | None, promised: Counter[Claim] | None, kept: Counter[Claim] | None
    ) -> None:
        before = self._shown(key)
        for place, counted in ((self._held, held), (self._promised, promised), (self._kept, kept)):
            place.pop(key, None)
            if counted:
                place[key] = counted
        for claim, times in self._shown(key).items():
            self._total[claim] += times
        for claim, times in before.items():
            self._total[claim] -= times
            if not self._total[claim]:
                del self._total[claim]

    def _shown(self, key: Key) -> Counter[Claim]:
        return (self._promised.get(key) or self._held.get(key) or Counter()) + self._kept_for(key)

    def _kept_for(self, key: Key) -> Counter[Claim]:
        # What a plan asks for is what was kept for it: see `promise`.
        return Counter() if key in self._promised else self._kept.get(key, Counter())


def _counted(claims: Iterable[Claim]) -> Counter[Claim]:
    counted: Counter[Claim] = Counter()
    for claim in claims:
        counted[replace(claim, times=1)] += claim.times
    return counted


def asked_for(actions: Iterable[Action], *, workloads: Sequence[Workload]) -> Iterator[Claim]:
    """Give the devices that a plan asks for beyond what its LLMDeployment has."""
    known = {workload.name: workload for workload in workloads}
    for action in actions:
        match action:
            case Create() if action.manifest["kind"] == "Deployment":
                spec = action.manifest["spec"]
                yield from _times(spec["template"], spec["replicas"])
            case Scale() if action.name in known:
                workload = known[action.name]
                yield from _times(workload.template, action.replicas - workload.replicas)
            case _:
                pass


def _times(template: Mapping[str, Any], count: int) -> Iterator[Claim]:
    if count > 0:
        yield from (replace(claim, times=count) for claim in template_claims(template))
