"""Which accelerators our own replicas hold, are about to ask for, or gave up for a while: per LLMDeployment, and in all.

Kept up to date object by object, so that asking costs the same whatever the size of the fleet, but for who keeps
something: those with a revision change under way. Must not decide.
"""

from collections import Counter, defaultdict
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
        self._in: dict[str, Counter[Claim]] = defaultdict(Counter)

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

    def claims(self, *, asker: Key, first: bool = False) -> list[Claim]:
        """Give every claim once, with how many make it; what is kept for `asker` is free for it.

        With `first`, so is what is kept for those that come after it: when several gave something up and there is less
        than that, each would wait for the others for ever. Whoever keeps something may take as much as it keeps, rounded
        up to a whole replica, out of what it sees so. The first by key then sees all that is really free, so one of
        them always goes on where there is room for a replica, and what it takes it keeps no more.
        """
        left = self._total - self._free_for(asker, self._kept, first=first)
        return [replace(claim, times=times) for claim, times in left.items()]

    def claimed(self, *, resource: str, asker: Key, first: bool = False) -> int:
        """Count the devices that the LLMDeployments of the asker's namespace hold or ask for; free is what `claims` says."""
        near = [key for key in self._kept if key[0] == asker[0]]
        return _count(self._in.get(asker[0], Counter()) - self._free_for(asker, near, first=first), resource=resource)

    def kept(self, *, resource: str, asker: Key) -> int:
        """Count the devices that are kept for an LLMDeployment."""
        return _count(self._kept_for(asker), resource=resource)

    def _free_for(self, asker: Key, keys: Iterable[Key], *, first: bool) -> Counter[Claim]:
        free = Counter(self._kept_for(asker))
        for key in keys:
            if first and key > asker:
                free += self._kept_for(key)
        return free

    def _replace(
        self, key: Key, *, held: Counter[Claim] | None, promised: Counter[Claim] | None, kept: Counter[Claim] | None
    ) -> None:
        before, near = self._shown(key), self._in[key[0]]
        for place, counted in ((self._held, held), (self._promised, promised), (self._kept, kept)):
            place.pop(key, None)
            if counted:
                place[key] = counted
        change = Counter(self._shown(key))
        change.subtract(before)
        for total in (self._total, near):
            for claim, times in change.items():
                total[claim] += times
                if not total[claim]:
                    del total[claim]
        if not near:
            del self._in[key[0]]

    def _shown(self, key: Key) -> Counter[Claim]:
        return (self._promised.get(key) or self._held.get(key) or Counter()) + self._kept_for(key)

    def _kept_for(self, key: Key) -> Counter[Claim]:
        # What a plan asks for is what was kept for it: see `promise`.
        return Counter() if key in self._promised else self._kept.get(key, Counter())


def _count(claims: Mapping[Claim, int], *, resource: str) -> int:
    return sum(claim.count * times for claim, times in claims.items() if claim.resource == resource)


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
