"""The order of a plan's writes."""

from typing import Any

from modelfleet.core import names
from modelfleet.core.plan import Create, DryRun, Scale, stages


def create(kind: str, *, revision: str = "r") -> Create:
    metadata: dict[str, Any] = {"name": kind, "labels": names.owned_labels(name="chat", revision=revision or None)}
    return Create(manifest={"kind": kind, "metadata": metadata})


def test_the_template_is_tried_before_it_is_stored_and_stored_before_it_runs() -> None:
    check, record, run = DryRun(manifest={}, revision="r"), create("ControllerRevision"), create("Deployment")
    stable, mine, budget = create("Service", revision=""), create("Service"), create("PodDisruptionBudget", revision="")
    ordered = stages([check, record, run, stable, mine, budget])
    assert ordered == [(check,), (record,), (run, stable, mine, budget)]


def test_a_route_is_created_after_the_services_that_it_names() -> None:
    service, route = create("Service"), create("HTTPRoute", revision="")
    assert stages([route, service]) == [(service,), (route,)]


def test_changes_of_replicas_keep_their_order_one_by_one() -> None:
    more, less = (Scale(name=name, resource_version="1", replicas=1) for name in ("more", "less"))
    assert stages([more, less, create("Service")]) == [(create("Service"),), (more,), (less,)]
