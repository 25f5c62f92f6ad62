"""`make demo`: from nothing to a real model that answers, scales, and is rolled out by what is measured; leaves the cluster up.

Reads like the tutorial, which follows the same path. It must not show a stack trace: what fails says what to do next.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

from e2e import demo_rollout, fleet, images
from e2e.cluster import build, external, whole
from e2e.cluster.build import BuildError
from e2e.cluster.certs import CertificateError
from e2e.cluster.host import HostError
from e2e.cluster.process import ProcessError
from e2e.edge import Edge
from e2e.image_delivery import DeliveryError

NAME, NAMESPACE = "smollm2", "demo"
QUESTION = "What is the capital of France?"
READY_SECONDS = 600.0
SCALE_SECONDS = 600.0
INTERRUPTED = 130
"""What a shell shows of a program that Ctrl-C ended."""

console = Console(highlight=False)
_begun = time.monotonic()


class DemoError(Exception):
    """A step did not get to its end; the message says what was last seen and where to look."""


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show a step with a spinner while it runs and with its time when it is done."""
    begun = time.monotonic()
    with console.status(f"{title} …"):
        yield
    console.print(f"[green]✓[/] {title}  [dim]{time.monotonic() - begun:.0f} s, {elapsed()}[/]")


def elapsed() -> str:
    """Time since the demo began."""
    minutes, seconds = divmod(int(time.monotonic() - _begun), 60)
    return f"{minutes}:{seconds:02d} in all"


def until(what: str, seen: Callable[[], str], done: Callable[[str], bool], *, seconds: float) -> str:
    """Wait until `done(seen())`, showing each change of what is seen."""
    deadline, last = time.monotonic() + seconds, ""
    with console.status(f"waiting for {what} …"):
        while time.monotonic() < deadline:
            now = seen()
            if now != last:
                console.print(f"    [dim]{now}  {elapsed()}[/]")
                last = now
            if done(now):
                return now
            time.sleep(1)
    raise DemoError(f"{what} did not happen within {seconds:.0f} s; last seen: {last}")


def show() -> str:
    """One line about the LLMDeployment."""
    status = fleet.get(namespace=NAMESPACE, name=NAME).get("status") or {}
    said = (status.get("scaling") or {}).get("desired", "?")
    phase, ready, gpus = status.get("phase", "-"), status.get("readyReplicas", 0), status.get("gpus", 0)
    return f"phase {phase}, {ready} of {said} replicas ready, {gpus} GPUs"


def ready_replicas() -> int:
    """Replicas that are ready now."""
    return int((fleet.get(namespace=NAMESPACE, name=NAME).get("status") or {}).get("readyReplicas", 0))


def decision(kind: str) -> str:
    """The last decision of a kind, as a person reads it."""
    decisions = (fleet.get(namespace=NAMESPACE, name=NAME).get("status") or {}).get("decisions") or []
    last = next((d for d in reversed(decisions) if d["kind"] == kind), None)
    return f"{last['reason']}: {last['message']}" if last else "none yet"


def main() -> int:
    """Run the demo; returns the exit status."""
    try:
        walk()
    except (
        DemoError,
        demo_rollout.RolloutError,
        BuildError,
        CertificateError,
        DeliveryError,
        HostError,
        ProcessError,
        RuntimeError,
        OSError,
        ValueError,
        httpx.HTTPError,
    ) as error:
        console.print(f"[red]✗[/] {escape(str(error))}")
        console.print("  look at: make cluster-status, and the operator's log:")
        look("kubectl logs -n modelfleet-system -l app.kubernetes.io/name=modelfleet-operator")
        return 1
    except subprocess.CalledProcessError as error:
        console.print(f"[red]✗[/] {error.cmd[0]} ended with {error.returncode}; its last output is above")
        return 1
    except subprocess.TimeoutExpired as error:
        console.print(f"[red]✗[/] {error.cmd[0]} did not end within {error.timeout:.0f} s; a busy machine?")
        console.print("  `make demo` goes on from what is there already")
        return 1
    except KeyboardInterrupt:
        console.print("\n[red]✗[/] stopped. What is up stays up: `make demo` goes on, `make cluster-down` ends it")
        return INTERRUPTED
    return 0


def walk() -> None:
    """All steps in order."""
    console.print("[bold]1. A real Kubernetes on this machine[/]")
    whole.up(say=lambda line: console.print(f"    [dim]{line}[/]"))
    console.print("[bold]2. ModelFleet, installed by Helm[/]")
    with step("images built and loaded"):
        fleet.load_images(say=lambda line: console.print(f"    [dim]{line}[/]"))
    with step("chart installed, operator and gateway ready"):
        fleet.install()
    console.print("[bold]3. A model[/]")
    serve()
    console.print("[bold]4. A key, and a question to the gateway[/]")
    by = admit()
    text, speed = fleet.ask(namespace=NAMESPACE, name=NAME, question=QUESTION, by=by)
    console.print(f"    [bold]{QUESTION}[/]\n    [cyan]{text}[/]  [dim]({speed:.0f} tokens per second)[/]")
    console.print("[bold]5. More load than one replica carries, and less again[/]")
    scale(by)
    console.print("[bold]6. A better revision, and a worse one[/]")
    demo_rollout.show(namespace=NAMESPACE, name=NAME, by=by, console=console)
    console.print(f"\n[bold green]Done[/] in {elapsed()}. The cluster is up; look around with:")
    look(f"kubectl get llmdep -n {NAMESPACE}; modelfleet explain {NAME} -n {NAMESPACE}")
    if not external.configured():
        console.print("End the cluster with: make cluster-down")


def look(command: str) -> None:
    """Print a command with what a shell needs for it; it may be the first time that this machine sees kubectl."""
    programs = f"{build.path_of('kubectl').parent}:{images.ROOT / '.venv' / 'bin'}"
    console.print(f"    export KUBECONFIG={whole.kubeconfig()} PATH={programs}:$PATH", soft_wrap=True)
    console.print(f"    {command}", soft_wrap=True)


def serve() -> None:
    """Apply the example and wait for it."""
    try:
        whole.kubectl("create", "namespace", NAMESPACE)
    except RuntimeError as error:
        if "already exists" not in str(error):
            raise
    with step("model converted and offered as a volume"):
        fleet.provide_model(namespace=NAMESPACE)
    text = (
        (images.ROOT / "examples" / f"{NAME}.yaml").read_text().replace(f"pvc://{NAME}/{NAME}", fleet.model_uri(NAME))
    )
    whole.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=text)
    console.print("    kubectl apply -f examples/smollm2.yaml")
    until("the first replica", show, lambda line: "phase Ready" in line, seconds=READY_SECONDS)
    console.print(f"[green]✓[/] ready  [dim]{elapsed()}[/]")


def admit() -> Edge:
    """Give the tenant `demo` a key: without it nothing answers, with it the models of its namespace do."""
    by = fleet.edge(tenant=NAMESPACE)
    stranger = httpx.post(f"{by.url}/v1/chat/completions", json={"model": NAME}, timeout=10)
    if stranger.status_code != httpx.codes.UNAUTHORIZED:
        raise DemoError(f"the gateway answered {stranger.status_code} to a request without a key, not 401")
    console.print(f"    [dim]{by.host} without a key: 401, {stranger.json()['error']['message']}[/]")
    revision = by.until(NAME, httpx.codes.OK).headers["x-modelfleet-revision"]
    console.print(f"[green]✓[/] with the key of tenant {NAMESPACE}: 200, by revision {revision}  [dim]{elapsed()}[/]")
    return by


def measured() -> str:
    """What the Envoys counted for the tenant in the last half minute."""
    mine = f'tenant="{NAMESPACE}",llmdeployment="{NAME}"'
    tokens = _sum(f"sum(rate(envoy_modelfleet_output_tokens_total{{{mine}}}[30s]))")
    flying = _sum(f"sum(envoy_modelfleet_requests_in_flight{{{mine}}})")
    return f"{tokens:.0f} tokens per second, {flying:.0f} requests in flight"


def _sum(promql: str) -> float:
    """Read the one value of a query; 0 while there is none."""
    found: Any = fleet.query(promql)
    return float(found[0]["value"][1]) if found else 0.0


def scale(by: Edge) -> None:
    """Send load until replicas are added and serve, stop, and wait until they are gone."""
    before = ready_replicas()
    fleet.stop_load(namespace=NAMESPACE)
    fleet.send_load(namespace=NAMESPACE, name=NAME, streams=24, seconds=SCALE_SECONDS, by=by)
    until("a scale-out", show, lambda _: ready_replicas() > before, seconds=SCALE_SECONDS)
    console.print(f"[green]✓[/] scaled out. Why: {decision('Scale')}  [dim]{elapsed()}[/]")
    console.print(f"    the gateway has counted for tenant {NAMESPACE}: {measured()}")
    fleet.stop_load(namespace=NAMESPACE)
    until("a scale-in", show, lambda _: ready_replicas() == 1, seconds=SCALE_SECONDS)
    console.print(f"[green]✓[/] scaled in. Why: {decision('Scale')}  [dim]{elapsed()}[/]")


if __name__ == "__main__":
    sys.exit(main())
