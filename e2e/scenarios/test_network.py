"""Who reaches an engine past the gateway: those whom the installation admits, and everybody where there are no keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from e2e import fleet, images
from e2e.cluster import external, whole
from e2e.conftest import Cluster, own_namespace
from e2e.llm import START_SECONDS, Llm, restarts, uids

pytestmark = pytest.mark.skipif(external.configured() is not None, reason="not every cluster enforces policies")

REACHED, CUT = "200", "no way"
ASK = f"""
import httpx, sys
try:
    print(httpx.get(sys.argv[1], timeout=3, trust_env=False).status_code)
except httpx.TransportError:
    print({CUT!r})
"""


class Client:
    """A pod that can be told to ask for a URL."""

    def __init__(self, *, namespace: str) -> None:
        self._where = ("client", "-n", namespace)

    def sees(self, url: str) -> str:
        return whole.kubectl("exec", *self._where, "--", fleet.PYTHON, "-c", ASK, url).strip()


@contextmanager
def client(*, namespace: str) -> Iterator[Client]:
    container: dict[str, Any] = {
        "name": "client",
        "image": fleet.name_there(images.OPERATOR),
        "imagePullPolicy": "IfNotPresent",
        "command": [fleet.PYTHON, "-c", "import time; time.sleep(3600)"],
    }
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": namespace},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False},
    }
    whole.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(manifest))
    whole.kubectl("wait", "--for=condition=Ready", "pod/client", "-n", namespace, "--timeout=60s")
    yield Client(namespace=namespace)


@pytest.fixture
def stranger(cluster: Cluster) -> Iterator[Client]:  # noqa: ARG001 - the cluster must be there
    """A pod of a namespace that the installation does not know."""
    with own_namespace() as namespace, client(namespace=namespace) as found:
        yield found


def scraped(llm: Llm) -> bool:
    """Whether Prometheus has all of its pods, none of them by an old scrape."""
    up = f'up{{namespace="{llm.namespace}",container="engine"}} == 1 and time() - timestamp(up) < 8'
    return len(fleet.query(up)) == len(llm.pods())


def test_an_engine_is_reached_by_those_who_are_admitted(llm: Llm, stranger: Client) -> None:
    """Given a model behind the gateway, then its pods know gateway, namespace, Prometheus and kubelet; else nobody."""
    llm.apply(accelerator={"resource": "none"})
    llm.await_settled(replicas=1, seconds=START_SECONDS)
    (pod,) = before = llm.pods()
    service, direct = f"http://chat.{llm.namespace}/v1/models", f"http://{pod['status']['podIP']}:8000/v1/models"
    edge, name = fleet.edge(tenant=llm.namespace), f"{llm.namespace}/{llm.name}"
    try:
        with client(namespace=llm.namespace) as friend:
            assert friend.sees(service) == REACHED
        edge.until(name, 200)
        llm.until("a new scrape", lambda: scraped(llm))
        assert (stranger.sees(service), stranger.sees(direct)) == (CUT, CUT)
        assert stranger.sees(f"{edge.host}/v1/models") == "401", "the gateway is there for everybody"

        llm.patch({"routing": {"provider": "Service"}})
        llm.until("its Service for everybody", lambda: stranger.sees(service) == REACHED)
        assert llm.owned("networkpolicies") == []

        llm.patch({"routing": {"provider": None}})
        llm.until("the keys mean something again", lambda: stranger.sees(direct) == CUT)
        edge.until(name, 200)
        llm.until("a new scrape", lambda: scraped(llm))
        assert uids(llm.pods()) == uids(before), "no revision knows of it"
        assert restarts(llm.pods()) == 0, "the kubelet's probes pass"
    finally:
        edge.revoke()
