"""What the operator costs: time to converge, CPU, memory and API writes, on a control plane with faked nodes.

Two operator replicas with leadership on; writes are counted from the API server's audit log, by user. The last line of
output is one line of JSON. It must not know how the operator works inside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import plain
from bench.processes import Spent, rss_mib
from e2e.cluster import audit
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.paths import CRD_DIR
from e2e.cluster.process import wait_until
from e2e.operator_process import OperatorProcess

FLEET = "/apis/modelfleet.dev/v1alpha1/namespaces/default/llmdeployments"
USERS = ("operator-0", "operator-1", "operator-2")
PATIENCE = 300.0
PODS = 2
"""Of each LLMDeployment."""


class Bench:
    """One control plane, its operators, and what is measured on them."""

    def __init__(self, *, plane: ControlPlane, folder: Path) -> None:
        self._plane, self._folder = plane, folder
        self.operators: list[OperatorProcess] = []

    def start_operator(self) -> OperatorProcess:
        """Starts one more replica, as a user of its own."""
        user = USERS[len(self.operators)]
        kubeconfig = self._plane.user_kubeconfig(user, cluster_role="cluster-admin")
        operator = OperatorProcess(
            kubeconfig=kubeconfig, folder=self._folder, settings={"MODELFLEET_LEASE_SECONDS": "15"}
        )
        self.operators.append(operator)
        operator.start()
        return operator

    def apply(self, name: str) -> None:
        """Creates an LLMDeployment of two replicas."""
        manifest = {
            "apiVersion": "modelfleet.dev/v1alpha1",
            "kind": "LLMDeployment",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"model": {"uri": "hf://org/model", "servedName": name}, "replicas": PODS},
        }
        self._plane.http.post(FLEET, json=manifest).raise_for_status()

    def settled(self) -> int:
        """Counts the LLMDeployments whose status says Ready of two replicas."""
        items = self._plane.http.get(FLEET, params={"resourceVersion": "0"}).json()["items"]
        return sum((one.get("status") or {}).get("readyReplicas") == PODS for one in items)

    def converge(self, count: int) -> None:
        """Waits until so many are settled; asks seldom, for a listing costs the server what a controller would get."""
        pause = 1.0 if count == 1 else 3.0
        wait_until(lambda: self.settled() == count, what=f"{count} settled objects", seconds=PATIENCE, pause=pause)

    def converged_after(self, *, since: int) -> float:
        """Seconds from the first creation of an LLMDeployment to the last status that we wrote, by the server's clock."""
        first, last = float("inf"), 0.0
        for event in audit.succeeded(self._plane.audit_log, since=since):
            resource, when = event["objectRef"].get("resource"), audit.moment(event)
            if event["verb"] == "create" and resource == "llmdeployments":
                first = min(first, when)
            elif event["user"]["username"] in USERS and event["objectRef"].get("subresource") == "status":
                last = max(last, when)
        return last - first

    def remove(self, name: str) -> None:
        """Deletes one and waits until its pods are gone."""
        self._plane.http.delete(f"{FLEET}/{name}").raise_for_status()
        selector = {"labelSelector": f"modelfleet.dev/llmdeployment={name}"}
        path = "/api/v1/namespaces/default/pods"
        wait_until(
            lambda: not self._plane.http.get(path, params=selector).json()["items"], what=f"{name}'s end", seconds=60
        )

    def spent(self) -> Spent:
        """Begins to measure the CPU time of every process."""
        mine = {user: operator.pid for user, operator in zip(USERS, self.operators, strict=False)}
        return Spent(mine | {child.name: child.pid for child in self._plane.children})

    def calls(self, *, since: int = 0) -> Any:
        """Counts the API calls since a mark."""
        return audit.calls(self._plane.audit_log, since=since)

    def writes(self, *, since: int = 0, leases: bool = False) -> int:
        """Sums the writes of all our replicas."""
        counted = self.calls(since=since)
        return sum(audit.writes(counted, user=user, leases=leases) for user in USERS)

    def mark(self) -> int:
        """Where the audit log ends now."""
        return audit.end(self._plane.audit_log)

    def quiet(self, *, seconds: float) -> None:
        """Waits until no write of ours was seen for so long."""
        last, since = -1, time.monotonic()
        end = since + PATIENCE
        while time.monotonic() - since < seconds:
            if (now := self.writes()) != last:
                last, since = now, time.monotonic()
            if time.monotonic() > end:
                raise AssertionError(f"the operator does not come to rest: {last} writes so far")
            time.sleep(0.5)

    def apply_times(self, *, since: int) -> list[float]:
        """Per LLMDeployment, seconds from its creation to that of the last object it owns, by the server's clock."""
        created: dict[str, float] = {}
        last: dict[str, float] = {}
        for event in audit.succeeded(self._plane.audit_log, since=since):
            if event["verb"] != "create" or "dryRun" in event["requestURI"]:
                continue
            name, resource = event["objectRef"].get("name", ""), event["objectRef"].get("resource")
            if resource == "llmdeployments":
                created[name] = audit.moment(event)
            elif event["user"]["username"] in USERS and resource not in {"events", "leases"}:
                owner = name if name in created else name.rpartition("-")[0]
                last[owner] = audit.moment(event)
        return [last[name] - when for name, when in created.items() if name in last]


def ours(spent: Spent) -> float:
    """CPU seconds of our replicas together."""
    return sum(spent.seconds.get(user, 0.0) for user in USERS)


def say(what: str) -> None:
    """Tells a person what is being measured."""
    print(f"[{time.strftime('%H:%M:%S')}] {what}", flush=True)


def measure(bench: Bench, *, singles: int, fleet: int, idle_seconds: float) -> dict[str, float]:
    """Runs every measurement in order; returns the figures by their JSON keys."""
    bench.start_operator()
    bench.start_operator()
    mark = bench.mark()
    say(f"{singles} objects, one at a time")
    for number in range(singles):
        bench.apply(f"single-{number}")
        bench.converge(1)
        bench.quiet(seconds=1)
        bench.remove(f"single-{number}")
    times = sorted(bench.apply_times(since=mark))
    bench.quiet(seconds=2)

    say(f"{fleet} objects at once")
    mark, spent = bench.mark(), bench.spent()
    for number in range(fleet):
        bench.apply(f"fleet-{number}")
    bench.converge(fleet)
    bench.quiet(seconds=3)
    converged = bench.converged_after(since=mark)
    spent.stop()
    table(bench.calls(since=mark))
    say(f"CPU seconds meanwhile: {spent}")
    written = bench.writes(since=mark)

    say(f"an idle fleet for {idle_seconds:.0f} s")
    mark, idling, begin = bench.mark(), bench.spent(), time.monotonic()
    time.sleep(idle_seconds)
    idle = time.monotonic() - begin
    idling.stop()
    idle_writes, lease_writes = bench.writes(since=mark), bench.writes(since=mark, leases=True)
    rss = max(rss_mib(operator.pid) for operator in bench.operators)

    say("an annotation on every object, then an operator restart")
    mark = bench.mark()
    bench._plane.kubectl("annotate", "llmdep", "--all", "note=nothing")  # noqa: SLF001 - the bench's own plane
    bench.quiet(seconds=5)
    noop = bench.writes(since=mark)

    mark = bench.mark()
    for operator in bench.operators:
        operator.stop()
    third = bench.start_operator()
    wait_until(lambda: f"modelfleet_reconcile_seconds_count {fleet}" in third.metrics(), what="a pass", seconds=120)
    bench.quiet(seconds=3)
    return {
        "apply_p50_ms": round(statistics.median(times) * 1000, 1),
        "apply_p99_ms": round(statistics.quantiles(times, n=100, method="inclusive")[-1] * 1000, 1),
        f"converge_{fleet}_s": round(converged, 1),
        "rss_mib": round(rss, 1),
        "cpu_s": round(ours(spent), 1),
        "all_cpu_s": round(spent.total, 1),
        "writes_per_object": round(written / fleet, 2),
        "noop_writes": noop,
        "restart_writes": bench.writes(since=mark),
        "idle_writes_per_min": round(idle_writes / idle * 60, 2),
        "lease_writes_per_min": round(lease_writes / idle * 60, 2),
        "idle_cpu_ratio": round(ours(idling) / idle, 4),
    }


def without_an_operator(objects: plain.Fleet, *, singles: int, figures: dict[str, float]) -> dict[str, float]:
    """Measures what Kubernetes alone takes, and how the operator's `figures` compare; by JSON keys as `measure`."""
    deployments = plain.deployments(objects)
    say(f"{singles} plain Deployments, one at a time, without an operator")
    alone = statistics.median(plain.seconds_alone(deployments[:singles])) * 1000
    found = {"plain_p50_ms": round(alone, 1), "apply_per_plain": round(figures["apply_p50_ms"] / alone, 2)}
    converged = figures[f"converge_{len(deployments)}_s"]
    for key, what, fleet, last in (
        ("plain", f"{len(deployments)} plain Deployments at once, without an operator", deployments, False),
        ("objects", "every object that the operator made, without an operator", objects, False),
        ("late", "the same, Services and disruption budgets when the pods are ready", objects, True),
    ):
        say(what)
        took, spent = plain.seconds_to_create(fleet, following_last=last)
        say(f"CPU seconds meanwhile: {spent}")
        found |= {f"{key}_s": round(took, 1), f"{key}_all_cpu_s": round(spent.total, 1)}
        found |= {f"converge_per_{key}": round(converged / took, 2)}
    return found


def table(counted: Any) -> None:
    """Prints API calls by user and verb; ours first."""
    shown = Table("user", "verb", "resource", "code", "calls", title="API calls while the fleet converged")
    order = sorted(counted.items(), key=lambda item: (item[0].user not in USERS, item[0].user, -item[1]))
    for call, number in order:
        if number > 5:
            shown.add_row(call.user, call.verb, call.resource, str(call.code), str(number))
    Console(width=140).print(shown)


def main() -> None:
    """Measures and prints; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleet", type=int, default=500, help="LLMDeployments of two pods each")
    parser.add_argument("--singles", type=int, default=30, help="repetitions with one object")
    parser.add_argument("--idle-seconds", type=float, default=60.0, help="how long to watch the idle fleet")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="modelfleet-bench-") as folder,
        plain.faked_plane(pods=given.fleet * PODS) as plane,
    ):
        plane.apply_files(CRD_DIR)
        bench = Bench(plane=plane, folder=Path(folder))
        try:
            figures = measure(bench, singles=given.singles, fleet=given.fleet, idle_seconds=given.idle_seconds)
        finally:
            for operator in bench.operators:
                operator.stop()
        objects = plain.owned(plane)
    figures |= without_an_operator(objects, singles=given.singles, figures=figures)
    shown = Table("figure", "value", title=f"{given.fleet} LLMDeployments, {given.fleet * PODS} pods")
    for name, value in figures.items():
        shown.add_row(name, str(value))
    Console().print(shown)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
