"""Which nodes count for a pod: as the scheduler reads its selector, its required affinity and its tolerations."""

import pytest

from modelfleet.core.fit import Claim, Node, Want, room
from modelfleet.core.scheduling import ANYWHERE, node_choice

GPU = "nvidia.com/gpu"
TEAM = ("team", "a", "NoSchedule")


def node(name="n", *, gpus=4, **more):
    return Node(name=name, labels=more.pop("labels", {}), allocatable={GPU: gpus}, **more)


def fits(*nodes, claims=(), **pod):
    return room(want=Want(resource=GPU, count=1, choice=node_choice(pod)), nodes=nodes, claims=claims).replicas


def affinity(*terms):
    required = {"nodeSelectorTerms": list(terms)}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def line(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "team", "operator": "Exists"}, True),
        ({"key": "team", "value": "a", "effect": "NoSchedule"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "team", "operator": "Equal", "value": "b"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "team", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "team"}, False),
    ],
)
def test_a_tainted_node_counts_for_who_tolerates_it(toleration, tolerated):
    assert fits(node(taints=(TEAM,)), tolerations=[toleration]) == (4 if tolerated else 0)
    assert fits(node(taints=(TEAM, ("other", "", "NoExecute"))), tolerations=[{"key": "team", "value": "a"}]) == 0


def test_a_cordoned_node_takes_who_tolerates_that():
    assert fits(node(schedulable=False)) == 0
    assert fits(node(schedulable=False), tolerations=[{"operator": "Exists"}]) == 4


@pytest.mark.parametrize(
    ("term", "met"),
    [
        (line("zone", "In", "a", "b"), True),
        (line("zone", "In", "b"), False),
        (line("zone", "NotIn", "b"), True),
        (line("zone", "NotIn", "a"), False),
        (line("missing", "NotIn", "a"), True),
        (line("zone", "Exists"), True),
        (line("missing", "Exists"), False),
        (line("missing", "DoesNotExist"), True),
        (line("zone", "DoesNotExist"), False),
        (line("memory", "Gt", "79"), True),
        (line("memory", "Gt", "80"), False),
        (line("memory", "Lt", "81"), True),
        (line("zone", "Gt", "1"), False),
        (line("missing", "Lt", "1"), False),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}, True),
        ({"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n"]}]}, False),
        ({}, False),
    ],
)
def test_a_term_of_the_required_affinity_is_read_as_the_scheduler_does(term, met):
    one = node(labels={"zone": "a", "memory": "80"})
    assert fits(one, affinity=affinity(term)) == (4 if met else 0)
    assert fits(one, affinity=affinity(term, line("zone", "In", "a"))) == 4, "one term is enough"


def test_all_of_a_selector_and_all_lines_of_a_term_must_hold():
    one = node(labels={"zone": "a", "disk": "ssd"})
    assert fits(one, nodeSelector={"zone": "a", "disk": "ssd"}) == 4
    assert fits(one, nodeSelector={"zone": "a", "disk": "hdd"}) == 0
    both = {
        "matchExpressions": [*line("zone", "Exists")["matchExpressions"], *line("gone", "Exists")["matchExpressions"]]
    }
    assert fits(one, affinity=affinity(both)) == 0


def test_who_waits_for_other_nodes_takes_nothing_from_these():
    a, b = node("a", labels={"pool": "a"}), node("b", labels={"pool": "b"})
    waiting = [Claim(resource=GPU, count=1, choice=node_choice({"nodeSelector": {"pool": "b"}}), times=4)]
    assert fits(a, b, claims=waiting, nodeSelector={"pool": "a"}) == 4
    assert fits(a, b, claims=waiting, nodeSelector={"pool": "b"}) == 0
    tainted = node("a", taints=(TEAM,))
    intolerant, tolerant = Claim(resource=GPU, count=1), [{"operator": "Exists"}]
    assert fits(tainted, claims=[intolerant], tolerations=tolerant) == 4


def test_the_largest_node_is_one_that_the_pod_may_choose():
    small, large = node("small", gpus=1, labels={"pool": "a"}), node("large", gpus=8, labels={"pool": "b"})
    choice = node_choice({"nodeSelector": {"pool": "a"}})
    assert room(want=Want(resource=GPU, count=1, choice=choice), nodes=[small, large], claims=[]).largest_node == 1


@pytest.mark.parametrize(
    "spec",
    ["text", {"tolerations": "all"}, {"affinity": {"nodeAffinity": 1}}, {"nodeSelector": ["a"]}, {"tolerations": [1]}],
)
def test_a_template_that_no_api_server_admits_restricts_nothing(spec):
    assert node_choice(spec) == ANYWHERE
