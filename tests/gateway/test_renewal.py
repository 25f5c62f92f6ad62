"""New certificates for both ends of the control connection, in the chart's own Envoy: nothing is cut, nothing restarts."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.engines import Engine, serving
from tests.gateway.gateway import revision, served
from tests.gateway.test_chart import HOST, SERVER, Installed, Secrets, chart_secrets, mount, started


@pytest.fixture
async def installed(tmp_path: Path) -> AsyncIterator[Installed]:
    async with started(Installed(folder=tmp_path)) as whole:
        await whole.control()
        whole.address = await whole.envoy.ready()
        yield whole


async def shows(installed: Installed, secrets: Secrets) -> bool:
    """Whether a new connection is shown a certificate of this authority."""
    trusted = ssl.create_default_context(cadata=base64.b64decode(secrets[SERVER]["ca.crt"]).decode())
    trusted.set_alpn_protocols(["h2"])
    try:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", installed.control_port, ssl=trusted, server_hostname=HOST
        )
    except ssl.SSLCertVerificationError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def test_a_new_authority_counts_from_the_next_connection_on(installed: Installed):
    old, new = chart_secrets(), chart_secrets(gateway={"drainSeconds": 601})
    engine = Engine(name="a")
    async with serving(engine):
        await installed.apply(served("chat", revision("r1", engine)))
        async with installed.ask({"model": "chat", "stream": True, "max_tokens": 3}) as response:
            first = await response.content.readuntil(b"\n\n")
            stream = installed.ads.streams()["envoy-0"]
            installed.renew(new)
            await installed.apply(served("chat", revision("r2", engine)))
            assert installed.ads.streams() == {"envoy-0": stream}, "the connection that is there goes on"
            assert (await shows(installed, new), await shows(installed, old)) == (True, False)
            await installed.reconnect()
            # Each end trusts the new authority alone: that they meet says that both show its certificates.
            await installed.apply(served("chat", revision("r3", engine)))
            assert (await installed.chat("chat"))[::2] == (200, "r3")
            engine.go_on.set()
            assert (first + await response.read()).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("half", ["tls.crt", "tls.key", "nothing"])
async def test_half_a_renewal_leaves_the_old_certificate_in_use_and_the_whole_one_follows(
    installed: Installed, half: str
):
    old, new = chart_secrets(), chart_secrets(gateway={"drainSeconds": 601})
    server = installed.folder / "server"
    if half == "nothing":
        (server / "tls.crt").unlink()
    else:
        mount(server, {**old[SERVER], half: new[SERVER][half]})
    assert (await shows(installed, new), await shows(installed, old)) == (False, True)
    mount(server, new[SERVER])
    assert (await shows(installed, new), await shows(installed, old)) == (True, False)
