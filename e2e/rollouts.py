"""A rollout in stages as its status tells it, and what a person may ask of it.

Used by the scenarios and the demo. It must not decide whether what it reads is right.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from e2e.llm import Llm, uids
from modelfleet.cli.rollout_view import position, serving

ROLLOUT_SECONDS = 900.0
"""Two judged steps take three minutes alone."""
WITHIN = {"ttft": 0.5, "interToken": 0.2}
"""Seconds that two busy cores keep nearly always: where none is late, few requests are enough for a verdict."""
MEASURED: list[dict[str, Any]] = [
    {"name": name, "maxDropFromStable": 0.05, **({"within": WITHIN[name]} if name in WITHIN else {})}
    for name in ("ttft", "interToken", "errors", "badOutputs")
]
ANALYSIS: dict[str, Any] = {
    "intervalSeconds": 5,
    "minSamples": 50,
    "minSeconds": 45,
    "warmupSeconds": 15,
    "metrics": MEASURED,
}
"""A test's time: a step is judged in a minute, and what is allowed to be worse is wide enough for so few requests."""
CANARY: dict[str, Any] = {
    "strategy": "Canary",
    "canary": {"steps": [{"weight": 20}, {"weight": 50}]},
    "analysis": ANALYSIS,
    "scaleDownDelaySeconds": 5,
    "abortScaleDownDelaySeconds": 5,
}
Json = Mapping[str, Any]


def weights(status: Json) -> dict[str, int]:
    """Percent of the traffic by revision, where it has any."""
    return {one["hash"]: one["weight"] for one in status.get("revisions") or () if one.get("weight")}


def rolling(status: Json) -> str:
    """Hash of the revision that takes over; empty while none does."""
    return told(status, "revision") or ""


def unrouted(status: Json, *, revision: str) -> bool:
    """Whether a revision that had traffic has none, and every Envoy has said so.

    Until they have, a rollout that ends keeps its revision in status, and one that goes on does not say yet that it waits
    for that revision's replicas.
    """
    if weights(status).get(revision):
        return False
    return rolling(status) != revision or f"replicas of revision {revision}" in (told(status, "message") or "")


def told(status: Json, word: str) -> Any:
    """One word of what it says of the rollout; None where it does not say it."""
    return (status.get("rollout") or {}).get(word)


def reasons(status: Json) -> list[str]:
    """Why the last decisions on rollouts were made, oldest first."""
    return [one["reason"] for one in status.get("decisions") or () if one["kind"] == "Rollout"]


def line(status: Json) -> str:
    """Where it stands, for people: the step, the traffic, and what is judged."""
    analysis = told(status, "analysis") or {}
    shares = ", ".join(f"{name} {weight} %" for name, weight in weights(status).items())
    samples = [
        f"{one['name']} {one['canaryRatio']:.1%} of {one['canarySamples']:.0f}, stable {one['stableRatio']:.1%}"
        for one in analysis.get("results") or ()
        if "canaryRatio" in one and "stableRatio" in one
    ]
    return " | ".join(filter(None, (position(status), shares, analysis.get("verdict", ""), *samples)))


def act(llm: Llm, verb: str, *, revision: str = "") -> Json:
    """Write an action on it, and return the answer."""
    identity = uuid.uuid4().hex
    words = " ".join(filter(None, (verb, revision, identity)))
    llm.kubectl("annotate", "llmdep", llm.name, f"modelfleet.dev/action={words}", "--overwrite")

    def answer() -> Json:
        found: Json = told(llm.status(), "lastAction") or {}
        return found if found.get("id") == identity else {}

    answered: Json = llm.until(f"an answer to {verb}", answer)
    return answered


def follow(llm: Llm, what: str, done: Callable[[Json], object], *, seconds: float = ROLLOUT_SECONDS) -> Json:
    """Wait until the status is as wanted, and print each change of where the rollout stands."""
    last, begun = "", time.monotonic()

    def seen() -> Json | None:
        nonlocal last
        status = llm.status()
        if (now := line(status)) != last:
            print(f"{time.monotonic() - begun:6.1f} s  {now}")
            last = now
        return status if done(status) else None

    found: Json = llm.until(what, seen, seconds=seconds)
    return found


def begun(llm: Llm) -> str:
    """Wait until another revision gets traffic; returns its hash."""
    old = serving(llm.status())
    found = follow(llm, "traffic for the new revision", lambda status: weights(status).keys() - {old})
    return rolling(found)


def promoted(llm: Llm, *, revision: str) -> None:
    follow(llm, f"the promotion of {revision}", lambda status: serving(status) == revision)


def of(llm: Llm, revision: str) -> set[str]:
    """Pods of a revision."""
    return uids(pod for pod in llm.pods() if pod["metadata"]["labels"]["modelfleet.dev/revision"] == revision)
