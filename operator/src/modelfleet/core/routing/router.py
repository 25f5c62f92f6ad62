"""What the Envoys have taken in, as the operator needs it: may this pod end, and was anything refused.

Joins the reports of all control replicas with the Ready Envoys, by node id. Must not ask anybody, and must not take
silence for consent: an Envoy of which no replica speaks has acknowledged nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Router:
    """The gateway's view of one LLMDeployment.

    Attributes:
        lagging: Ready Envoys that have not taken in what their control replica wants, or of which none speaks.
        in_use: Addresses to which a Ready Envoy that has taken everything in may send a new request.
        weights: Shares by revision that every Ready Envoy applies, as they were asked for; None while they differ or there
            is no Envoy.
        refused: What an Envoy said when it refused this LLMDeployment's configuration; empty when none did.
        observed_at: When the gateway was asked, in seconds of the caller's clock.
    """

    lagging: tuple[str, ...] = ()
    in_use: frozenset[str] = field(default_factory=frozenset)
    weights: Mapping[str, int] | None = None
    refused: str = ""
    observed_at: float = 0.0

    def has_left(self, address: str) -> bool:
        """Whether no Envoy sends a new request to this pod any more.

        >>> Router(in_use=frozenset({"10.0.0.1"})).has_left("10.0.0.2")
        True
        >>> Router(lagging=("envoy-1",)).has_left("10.0.0.2")
        False
        """
        return not self.lagging and address not in self.in_use


@dataclass(frozen=True, kw_only=True)
class Reports:
    """One look at the whole gateway.

    Attributes:
        observed_at: When it was asked, in seconds of the caller's clock.
        envoys: Names of the Ready Envoy pods: their node ids.
        replies: The report of each control replica that answered.
    """

    observed_at: float
    envoys: tuple[str, ...] = ()
    replies: tuple[Json, ...] = ()

    def of(self, uid: str) -> Router:
        """Narrow to one LLMDeployment.

        >>> reply = {"models": {"u": {"digest": "d", "endpoints": {"r": ["10.0.0.1"]}}},
        ...          "envoys": {"e1": {"confirmed": {"u": "d"}, "rejections": {}}}}
        >>> Reports(observed_at=0, envoys=("e1",), replies=(reply,)).of("u").in_use
        frozenset({'10.0.0.1'})
        >>> Reports(observed_at=0, envoys=("e1", "e2"), replies=(reply,)).of("u").lagging
        ('e2',)
        """
        lagging: list[str] = []
        weights: list[Mapping[str, int]] = []
        in_use: set[str] = set()
        refused = ""
        for name in self.envoys:
            model, envoy = self._connected(name, uid=uid)
            if envoy is None or not _knows((model, envoy), uid=uid):
                lagging.append(name)
                refused = refused or _refusal(envoy)
                continue
            weights.append(model.get("requested") or {})
            in_use |= {address for addresses in (model.get("endpoints") or {}).values() for address in addresses}
        agreed = not lagging and bool(weights) and all(one == weights[0] for one in weights)
        return Router(
            lagging=tuple(sorted(lagging)),
            in_use=frozenset(in_use),
            weights=weights[0] if agreed else None,
            refused=refused,
            observed_at=self.observed_at,
        )

    def _connected(self, name: str, *, uid: str) -> tuple[Json, Json | None]:
        """Find the replica that serves an Envoy; of two that both say so (it just moved) the one that knows less."""
        found = [
            ((reply.get("models") or {}).get(uid) or {}, reply["envoys"][name])
            for reply in self.replies
            if name in (reply.get("envoys") or {})
        ]
        return min(found, key=lambda one: _knows(one, uid=uid), default=({}, None))


def _knows(one: tuple[Json, Json], *, uid: str) -> bool:
    model, envoy = one
    return bool(model) and (envoy.get("confirmed") or {}).get(uid) == model.get("digest")


def _refusal(envoy: Json | None) -> str:
    return next(iter(sorted((envoy or {}).get("rejections", {}).values())), "")


def changed(before: Reports | None, after: Reports, *, uids: Iterable[str]) -> list[str]:
    """Name the LLMDeployments of which the gateway refused something since, or does not any more."""
    return [uid for uid in uids if (before.of(uid).refused if before else "") != after.of(uid).refused]
