"""The chart's Issuers and Certificates in the hands of cert-manager's own controllers, and what comes out in an Envoy.

Its controllers take minutes to build: the test runs where that was done. `make e2e-full` does it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster import build
from e2e.cluster.api_only import ApiServer
from e2e.cluster.process import Child, ProcessError, wait_until
from tests.chart.helm import NAMESPACE, render
from tests.gateway.gateway import served
from tests.gateway.test_chart import CLIENT, SERVER, Installed, started, until

pytestmark = pytest.mark.skipif(not build.path_of("cert-manager").is_file(), reason="cert-manager is not built")
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """What the chart asks of cert-manager, in an API server at which its controllers work."""
    crds = build.module_dir(module="cert-manager", path="github.com/cert-manager/cert-manager") / "deploy" / "crds"
    asked = [
        m for m in render(gateway={"certificates": "CertManager"}) if m["apiVersion"].startswith("cert-manager.io")
    ]
    with ApiServer() as server:
        server.kubectl("create", "namespace", NAMESPACE)
        server.kubectl("apply", "--server-side", "-f", str(crds))
        server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        server.kubectl("create", "-f", "-", stdin=yaml.safe_dump_all(asked))
        log = tmp_path_factory.mktemp("cert-manager") / "log"
        argv = [str(build.path_of("cert-manager")), "--kubeconfig", str(server.kubeconfig)]
        child = Child(name="cert-manager", argv=argv, log=log)
        child.start()
        try:
            yield server
        finally:
            child.stop()


def made(api: ApiServer) -> Mapping[str, Mapping[str, str]]:
    """The Secrets of both ends, once they are whole."""

    def read() -> dict[str, dict[str, str]]:
        found = {item["metadata"]["name"]: item.get("data") or {} for item in api.http.get(SECRETS).json()["items"]}
        return {name: found[name] for name in (SERVER, CLIENT) if set(found.get(name, ())) >= {"tls.crt", "tls.key"}}

    try:
        wait_until(lambda: len(read()) == len((SERVER, CLIENT)), what="both certificates", seconds=60)
    except ProcessError as error:
        seen = api.kubectl("get", "certificates,certificaterequests,issuers", "-A", "-o", "wide")
        raise AssertionError(f"{error}; seen last:\n{seen}") from error
    return read()


async def test_an_envoy_gets_its_configuration_by_certificates_of_cert_manager(api: ApiServer, tmp_path: Path):
    secrets = made(api)
    assert {frozenset(data) for data in secrets.values()} == {frozenset({"tls.crt", "tls.key", "ca.crt"})}
    assert secrets[SERVER]["ca.crt"] == secrets[CLIENT]["ca.crt"]
    async with started(Installed(folder=tmp_path, secrets=secrets)) as installed:
        await installed.control()
        await until(lambda: installed.probe("/ready"), 200, installed)


async def test_lost_certificates_are_made_again_and_taken_up_by_both_ends(api: ApiServer, tmp_path: Path):
    before: Any = made(api)
    async with started(Installed(folder=tmp_path, secrets=before)) as installed:
        await installed.control()
        installed.address = await installed.envoy.ready()
        for name in (SERVER, CLIENT):
            api.http.delete(f"{SECRETS}/{name}").raise_for_status()
        after = made(api)
        for name in (SERVER, CLIENT):
            assert after[name]["tls.crt"] != before[name]["tls.crt"]
            assert after[name]["ca.crt"] == before[name]["ca.crt"], "of the same authority"
        installed.renew(after)
        await installed.reconnect()
        await installed.apply(served("chat"))
        assert (await installed.chat("chat"))[0] == 503
