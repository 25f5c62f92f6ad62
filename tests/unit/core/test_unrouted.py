"""What status says of a revision that lost its traffic, as the scenarios read it: not gone before every Envoy knows."""

import pytest

from e2e.rollouts import unrouted
from tests.unit.core.staged_cluster import FAIL, StagedCluster


def losing(fleet: StagedCluster, *, by: str) -> str:
    """A canary in its first step, and what takes its traffic away; gives its hash."""
    _, new = fleet.update()
    fleet.until(lambda: fleet.weights.get(new) and "stepStartedAt" in fleet.rollout, seconds=1)
    fleet.deaf = True
    if by == "a verdict":
        fleet.says = FAIL
    elif by == "a person":
        fleet.act_on("abort 1")
    else:
        for name in [name for name, pod in fleet.pods.items() if pod.revision == new]:
            del fleet.pods[name]
    return new


@pytest.mark.parametrize("by", ["a verdict", "a person", "its node"])
def test_a_revision_is_unrouted_when_every_envoy_has_said_so(judged, by):
    fleet = judged(rollout={"canary": {"steps": [{"weight": 20, "minSeconds": 3600}]}})
    new = losing(fleet, by=by)
    for _ in range(5):
        assert not unrouted(fleet.status, revision=new), fleet.rollout
        fleet.turn(seconds=1, warm=False)
    assert fleet.weights.get(new, 0) == 0
    fleet.deaf = False
    fleet.until(lambda: unrouted(fleet.status, revision=new), passes=3, seconds=1, warm=False)
