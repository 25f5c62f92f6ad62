"""The ledger of devices: nothing is counted twice while a plan is carried out, and nothing promised is given away."""

from contextlib import ExitStack
from typing import Any

from modelfleet.core.fit import Claim
from modelfleet.core.plan import Create, Scale
from modelfleet.core.world import Workload
from modelfleet.shell.devices import Devices, asked_for
from modelfleet.shell.queue import Key

ONE, TWO, NOBODY = ("team", "one"), ("team", "two"), ("team", "")
GPU = "nvidia.com/gpu"
TEMPLATE: dict[str, Any] = {"spec": {"containers": [{"resources": {"limits": {GPU: "2"}}}]}}


def claim(count: int = 1, *, node: str = "", times: int = 1) -> Claim:
    return Claim(resource=GPU, count=count, node=node, times=times)


def total(devices: Devices, *, asker: Key = NOBODY) -> int:
    return sum(c.count * c.times for c in devices.claims(asker=asker))


def test_equal_claims_are_summed_up_and_replaced_by_the_next_look() -> None:
    devices = Devices()
    devices.put(ONE, [claim(node="a"), claim(node="a")])
    devices.put(TWO, [claim(node="a"), claim()])
    assert sorted((c.node, c.times) for c in devices.claims(asker=NOBODY)) == [("", 1), ("a", 3)]
    devices.put(ONE, [])
    devices.put(TWO, [claim(times=2)])
    assert devices.claims(asker=NOBODY) == [claim(times=2)]


def test_what_a_plan_asks_for_is_taken_from_the_decision_on_and_counted_once() -> None:
    devices = Devices()
    devices.put(ONE, [claim(node="a")])
    with devices.promise(ONE, [claim()]):
        assert total(devices) == 2
        devices.put(ONE, [claim(node="a"), claim()])  # the Deployment that was asked for is there
        assert total(devices) == 2
        devices.put(TWO, [claim()])
        assert total(devices) == 3
    assert total(devices) == 3
    devices.put(ONE, [])
    assert total(devices) == 1


def test_what_a_rollout_gave_up_for_a_while_is_free_for_it_alone() -> None:
    devices = Devices()
    devices.put(ONE, [claim(node="a")], kept=[claim()])
    assert (total(devices, asker=ONE), total(devices, asker=TWO)) == (1, 2)
    with devices.promise(ONE, [claim(node="", times=1)]):
        assert total(devices, asker=TWO) == 2, "what it asks for is what was kept"
    with devices.promise(ONE, [claim(times=2)]):
        assert total(devices, asker=TWO) == 3
    devices.put(ONE, [claim(node="a"), claim()])
    assert total(devices) == 2


def test_a_plan_that_failed_asks_for_nothing_any_more() -> None:
    devices = Devices()
    with ExitStack() as failing:
        failing.enter_context(devices.promise(ONE, [claim()]))
        assert total(devices) == 1
    assert devices.claims(asker=NOBODY) == []


def test_only_more_replicas_ask_for_devices() -> None:
    def workload(name: str) -> Workload:
        return Workload(name=name, uid=name, resource_version="1", revision="r", replicas=2, template=TEMPLATE)

    new = {"kind": "Deployment", "metadata": {"name": "c"}, "spec": {"replicas": 3, "template": TEMPLATE}}
    actions = [
        Scale(name="a", resource_version="1", replicas=5),
        Scale(name="b", resource_version="1", replicas=1),
        Create(manifest=new),
        Create(manifest={"kind": "Service", "metadata": {"name": "c"}}),
    ]
    asked = list(asked_for(actions, workloads=[workload("a"), workload("b")]))
    assert asked == [claim(2, times=3), claim(2, times=3)]
