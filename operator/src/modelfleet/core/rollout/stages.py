"""A strategy as data: the stages that a rollout goes through, from the user's words.

Canary and blue-green are the same machine over different stages. Must not look at what runs.
"""

from dataclasses import dataclass
from math import ceil, floor
from typing import Literal

from modelfleet.api.v1alpha1.analysis import Analysis
from modelfleet.api.v1alpha1.rollout import BlueGreen, Canary, Rollout

ALL = 100
"""Percent."""

FROM_GATEWAY = frozenset({"errors"})
"""Metrics that only the gateway counts: it does not see all requests to a preview, which has a Service of its own."""

Kind = Literal["Preview", "Evaluation", "Mirror", "Weight", "Trial", "Pause", "Promote", "Watch"]
Judged = Literal["", "Alone", "Compared"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage.

    Attributes:
        kind: what ends it: Preview when its replicas are warm, Evaluation at its score, Mirror after its time, Weight
            at a Pass, Trial at a Pass of its limits alone, Pause by a person or its time, Promote when the new revision
            has everything. Watch is what follows a switch, and no stage of any list.
        weight: percent of the traffic for the new revision.
        new: replicas of the new revision; stable has its share of those that are wanted in all.
        seconds: least time, for Mirror and Weight; the whole time of a Pause, 0 for a person's word.
        mirror: percent of the requests that are copied.
        last: the next weight is 100 %.
        whole: the new revision is a whole second set.
    """

    kind: Kind
    weight: int = 0
    new: int = 0
    seconds: int = 0
    mirror: int = 0
    last: bool = False
    whole: bool = False

    @property
    def judged(self) -> Judged:
        """Whether it is judged, and against whom: two whole sets never share the traffic, so each stands alone."""
        if self.kind in {"Weight", "Mirror"}:
            return "Compared"
        alone = self.kind in {"Trial", "Watch"} or (self.kind == "Pause" and self.whole)
        return "Alone" if alone else ""

    @property
    def word(self) -> str:
        """Name it in a decision, and where status remembers it."""
        return f"{self.kind} {self.weight} %" if self.weight and self.weight < ALL else self.kind


def stages(rollout: Rollout, *, desired: int) -> tuple[Stage, ...]:
    """List a strategy's stages for so many replicas in all; empty for one without stages.

    >>> found = stages(Rollout(strategy="Canary"), desired=4)
    >>> [(s.kind, s.weight, s.new) for s in found]
    [('Weight', 5, 1), ('Weight', 25, 1), ('Weight', 50, 2), ('Promote', 100, 4)]
    >>> [(s.kind, s.new) for s in stages(Rollout(strategy="BlueGreen"), desired=2)]
    [('Preview', 2), ('Pause', 2), ('Promote', 2)]

    Who switches without a person waits for the limits that the user has set:

    >>> limited = {"strategy": "BlueGreen", "blueGreen": {"autoPromote": True},
    ...            "analysis": {"metrics": [{"name": "ttft", "minRatio": 0.9}]}}
    >>> [s.kind for s in stages(Rollout.model_validate(limited), desired=2)]
    ['Preview', 'Trial', 'Promote']
    """
    if rollout.strategy == "Canary":
        return _canary(rollout, canary=rollout.canary or Canary(), desired=desired)
    if rollout.strategy == "BlueGreen":
        return _blue_green(rollout, options=rollout.blue_green or BlueGreen(), desired=desired)
    return ()


def _canary(rollout: Rollout, *, canary: Canary, desired: int) -> tuple[Stage, ...]:
    steps = [s for s in canary.steps if s.weight != ALL]  # 100 % is the promotion
    weights = [s.weight for s in steps if s.weight]
    new = 1  # stable gives no replica before it has lost traffic, so beside it more might never fit
    found: list[Stage] = []
    if rollout.analysis.evaluation:
        found.append(Stage(kind="Evaluation", new=new))
    if canary.mirror:
        found.append(Stage(kind="Mirror", new=new, mirror=canary.mirror.percent, seconds=canary.mirror.min_seconds))
    weight = 0
    for step in steps:
        if step.weight:
            weight = step.weight
            new = replicas(desired=desired, weight=weight, rollout=rollout)
            last, seconds = weight == weights[-1], step.min_seconds or 0
            found.append(Stage(kind="Weight", weight=weight, new=new, seconds=seconds, last=last))
        elif step.pause:
            found.append(Stage(kind="Pause", weight=weight, new=new, seconds=step.pause.seconds or 0))
    return (*found, Stage(kind="Promote", weight=ALL, new=desired))


def _blue_green(rollout: Rollout, *, options: BlueGreen, desired: int) -> tuple[Stage, ...]:
    preview = min(options.preview_replicas or desired, desired)
    found = [Stage(kind="Preview", new=preview, whole=True)]
    if rollout.analysis.evaluation:
        found.append(Stage(kind="Evaluation", new=preview, whole=True))
    if not options.auto_promote:
        found.append(Stage(kind="Pause", new=preview, whole=True))
    elif limited(rollout.analysis) - FROM_GATEWAY:
        found.append(Stage(kind="Trial", new=preview, last=True, whole=True))
    return (*found, Stage(kind="Promote", weight=ALL, new=desired, whole=True))


def limited(analysis: Analysis) -> frozenset[str]:
    """Name the metrics with an absolute limit of the user's own: what can be judged without stable.

    >>> sorted(limited(Analysis.model_validate({"metrics": [
    ...     {"name": "ttft", "within": 2}, {"name": "errors", "maxRatio": 0.1}, {"name": "mine", "query": "1", "max": 2}]})))
    ['errors', 'mine']
    """
    return frozenset(m.name for m in analysis.metrics if m.query or m.min_ratio or m.max_ratio)


def replicas(*, desired: int, weight: int, rollout: Rollout) -> int:
    """Answer the new revision's replicas for a weight: as many as carry it as the others carry theirs, rounded up.

    A number of the user's own is cut to the room beside what stable keeps for its share.

    >>> canary = Rollout(strategy="Canary")
    >>> replicas(desired=2, weight=20, rollout=canary), replicas(desired=3, weight=50, rollout=canary)
    (1, 2)
    >>> fixed = Rollout(strategy="Canary", canary=Canary(replicas=2))
    >>> replicas(desired=4, weight=25, rollout=fixed), replicas(desired=4, weight=5, rollout=fixed)
    (2, 1)
    """
    fixed = rollout.canary.replicas if rollout.canary else "Proportional"
    if isinstance(fixed, str):
        return max(1, ceil(desired * weight / ALL))
    in_place = rollout.capacity == "InPlace"
    missing = 0 if rollout.capacity == "Surge" else max(int(in_place), rollout.max_unavailable)
    stable = max(1, share(desired=desired, weight=weight) - missing)
    return max(1, min(fixed, desired, desired + (0 if in_place else rollout.max_surge) - stable))


def share(*, desired: int, weight: int) -> int:
    """Answer the replicas that stable needs beside a new revision with this weight; none beside one with everything.

    It is the inverse of `carried`, which rounds down: two of three carry 66 %, and the third one the rest.

    >>> share(desired=3, weight=50), share(desired=1, weight=99), share(desired=2, weight=100)
    (2, 1, 0)
    >>> share(desired=3, weight=carried(desired=3, warm=2))
    1
    """
    return desired * (ALL - 1 - weight) // ALL + 1 if weight < ALL else 0


def carried(*, desired: int, warm: int) -> int:
    """Answer the percent of the traffic that so many warm replicas may get.

    >>> carried(desired=3, warm=1), carried(desired=2, warm=5), carried(desired=0, warm=0)
    (33, 100, 100)
    """
    return ALL if warm >= desired else floor(ALL * warm / desired)
