"""What is counted as taken: pods, replicas without one yet, and what a rollout gave up for a moment."""

from typing import Any

from modelfleet.shell.cache import Cache

GPU = "nvidia.com/gpu"
KEY, OTHER = ("team", "chat"), ("team", "code")
CONTAINERS: dict[str, Any] = {"containers": [{"name": "engine", "resources": {"limits": {GPU: "2"}}}]}


def body(kind: str, name: str, *, version: int, **more: Any) -> dict[str, Any]:
    labels = {"modelfleet.dev/llmdeployment": "chat", "modelfleet.dev/revision": name.rpartition("-")[2]}
    meta = {"name": name, "namespace": "team", "uid": name, "resourceVersion": str(version), "labels": labels}
    return {"kind": kind, "metadata": meta, **more}


def fleet(*, had: int | None, version: int, desired: int = 2, suspend: bool = False) -> dict[str, Any]:
    """An LLMDeployment; `had` are the devices that its revision change has had, None without one."""
    status: dict[str, Any] = {"scaling": {"desired": desired}} | ({"rollout": {"gpus": had}} if had else {})
    return body("LLMDeployment", "chat", version=version, spec={"suspend": suspend}, status=status)


def deployment(*, replicas: int, version: int, revision: str = "r1") -> dict[str, Any]:
    template = {"metadata": {"labels": {}}, "spec": CONTAINERS}
    return body(
        "Deployment", f"chat-{revision}", version=version, spec={"replicas": replicas, "template": template}, status={}
    )


def taken(cache: Cache, *, asker: tuple[str, str]) -> int:
    return sum(claim.count * claim.times for claim in cache.devices.claims(asker=asker))


def test_a_replica_given_up_in_a_rollout_is_nobody_elses() -> None:
    cache = Cache()
    cache.observe(fleet(had=4, version=1))
    cache.observe(deployment(replicas=2, version=2))
    assert (taken(cache, asker=KEY), taken(cache, asker=OTHER)) == (4, 4)
    cache.observe(deployment(replicas=1, version=3))
    assert (taken(cache, asker=KEY), taken(cache, asker=OTHER)) == (2, 4)
    cache.observe(deployment(replicas=1, version=4, revision="r2"))
    assert (taken(cache, asker=KEY), taken(cache, asker=OTHER)) == (4, 4)


def test_what_is_wanted_and_was_never_had_is_not_kept() -> None:
    cache = Cache()
    cache.observe(fleet(had=None, desired=8, version=1))
    cache.observe(deployment(replicas=2, version=2))
    assert taken(cache, asker=OTHER) == 4, "a quota gives no more"
    cache.observe(fleet(had=4, desired=8, version=3))
    assert taken(cache, asker=OTHER) == 4
    cache.observe(deployment(replicas=0, version=4))
    assert (taken(cache, asker=KEY), taken(cache, asker=OTHER)) == (0, 4)


def test_devices_are_kept_one_by_one_whatever_a_replica_gets() -> None:
    cache = Cache()
    cache.observe(fleet(had=7, version=1))
    cache.observe(deployment(replicas=0, version=2))
    assert sorted((c.count, c.times) for c in cache.devices.claims(asker=OTHER)) == [(1, 1), (2, 3)]
    cache.observe(deployment(replicas=4, version=3))
    assert taken(cache, asker=OTHER) == 8


def test_who_ends_its_change_or_is_frozen_keeps_nothing() -> None:
    cache = Cache()
    cache.observe(fleet(had=4, version=1))
    cache.observe(deployment(replicas=1, version=2))
    cache.observe(fleet(had=None, version=3))
    assert taken(cache, asker=OTHER) == 2
    cache.observe(fleet(had=4, version=4, suspend=True))
    assert taken(cache, asker=OTHER) == 2
    cache.observe(fleet(had=4, version=5))
    assert taken(cache, asker=OTHER) == 4
    cache.observe(fleet(had=4, version=6), deleted=True)
    assert taken(cache, asker=OTHER) == 2, "its replicas end by themselves"
