"""Following an LLMDeployment outlives cuts, and gives up when the cluster stays away."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from modelfleet.cli import cluster
from modelfleet.cli.cluster import CannotRead, Cluster, NoCluster

AWAY = NoCluster("The cluster does not answer: no route")


class Flaky(Cluster):
    """A cluster whose answers are scripted: an object, a list of changes, or an error."""

    def __init__(self, *, reads: list[Any], watches: list[Any]) -> None:
        self.namespace = "team-a"
        self._reads, self._watches = reads, watches

    async def read(self, name: str) -> dict[str, Any]:
        answer = self._reads.pop(0) if self._reads else AWAY
        if isinstance(answer, Exception):
            raise answer
        return {"metadata": {"name": name, "resourceVersion": str(answer)}}

    async def _changes(self, name: str, *, version: str) -> AsyncGenerator[dict[str, Any]]:
        for answer in self._watches.pop(0):
            if isinstance(answer, Exception):
                raise answer
            yield {"metadata": {"name": name, "resourceVersion": str(answer)}}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "FIRST_PAUSE", 0.0)


async def seen(flaky: Flaky) -> tuple[list[str], str]:
    """The versions that following showed, and the error it ended with."""
    versions = []
    try:
        async with aclosing(flaky.follow("chat")) as changes:
            async for obj in changes:
                versions.append(obj["metadata"]["resourceVersion"])  # noqa: PERF401 - the error comes in between
    except CannotRead as error:
        return versions, str(error)
    raise AssertionError("following ends by an error only")


async def test_a_watch_that_is_cut_goes_on_from_a_new_reading():
    versions, error = await seen(Flaky(reads=[1, 4], watches=[[2, AWAY], [5]]))
    assert versions == ["1", "2", "4", "5"]
    assert "does not answer" in error


async def test_a_watch_that_ends_by_itself_goes_on_from_a_new_reading():
    versions, _ = await seen(Flaky(reads=[1, 1, 3], watches=[[], [2], []]))
    assert versions == ["1", "1", "2", "3"]


async def test_a_cluster_that_comes_back_in_time_is_followed_on():
    away = [AWAY] * (cluster.RECONNECTS - 1)
    versions, _ = await seen(Flaky(reads=[1, *away, 2, *away, 3], watches=[[AWAY], [AWAY], []]))
    assert versions == ["1", "2", "3"]


async def test_a_cluster_that_is_away_from_the_start_is_not_waited_for():
    flaky = Flaky(reads=[AWAY, 1], watches=[[]])
    assert await seen(flaky) == ([], str(AWAY))


async def test_an_object_that_is_deleted_ends_it_at_once():
    flaky = Flaky(reads=[1, 2], watches=[[CannotRead("chat in team-a was deleted.")], []])
    assert await seen(flaky) == (["1"], "chat in team-a was deleted.")


@pytest.mark.parametrize(
    ("status", "kind", "word"),
    [
        (404, CannotRead, "kubectl get llmdep -A"),
        (403, CannotRead, "may not get"),
        (400, CannotRead, "denied by a policy"),
        (503, NoCluster, "answered 503"),
        (429, NoCluster, "answered 429"),
    ],
)
def test_each_refusal_says_what_to_do(status: int, kind: type[CannotRead], word: str):
    error = cluster.refusal(
        status=status, said="denied by a policy", asked="get llmdeployments", name="chat", namespace="team-a"
    )
    assert type(error) is kind
    assert word in str(error)
