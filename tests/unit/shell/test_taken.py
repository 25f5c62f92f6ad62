"""Names that somebody else has: remembered for a while, left out of plans meanwhile, tried again after."""

from types import MappingProxyType

from modelfleet.core.plan import Create, Plan
from modelfleet.shell.taken import TAKEN_SECONDS, NameTaken, Taken

KEY, OTHER = ("team", "chat"), ("team", "code")
SERVICE = Create(manifest=MappingProxyType({"kind": "Service", "metadata": {"name": "chat"}}))
DEPLOYMENT = Create(manifest=MappingProxyType({"kind": "Deployment", "metadata": {"name": "chat"}}))


def test_a_taken_name_is_left_out_for_a_while_and_then_tried_again() -> None:
    now = 0.0
    taken = Taken(clock=lambda: now)
    plan = Plan(actions=(SERVICE, DEPLOYMENT))
    assert taken.without(KEY, plan) == plan
    taken.put(KEY, NameTaken(kind="Service", name="chat"))
    assert taken.of(KEY) == ("Service chat",)
    held = taken.without(KEY, plan)
    assert (held.actions, held.requeue_after) == ((DEPLOYMENT,), TAKEN_SECONDS)
    assert taken.without(OTHER, plan) == plan
    now = TAKEN_SECONDS
    assert taken.of(KEY) == ()
    assert taken.without(KEY, plan) == plan


def test_who_is_gone_is_forgotten() -> None:
    taken = Taken(clock=lambda: 0.0)
    taken.put(KEY, NameTaken(kind="Service", name="chat"))
    taken.forget(KEY)
    assert taken.of(KEY) == ()
