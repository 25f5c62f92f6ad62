"""What must hold of rollouts whatever happens on the way: arithmetic alone, then whole decisions on a small cluster."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelfleet.core.decide import decide
from modelfleet.core.rollout.targets import UNLIMITED, Count, Inputs, next_targets
from tests.property.effort import portion
from tests.unit.core.cluster import Cluster, words

fast = settings(max_examples=portion(60), suppress_health_check=[HealthCheck.too_slow])


@st.composite
def counts(draw):
    replicas = draw(st.integers(0, 6))
    ready = draw(st.integers(0, replicas))
    return Count(replicas=replicas, ready=ready, unscheduled=draw(st.integers(0, replicas - ready)))


looks = st.builds(
    Inputs,
    desired=st.integers(0, 6),
    new=counts(),
    old=counts(),
    max_surge=st.integers(0, 3),
    max_unavailable=st.integers(0, 3),
    capacity=st.sampled_from(["Auto", "Surge", "InPlace"]),
    free=st.one_of(st.none(), st.integers(0, 6), st.just(UNLIMITED)),
    claim_expired=st.booleans(),
)


@given(looks)
def test_no_step_takes_away_more_than_it_may(look):
    targets = next_targets(look)
    allowed = max(1, look.max_unavailable) if look.capacity == "InPlace" else look.max_unavailable
    ready = look.new.ready + look.old.ready
    if look.old.replicas:
        kept = min(targets.old, look.old.ready) + look.new.ready
        assert kept >= min(ready, look.desired - allowed)


@given(looks)
def test_no_step_asks_for_more_than_it_may(look):
    targets = next_targets(look)
    assert targets.new >= 0
    assert targets.old >= 0
    if not look.old.replicas:
        return
    assert targets.old <= look.old.replicas
    surge = 0 if look.capacity == "InPlace" else look.max_surge
    before = look.new.replicas + look.old.replicas
    assert targets.new + look.old.replicas <= max(look.desired + surge, before)
    if look.capacity != "Surge" and look.free is not None:
        assert targets.new - look.new.replicas <= look.free


@st.composite
def fleets(draw):
    capacity = draw(st.sampled_from(["Auto", "Surge", "InPlace"]))
    replicas = draw(st.integers(1, 4))
    surge = draw(st.integers(1, 2))
    unavailable = draw(st.integers(0, 2))
    rollout = {"capacity": capacity, "maxSurge": surge, "maxUnavailable": unavailable, "revisionHistoryLimit": 1}
    # Capacity allows: a spare device, or leave to go without one replica.
    spare = 0 if capacity == "InPlace" or (capacity == "Auto" and unavailable) else 1
    gpus = replicas + spare + draw(st.integers(0, 2))
    return Cluster(spec=words(replicas=replicas, rollout=rollout), gpus=gpus, drain=draw(st.integers(0, 2)))


events = st.lists(
    st.sampled_from(["pass", "pass", "pass", "controllers", "warm", "spec", "crash", "stale", "hold"]), max_size=40
)


def happen(cluster, event, *, number, held, data):
    """Let one thing happen; `held` is a plan decided earlier, carried out by a leader that was asleep meanwhile."""
    match event:
        case "pass":
            cluster.reconcile()
        case "controllers":
            cluster.controllers()
        case "warm":
            cluster.warm(count=1)
        case "spec":
            cluster.change(model={"uri": f"hf://org/m{number % 4}"})
        case "crash":
            plan = decide(cluster.snapshot())
            cluster.execute(plan, first=data.draw(st.integers(0, len(plan.actions))))
        case "stale" if held:
            cluster.execute(held, first=len(held.actions))


def play(cluster, story, data):
    """Let a history happen and check after every event."""
    rollout, desired = cluster.spec["rollout"], cluster.spec["replicas"]
    in_place = rollout["capacity"] == "InPlace"
    loss = max(int(in_place), rollout["maxUnavailable"])
    most = desired + (0 if in_place else rollout["maxSurge"])
    if rollout["capacity"] == "Auto":
        most = min(most, cluster.gpus)
    held = None
    cluster.settle()
    for number, event in enumerate(story):
        before = cluster.ready()
        if event == "hold":
            held = decide(cluster.snapshot())
        happen(cluster, event, number=number, held=held, data=data)
        cluster.now += 1
        assert cluster.ready() >= min(before, desired - loss), (event, cluster.shape())
        assert sum(w.replicas for w in cluster.workloads.values()) <= most, (event, cluster.shape())
        if rollout["capacity"] != "Surge" and cluster.gpus >= desired:
            assert all(p.scheduled for p in cluster.pods.values()), (event, cluster.shape())


@fast
@given(fleets(), events, st.data())
def test_any_history_keeps_the_promises_and_ends_at_the_wanted_revision(cluster, story, data):
    play(cluster, story, data)
    cluster.settle()
    assert {p.revision for p in cluster.pods.values()} == {cluster.revision}
    assert cluster.ready() == cluster.spec["replicas"]
    assert cluster.condition("Progressing")["reason"] == "UpToDate"
    writes = cluster.status_writes
    cluster.now += 3600
    plan = cluster.reconcile()
    assert not plan.actions
    assert not plan.reasons
    assert cluster.status_writes == writes


@fast
@given(st.integers(1, 4), st.sampled_from(["Auto", "InPlace"]), st.integers(0, 2), events, st.data())
def test_without_a_spare_device_nothing_is_lost_and_nothing_is_left_pending(replicas, capacity, drain, story, data):
    rollout = {"capacity": capacity, "maxSurge": 1, "maxUnavailable": 0}
    cluster = Cluster(spec=words(replicas=replicas, rollout=rollout), gpus=replicas, drain=drain)
    play(cluster, story, data)
    cluster.settle()
    assert cluster.ready() == replicas
    assert all(p.scheduled for p in cluster.pods.values())
