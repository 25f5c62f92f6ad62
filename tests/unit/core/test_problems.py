"""What is refused although the API server admitted it, and in which words."""

from typing import Any

import pytest

from modelfleet.core.problems import problem
from modelfleet.core.routing.model import Mirror
from modelfleet.core.routing.read import served
from modelfleet.core.world import RenderSettings
from tests.unit.core.cluster import IMAGES, Cluster, words


def found(*, gateway: str = "http://gateway", **rollout: Any) -> tuple[str, str]:
    """Reason and message; both empty when all is well."""
    cluster = Cluster(spec=words(rollout={"strategy": "Canary", **rollout}))
    one = problem(cluster.snapshot(settings=RenderSettings(engine_images=IMAGES, gateway_url=gateway)))
    return (one.reason, one.message) if one else ("", "")


def asking(query: str) -> dict[str, Any]:
    return {"analysis": {"metrics": [{"name": "custom", "query": query, "max": 1}]}}


def test_stages_need_someone_who_routes():
    assert found() == ("", "")
    reason, message = found(gateway="")
    assert reason == "GatewayRequired"
    assert "gateway.enabled" in message


def test_a_window_that_never_opens_is_told_at_once():
    assert found(window={"cron": "0 0 31 2 *", "durationMinutes": 5})[0] == "WindowInvalid"


@pytest.mark.parametrize(
    ("query", "named"),
    [('up{pod=~"$name-$cannary-.+"}', "$cannary"), ("rate(up[", "rollout.analysis.metrics[custom]")],
)
def test_a_query_that_could_never_be_answered_is_refused(query, named):
    reason, message = found(**asking(query))
    assert reason == "QueryInvalid"
    assert named in message


def test_a_query_with_what_can_be_filled_in_is_taken():
    assert found(**asking('sum(up{namespace="$namespace", pod=~"$name-($canary|$stable)-.+$"})')) == ("", "")


@pytest.mark.parametrize(
    ("percent", "copied"), [(10, 10), (100, 100), (0, None), (-1, None), (500, None), ("10", None), (None, None)]
)
def test_only_a_share_that_envoy_takes_is_mirrored(percent, copied):
    body = {
        "metadata": {"uid": "u", "namespace": "team", "name": "chat"},
        "status": {"rollout": {"revision": "b", "mirror": percent}},
    }
    assert served(body, pods=()).mirror == (Mirror(revision="b", percent=copied) if copied else None)
