"""What status remembers of a rollout: only what cannot be observed later.

Read at the start of a pass, written at its end; in between it is frozen data. Everything here was in force before the
pass began, so what a pass does to replicas may rest on it even if the operator dies before it writes the next one.
Must not decide.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from modelfleet.core.conditions import timestamp
from modelfleet.core.observe import epoch

Json = Mapping[str, Any]
Result = Literal["Done", "Refused", "Stale"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of the last action annotation."""

    id: str
    result: Result
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Override:
    """Another revision than the spec asks for, until the spec changes."""

    spec_revision: str
    revision: str
    reason: str
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Where a rollout stands. Times are seconds since the epoch, 0 for none.

    Attributes:
        revision: what is taking over; empty when nothing is.
        step: how many stages are done; the present one is the next.
        stage: name of the present one, by which it is found again when the steps were edited; empty for the first.
        weight: percent of the traffic for `revision`, in force.
        mirror: percent of the requests copied to it, in force.
        weighed_at: when the weights were last set.
        reached_at: when the present stage was reached: its replicas are warm and every Envoy has its weight.
        hold: what holds it up.
        hold_at: since when.
        paused: why it waits for a person, in a word.
        cause: the same in a sentence; counts while it waits only.
        go: whether a person said to leave the present stage.
        full: whether a person said to go to the end.
        windows: windows of judgement opened so far.
        latency_proven: whether latency passed under like load.
        analysis: the last verdict, as it is shown.
        evaluation: the last evaluation's Job, and its score.
        previous: the stable revision before the last promotion.
        promoted_at: when that was.
        watching: whether the last promotion was a switch that its limits may still take back.
        ended_at: when an abort took the traffic away.
    """

    revision: str = ""
    step: int = 0
    stage: str = ""
    weight: int = 0
    mirror: int = 0
    weighed_at: float = 0.0
    reached_at: float = 0.0
    hold: str = ""
    hold_at: float = 0.0
    paused: str = ""
    cause: str = ""
    go: bool = False
    full: bool = False
    windows: int = 0
    latency_proven: bool = False
    analysis: Json = field(default_factory=dict)
    evaluation: Json = field(default_factory=dict)
    previous: str = ""
    promoted_at: float = 0.0
    watching: bool = False
    ended_at: float = 0.0
    override: Override | None = None
    answer: Answer | None = None


_NAMES = {
    "revision": "revision",
    "step": "step",
    "stage": "stage",
    "weight": "weight",
    "mirror": "mirror",
    "paused": "paused",
    "cause": "pauseMessage",
    "hold": "hold",
    "go": "go",
    "full": "full",
    "previous": "previous",
    "watching": "watching",
    "analysis": "analysis",
    "evaluation": "evaluation",
}
_TIMES = {
    "weighed_at": "weightSetAt",
    "reached_at": "stepStartedAt",
    "hold_at": "holdStartedAt",
    "promoted_at": "promotedAt",
    "ended_at": "endedAt",
}


def read(status: Json) -> Memory:
    """Read `status.rollout`; what is absent or odd counts as not remembered.

    >>> read({"rollout": {"revision": "b", "step": 1, "weight": 20}}).weight
    20
    >>> read({}) == Memory()
    True
    """
    said: Json = status.get("rollout") or {}
    analysis: Json = said.get("analysis") or {}
    override, answer = said.get("override") or {}, said.get("lastAction") or {}
    plain: dict[str, Any] = {name: said[key] for name, key in _NAMES.items() if key in said}
    plain |= {name: epoch(said.get(key)) for name, key in _TIMES.items()}
    return Memory(
        **plain,
        windows=int(analysis.get("windows", 0)),
        latency_proven=bool(analysis.get("latencyProven")),
        override=Override(
            spec_revision=override.get("specRevision", ""),
            revision=override["revision"],
            reason=override.get("reason", ""),
            message=override.get("message", ""),
        )
        if override.get("revision")
        else None,
        answer=Answer(id=answer["id"], result=answer.get("result", "Done"), message=answer.get("message", ""))
        if answer.get("id")
        else None,
    )


def written(memory: Memory) -> dict[str, Any]:
    """Write it as a part of `status.rollout`; `read` gives it back.

    >>> written(Memory(revision="b", step=1, weight=20, hold="NoData", hold_at=60.0))
    {'revision': 'b', 'step': 1, 'weight': 20, 'hold': 'NoData', 'holdStartedAt': '1970-01-01T00:01:00Z'}
    >>> read({"rollout": written(Memory(revision="b", full=True))}) == Memory(revision="b", full=True)
    True
    """
    said: dict[str, Any] = {key: getattr(memory, name) for name, key in _NAMES.items()}
    said |= {key: timestamp(at) for name, key in _TIMES.items() if (at := getattr(memory, name))}
    said["pauseMessage"] = memory.cause if memory.paused else ""
    judged = dict(memory.analysis)
    judged |= {"windows": memory.windows} if memory.windows else {}
    judged |= {"latencyProven": True} if memory.latency_proven else {}
    said["analysis"] = judged
    if memory.override:
        said["override"] = {
            "specRevision": memory.override.spec_revision,
            "revision": memory.override.revision,
            "reason": memory.override.reason,
            "message": memory.override.message,
        }
    if memory.answer:
        said["lastAction"] = {
            "id": memory.answer.id, "result": memory.answer.result, "message": memory.answer.message
        }  # fmt: skip
    return {key: value for key, value in said.items() if value not in ("", 0, {}, None, False)}
