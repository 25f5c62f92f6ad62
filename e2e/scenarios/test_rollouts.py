"""Rollouts that judge themselves, on real vLLM, Prometheus and Envoy, while two dozen clients stream."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from e2e import fleet, reach
from e2e.cluster import external, whole
from e2e.edge import Edge
from e2e.llm import ENGINE, START_SECONDS, Llm, kill, restarts, uids
from e2e.prober import TOKENS, check, probing
from e2e.rollouts import Json, act, begun, follow, of, promoted, reasons, rolling, told, unrouted, weights
from e2e.spoiling import Spoiling, spoiling
from modelfleet.cli.rollout_view import serving as stable

LONG = 96
"""Tokens of an answer that is worth waiting for."""
SLOWER: dict[str, tuple[dict[str, Any], int]] = {
    # The others wait for their first token.
    "one request at a time": ({"engine": {"args": [*ENGINE["args"], "--max-num-seqs=1"]}}, LONG),
    # A tenth of a core: a second makes some eighty tokens, and a start takes minutes. Two dozen clients that all end up
    # waiting here have a token each quarter of a second.
    "a tighter CPU limit": ({"resources": {"limits": {"cpu": "100m"}}}, TOKENS),
}
"""What makes it slower → the change, and the tokens of an answer."""
COPIES = 50
"""Percent of the requests."""
TO_THE_END = ["WeightSet", "StepPassed", "WeightSet", "StepPassed", "WeightSet", "Promoted"]
PROMETHEUS = ("deployment/prometheus", "-n", "monitoring")
ours = pytest.mark.skipif(external.configured() is not None, reason="does harm to what may be somebody's")


@pytest.mark.short
def test_a_good_canary_is_promoted_by_itself(serving: Llm, edge: Edge) -> None:
    """Given a new revision as good as the old, when it rolls out, then it gets 20, 50 and 100 % and nobody notices."""
    old = stable(serving.status())
    with probing(serving, by=edge) as prober:
        prober.await_flow()
        serving.change()
        new = begun(serving)
        warm = of(serving, new)
        promoted(serving, revision=new)
        prober.await_flow()
        blast = prober.end()
    check(blast, revisions={old, new})
    assert reasons(serving.status())[-len(TO_THE_END) :] == TO_THE_END
    assert weights(serving.status()) == {new: 100}
    serving.await_settled(replicas=1)
    assert uids(serving.pods()) == warm, "promotion restarts nothing"
    assert restarts(serving.pods()) == 0


@ours
@pytest.mark.short
def test_killed_operators_do_not_change_its_end(serving: Llm, edge: Edge) -> None:
    """Given a canary, when the leading operator is killed in a step and at the next, then the end is the same."""
    old = stable(serving.status())
    with probing(serving, by=edge) as prober:
        prober.await_flow()
        serving.change()
        new = begun(serving)
        warm = of(serving, new)
        for wanted in ({old: 80, new: 20}, {old: 50, new: 50}):
            follow(serving, f"{wanted}", partial(has, wanted))
            kill_leader(serving)
        promoted(serving, revision=new)
        prober.await_flow()
        blast = prober.end()
    check(blast, revisions={old, new})
    assert reasons(serving.status())[-len(TO_THE_END) :] == TO_THE_END
    serving.await_settled(replicas=1)
    assert uids(serving.pods()) == warm


def has(wanted: dict[str, int], status: Json) -> bool:
    return weights(status) == wanted


def kill_leader(llm: Llm) -> None:
    """End the leading operator as a power cut would, and wait until another leads."""
    name = llm.until("a leader", fleet.leader)
    (pod,) = (pod for pod in fleet.operators() if pod["metadata"]["name"] == name)
    kill(pod)
    llm.until("another leader", lambda: fleet.leader() not in {"", name})


@pytest.mark.parametrize("slower", [pytest.param(next(iter(SLOWER)), marks=pytest.mark.short), *list(SLOWER)[1:]])
def test_a_slower_canary_is_rolled_back_with_numbers(serving: Llm, edge: Edge, slower: str) -> None:
    """Given a revision that makes clients wait, when it rolls out, then it loses its traffic by itself and says why."""
    change, tokens = SLOWER[slower]
    old, before = stable(serving.status()), uids(serving.pods())
    with probing(serving, by=edge, tokens=tokens) as prober:
        prober.await_flow()
        serving.patch(change)
        new = begun(serving)
        follow(serving, "the rollback", lambda status: "RolledBack" in reasons(status)[-1:])
        follow(serving, "every Envoy knows", partial(unrouted, revision=new))
        gone = prober.moment()
        prober.await_flow()
        blast = prober.end()
    assert weights(serving.status()) == {old: 100}
    check(blast, revisions={old, new}, spared={old}, until={new: gone})
    assert blast.began("begun", of=new) <= gone, "no stream came after"
    assert serving.condition("Degraded") == ("True", "RolledBack")
    assert re.search(r"canary [\d.]+% of \d+, stable [\d.]+% of \d+ \(\w+", serving.message("Degraded"))
    serving.until("only stable's pods", lambda: uids(serving.owned("pods")) == before, seconds=START_SECONDS)
    assert restarts(serving.pods()) == 0
    print(took(serving))


def took(llm: Llm) -> str:
    """Between the first traffic and the loss of all of it, as the decisions tell."""
    decisions = llm.decisions("Rollout")
    first = next(one["time"] for one in reversed(decisions) if one["reason"] == "WeightSet")
    return f"traffic from {first} to {decisions[-1]['time']}: {decisions[-1]['message']}"


@pytest.fixture
def prometheus() -> Iterator[None]:
    """It is there again after the test."""
    yield
    whole.kubectl("scale", *PROMETHEUS, "--replicas=1")
    whole.kubectl("rollout", "status", *PROMETHEUS, "--timeout=120s")


@ours
@pytest.mark.usefixtures("prometheus")
def test_without_prometheus_it_holds(serving: Llm, edge: Edge) -> None:
    """Given a canary in a step, when Prometheus is away, then it holds and says so, and goes on when it is back."""
    old = stable(serving.status())
    with probing(serving, by=edge) as prober:
        prober.await_flow()
        serving.change()
        new = begun(serving)
        whole.kubectl("scale", *PROMETHEUS, "--replicas=0")
        held = follow(serving, "a hold", lambda status: told(status, "hold") == "NoData")
        whole.kubectl("scale", *PROMETHEUS, "--replicas=1")
        follow(serving, "the hold is over", lambda status: not told(status, "hold"))
        promoted(serving, revision=new)
        blast = prober.end()
    assert weights(held) == {old: 80, new: 20}
    check(blast, revisions={old, new})
    assert reasons(serving.status())[-len(TO_THE_END) :] == TO_THE_END


@pytest.fixture
def spoiled(serving: Llm) -> Iterator[Spoiling]:
    """The operator's Prometheus answers as the test says; the real one again after the test."""
    with spoiling(serving) as found:
        yield found


@ours
def test_answers_without_series_or_numbers_hold_it(serving: Llm, edge: Edge, spoiled: Spoiling) -> None:
    """Given a canary in a step, when Prometheus' answers are empty or NaN, then it holds each time, and goes on after."""
    old = stable(serving.status())
    with probing(serving, by=edge) as prober:
        prober.await_flow()
        serving.change()
        new = begun(serving)
        for fault in ("empty", "nan"):
            spoiled.answer(fault)
            held = follow(serving, f"a hold, as it is {fault}", lambda status: told(status, "hold") == "NoData")
            assert weights(held).keys() == {old, new}
            spoiled.mend()
            follow(serving, "the hold is over", lambda status: not told(status, "hold"))
        promoted(serving, revision=new)
        blast = prober.end()
    check(blast, revisions={old, new})
    assert reasons(serving.status())[-len(TO_THE_END) :] == TO_THE_END


def test_another_revision_and_an_abort_in_the_middle(serving: Llm, edge: Edge) -> None:
    """Given a canary, when the spec changes, is taken back or a person aborts, then it leaves and no stream with it."""
    old, before = stable(serving.status()), uids(serving.pods())
    body = serving.body()["spec"]["engine"]["args"]
    with probing(serving, by=edge) as prober:
        prober.await_flow()
        serving.change()
        first = begun(serving)
        serving.change()
        follow(serving, "another takes over", lambda status: rolling(status) not in {"", first})
        second = begun(serving)
        serving.patch({"engine": {"args": body}})
        follow(serving, "all for the old", lambda status: weights(status) == {old: 100})
        follow(serving, "its end", lambda _: serving.settled(replicas=1))
        assert serving.condition("Degraded")[0] == "False", "a revert is no failure"
        serving.change()
        third = begun(serving)
        answer = act(serving, "abort")
        follow(serving, "all for the old", lambda status: weights(status) == {old: 100})
        prober.await_flow()
        blast = prober.end()
    assert answer["result"] == "Done", answer
    check(blast, revisions={old, first, second, third})
    assert serving.condition("Degraded") == ("True", "Aborted")
    serving.until("only stable's pods", lambda: uids(serving.owned("pods")) == before, seconds=START_SECONDS)
    assert restarts(serving.pods()) == 0


def test_blue_green_is_seen_before_it_serves_and_goes_back_at_once(serving: Llm, edge: Edge) -> None:
    """Given a preview that people look at, when it is promoted and taken back under load, then nobody notices."""
    old, before, model = stable(serving.status()), uids(serving.pods()), f"{serving.namespace}/{serving.name}"
    blue_green = {"strategy": "BlueGreen", "canary": None, "blueGreen": {}, "analysis": {"metrics": None}}
    serving.patch({"rollout": {**blue_green, "scaleDownDelaySeconds": 600}})
    with probing(serving, by=edge) as prober:
        prober.await_flow()
        serving.change()
        seen = follow(serving, "the preview", lambda status: told(status, "hold") == "ManualPause")
        new, warm = rolling(seen), of(serving, rolling(seen))
        assert weights(seen) == {old: 100}
        assert edge.ask(model, revision=new).headers["x-modelfleet-revision"] == new
        preview = reach.address(namespace=serving.namespace, name=f"{serving.name}-{new}")
        assert httpx.get(f"{preview}/v1/models", timeout=30).status_code == httpx.codes.OK
        assert new not in prober.blast().revisions
        act(serving, "promote", revision=new)
        promoted(serving, revision=new)
        prober.await_flow()
        begun_at = time.monotonic()
        assert act(serving, "rollback-to", revision=old)["result"] == "Done"
        follow(serving, "the old one serves", lambda status: stable(status) == old and weights(status) == {old: 100})
        print(f"rolled back in {time.monotonic() - begun_at:.1f} s")
        prober.await_flow()
        blast = prober.end()
    check(blast, revisions={old, new})
    assert blast.count("finished", of=new) > 0
    assert before <= uids(serving.pods()) <= before | warm, "warm when taken back"
    assert restarts(serving.pods()) == 0


def test_users_see_nothing_of_a_mirror(serving: Llm, edge: Edge) -> None:
    """Given a step of copies, when it runs, then the new revision works and no client has an answer of it."""
    old = stable(serving.status())
    serving.patch({"rollout": {"canary": {"mirror": {"percent": COPIES, "minSeconds": 60}}}})
    with probing(serving, by=edge) as prober:
        prober.await_flow()
        serving.change()
        seen = follow(serving, "copies", lambda status: told(status, "mirror") == COPIES)
        new = rolling(seen)
        asked = f'vllm:generation_tokens_total{{namespace="{serving.namespace}",pod=~".+-{new}-.+"}} > 100'
        serving.until("work of the copies", lambda: fleet.query(asked))
        compared = follow(serving, "a comparison", lambda s: (told(s, "analysis") or {}).get("results"))
        assert told(compared, "mirror") == COPIES
        assert new not in prober.blast().revisions
        begun(serving)
        assert "the copies were compared" in [one["message"] for one in serving.decisions("Rollout")]
        promoted(serving, revision=new)
        blast = prober.end()
    check(blast, revisions={old, new})
    assert reasons(serving.status())[-len(TO_THE_END) :] == TO_THE_END
