"""What the control server promises to a real Envoy: order, isolation, nothing cut, every yes and no known."""

import asyncio
import dataclasses
import json
import os
from typing import Any

import aiohttp
from prometheus_client import REGISTRY, generate_latest

from modelfleet.core.decide import decide
from modelfleet.core.routing.model import ApiKey
from modelfleet.core.routing.router import Reports
from modelfleet.gateway import headers, proto, report
from modelfleet.gateway.ads import AdsServer
from modelfleet.gateway.snapshot import CLUSTERS, ENDPOINTS, ROUTES, Snapshot, resource
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import SECONDS, Envoy, eventually, running
from tests.gateway.gateway import KEY, Gateway, revision, served
from tests.unit.core.cluster import running as settled_model

CHANGES = int(os.environ.get("MODELFLEET_TEST_CHANGES", "100"))
"""How often the fleet changes beside a stream; the promise is made for 1,000."""


async def begun(response: aiohttp.ClientResponse) -> bytes:
    """Read the first event of a stream."""
    return await response.content.readuntil(b"\n\n")


def changed(snapshot: Snapshot, kind: str, name: str, message: Any) -> Snapshot:
    """The same snapshot with one resource put in or replaced; None takes it out."""
    of_kind = {n: r for n, r in snapshot.resources[kind].items() if n != name}
    if message is not None:
        of_kind[name] = resource(message)
    return dataclasses.replace(snapshot, resources={**snapshot.resources, kind: of_kind})


def told_by_metrics(gate: Gateway, snapshot: Snapshot) -> dict[str, float]:
    """What a scrape of the control process counts."""
    report.measure(report.State(ads=gate.ads, snapshot=snapshot))
    lines = [line.split() for line in generate_latest().decode().splitlines()]
    prefix = "modelfleet_gateway_envoys_"
    return {words[0].removeprefix(prefix): float(words[1]) for words in lines if words[0].startswith(prefix)}


def refused_tables() -> float:
    """How many route tables this process has seen refused, in whichever test."""
    return REGISTRY.get_sample_value("modelfleet_gateway_rejections_total", {"type": "RouteConfiguration"}) or 0


def route_accepted(gate: Gateway, snapshot: Snapshot, *, uid: str) -> tuple[str, str, str]:
    """The condition that the operator makes of what this control server reports."""
    told = report.acknowledgements(report.State(ads=gate.ads, snapshot=snapshot, fleet=gate.fleet))
    router = Reports(observed_at=0, envoys=("envoy-0",), replies=(json.loads(json.dumps(told)),)).of(uid)
    written = decide(settled_model(replicas=1).snapshot(router=router)).status
    (found,) = [one for one in written["conditions"] if one["type"] == "RouteAccepted"]
    return found["status"], found["reason"], found.get("message", "")


async def test_no_change_of_keys_models_or_weights_cuts_a_stream(gate: Gateway):
    engine, other = Engine(name="a"), Engine(name="b")
    async with serving(engine, other):
        await gate.apply(served("chat", revision("r1", engine)))
        before = await gate.listener_version()
        async with gate.ask({"model": "chat", "stream": True, "max_tokens": 5}) as response:
            first = await begun(response)
            for number in range(CHANGES):
                extra = served(f"m{number}", revision("r1", other))
                weights = revision("r1", engine, weight=100 - number % 100), revision("r2", other, weight=number % 100)
                key = ApiKey(tenant="team-a", key=f"key-{number}")
                await gate.apply(served("chat", *weights), extra, keys=(KEY, key))
            status, answer, _ = await gate.chat(f"m{CHANGES - 1}", key=f"key-{CHANGES - 1}")
            assert (status, answer["served_by"]) == (200, "b"), "the last change is in use"
            assert (await gate.chat("chat", key="key-0"))[0] == (401 if CHANGES > 1 else 200), "a revoked key is out"
            engine.go_on.set()
            whole = first + await response.read()
        assert whole.count(b"chunk") == 5
        assert whole.endswith(b"data: [DONE]\n\n")
        assert await gate.listener_version() == before
        assert gate.rejections == []


async def test_a_stream_outlives_its_pod_in_the_routes_its_revision_and_its_model(gate: Gateway):
    engine, heir = Engine(name="a"), Engine(name="heir")
    async with serving(engine, heir):
        await gate.apply(served("chat", revision("r1", engine)), served("other", revision("r1", heir)))
        async with gate.ask({"model": "chat", "stream": True, "max_tokens": 4}) as response:
            first = await begun(response)
            await gate.apply(served("chat", revision("r1", heir)), served("other", revision("r1", heir)))
            assert {(await gate.chat("chat"))[1]["served_by"] for _ in range(10)} == {"heir"}
            await gate.apply(served("chat", revision("r2", heir)), served("other", revision("r1", heir)))
            await gate.apply(served("other", revision("r1", heir)))
            assert (await gate.chat("chat"))[0] == 404
            engine.go_on.set()
            whole = first + await response.read()
        assert whole.count(b"chunk") == 4
        assert whole.endswith(b"data: [DONE]\n\n")

        async def only_other() -> bool:
            stats = await gate.envoy.stats("cluster_manager.active_clusters")
            return stats["cluster_manager.active_clusters"] == 2  # and the control server's own

        await eventually(only_other, what="the end of the old clusters")


async def test_the_first_event_of_a_stream_waits_for_no_second(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        await gate.apply(served("chat", revision("r1", engine)))
        async with gate.ask({"model": "chat", "stream": True, "max_tokens": 2}) as response:
            async with asyncio.timeout(SECONDS):
                assert b"t0" in await begun(response)
            assert engine.open_streams == 1, "the engine still holds the rest"
            engine.go_on.set()
            assert (await response.read()).endswith(b"data: [DONE]\n\n")


async def test_a_new_model_is_never_routed_to_before_it_is_there(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        models = []
        for number in range(30):
            models.append(served(f"m{number}", revision("r1", engine)))
            gate.publish(*models)

            async def answered(name: str = f"m{number}") -> int:
                status = (await gate.chat(name))[0]
                assert status in {200, 404}, f"{name}: {status} between unknown and served; {gate.seen()}"
                return status == 200

            await eventually(answered, what="a route to the new model", tell=gate.seen)


async def test_a_rejected_table_leaves_the_old_one_and_is_told(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        good = await gate.apply(served("chat", revision("r1", engine)))
        newer = gate.renderer.render(
            dataclasses.replace(
                gate.fleet, models=(served("chat", revision("r1", engine), created="2027-01-01T00:00:00Z"),)
            )
        )
        table = proto.routes.RouteConfiguration.FromString(good.resources[ROUTES][headers.ROUTES].body.value)
        table.virtual_hosts.append(table.virtual_hosts[0])
        moved = {uid: dataclasses.replace(m, digest="next", route_version="next") for uid, m in newer.models.items()}
        bad = changed(dataclasses.replace(good, models=moved), ROUTES, headers.ROUTES, table)
        counted = refused_tables()
        gate.ads.publish(bad)

        async def told() -> list[Any]:
            return gate.rejections

        rejection = (await eventually(told, what="a rejection", tell=gate.seen))[0]
        assert rejection.kind == ROUTES
        assert "wildcard domain" in rejection.message, "Envoy's own words"
        stream = gate.ads.streams()["envoy-0"]
        assert ROUTES in stream.rejections
        assert told_by_metrics(gate, bad) == {"behind": 1, "refusing": 1}
        assert refused_tables() == counted + 1
        uid = "uid-team-a-chat"
        assert route_accepted(gate, bad, uid=uid) == ("False", "RejectedByEnvoy", rejection.message)
        assert stream.confirmed[uid] != "next", "what was rejected is not acknowledged"
        assert (await gate.chat("chat"))[0] == 200, "the old table is in use"
        mended = await gate.apply(served("chat", revision("r1", engine), adapter_names=("sql",)))
        assert stream.rejections == {}
        assert told_by_metrics(gate, mended) == {"behind": 0, "refusing": 0}
        assert refused_tables() == counted + 1, "a yes is no no"
        assert route_accepted(gate, mended, uid=uid)[:2] == ("True", "Accepted")
        assert (await gate.chat("sql"))[0] == 200


async def test_a_bad_cluster_keeps_no_other_model_back(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        rendered = gate.renderer.render(
            dataclasses.replace(
                gate.fleet,
                keys=(KEY,),
                models=(served("bad", revision("r1", engine)), served("good", revision("r1", engine))),
            )
        )
        bad = proto.cluster.Cluster.FromString(rendered.resources[CLUSTERS]["team-a/bad/r1"].body.value)
        bad.outlier_detection.max_ejection_percent.value = 1000
        gate.ads.publish(changed(rendered, CLUSTERS, bad.name, bad))

        async def confirmed() -> bool:
            return "uid-team-a-good" in gate.ads.streams()["envoy-0"].confirmed

        await eventually(confirmed, what="acknowledgement of the good one", tell=gate.seen)
        assert (await gate.chat("good"))[0] == 200
        stream = gate.ads.streams()["envoy-0"]
        assert "uid-team-a-bad" not in stream.confirmed
        assert stream.rejections[CLUSTERS].names == ("team-a/bad/r1",)
        assert "max_ejection_percent" in stream.rejections[CLUSTERS].message.lower().replace(
            "maxejection", "max_ejection_"
        )


async def test_a_cluster_that_never_warms_delays_no_other_model(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        stuck = served("stuck", revision("r1", engine))

        def without_endpoints(*models: Any) -> Snapshot:
            snapshot = gate.renderer.render(dataclasses.replace(gate.fleet, keys=(KEY,), models=(stuck, *models)))
            return changed(snapshot, ENDPOINTS, "team-a/stuck/r1", None)

        for number in range(5):
            models = [served(f"m{n}", revision("r1", engine)) for n in range(number + 1)]
            snapshot = without_endpoints(*models)
            gate.ads.publish(snapshot)
            wanted = {m.uid: snapshot.models[m.uid].digest for m in models}

            async def confirmed(snapshot: Snapshot = snapshot, wanted: dict[str, str] = wanted) -> bool:
                gate.ads.publish(snapshot)  # news that comes all the time does not prolong the wait
                return gate.ads.streams()["envoy-0"].confirmed == wanted

            # Envoy itself would wait 15 seconds for the endpoints.
            await eventually(confirmed, what="acknowledgement of the others", tell=gate.seen, seconds=12)
            assert (await gate.chat(f"m{number}"))[0] == 200
        assert gate.ads.streams()["envoy-0"].stuck == {"team-a/stuck/r1"}


async def test_a_control_server_that_comes_back_changes_nothing_and_knows_everything(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        snapshot = await gate.apply(*(served(f"m{n}", revision("r1", engine)) for n in range(5)))
        before = await gate.envoy.stats("(cluster_manager.cluster_modified|rds.*config_reload$|update_success$)")
        port = gate.envoy.control_port
        await gate.ads.stop()
        assert (await gate.chat("m0"))[0] == 200, "without any control server requests go on"
        gate.ads = AdsServer()
        gate.ads.publish(snapshot)
        await gate.ads.start(address=f"127.0.0.1:{port}")
        await gate.acknowledged(snapshot)
        after = await gate.envoy.stats("(cluster_manager.cluster_modified|rds.*config_reload$)")
        assert after == {name: before[name] for name in after}, "what Envoy had was sent again"
        await gate.apply(served("new", revision("r1", engine)))
        assert (await gate.chat("new"))[0] == 200


async def test_what_changed_while_no_control_server_was_there(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        await gate.apply(served("gone", revision("r1", engine)), served("kept", revision("r1", engine)))
        await gate.ads.stop()
        gate.ads = AdsServer()
        snapshot = gate.publish(served("kept", revision("r2", engine)), served("new", revision("r1", engine)))
        await gate.ads.start(address=f"127.0.0.1:{gate.envoy.control_port}")
        await gate.acknowledged(snapshot)
        found = {name: (await gate.chat(name))[::2] for name in ("gone", "kept", "new")}
        assert found == {"gone": (404, ""), "kept": (200, "r2"), "new": (200, "r1")}


async def test_every_envoy_acknowledges_for_itself(gate: Gateway):
    engine = Engine(name="a")
    async with serving(engine):
        first = await gate.apply(served("chat", revision("r1", engine)))
        second = Envoy(folder=gate.folder / "second", control_port=gate.envoy.control_port, node="envoy-1")
        async with running(second):
            await gate.acknowledged(first, node="envoy-1")
            snapshot = await gate.apply(served("chat", revision("r1", engine), adapter_names=("sql",)))
            await gate.acknowledged(snapshot, node="envoy-1")
            assert snapshot.models != first.models

        async def alone() -> bool:
            return set(gate.ads.streams()) == {"envoy-0"}

        await eventually(alone, what="the end of the stopped Envoy's stream")
