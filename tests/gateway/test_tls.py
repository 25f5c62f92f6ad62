"""TLS between Envoy and the control server, and at the edge: who is let in, and certificates that change."""

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest

from e2e.cluster.certs import Authority
from modelfleet.gateway import proto
from modelfleet.gateway.ads import SERVICE
from modelfleet.gateway.credentials import server_credentials
from modelfleet.gateway.render_listener import edge_secret
from tests.gateway.engines import Engine, serving
from tests.gateway.envoy import eventually
from tests.gateway.gateway import Gateway, gateway, revision, served


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority.create(tmp_path / "pki")
    made.issue(stem="client", common_name="envoy")
    server = made.issue(stem="server", common_name="control", names=["127.0.0.1", "localhost"])
    (made.folder / "tls.crt").write_bytes(server.cert.read_bytes())
    (made.folder / "tls.key").write_bytes(server.key.read_bytes())
    return made


def edge(authority: Authority, *, stem: str) -> Any:
    pair = authority.issue(stem=stem, common_name=stem, names=["localhost", "127.0.0.1"])
    return edge_secret(certificate=pair.cert.read_text(), key=pair.key.read_text())


async def peer(gate: Gateway, authority: Authority) -> str:
    """Whose certificate the edge shows to a new connection."""
    host, _, port = gate.address.rpartition(":")
    trusted = ssl.create_default_context(cafile=str(authority.cert))
    _, writer = await asyncio.open_connection(host, int(port), ssl=trusted)
    subject = writer.get_extra_info("ssl_object").getpeercert()["subject"]
    writer.close()
    with contextlib.suppress(ssl.SSLError, OSError):
        await writer.wait_closed()
    return str(dict(part[0] for part in subject)["commonName"])


async def test_an_envoy_with_a_certificate_gets_its_configuration(tmp_path: Path, authority: Authority):
    credentials = server_credentials(authority.folder)
    async with gateway(tmp_path, pki=authority.folder, credentials=credentials) as gate:
        await gate.apply(served("chat"))
        assert (await gate.chat("chat"))[0] == 503


@pytest.mark.parametrize("who", ["nobody", "stranger"])
async def test_without_a_certificate_of_this_authority_there_is_nothing(tmp_path: Path, authority: Authority, who: str):
    gate = Gateway(folder=tmp_path)
    gate.publish(served("chat"))
    port = await gate.ads.start(address="127.0.0.1:0", credentials=server_credentials(authority.folder))
    root = authority.cert.read_bytes()
    if who == "stranger":
        pair = Authority.create(tmp_path / "other").issue(stem="client", common_name="envoy")
        credentials = grpc.ssl_channel_credentials(root, pair.key.read_bytes(), pair.cert.read_bytes())
    else:
        credentials = grpc.ssl_channel_credentials(root)
    try:
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            call = channel.stream_stream(
                f"/{SERVICE}/DeltaAggregatedResources",
                request_serializer=proto.discovery.DeltaDiscoveryRequest.SerializeToString,
                response_deserializer=proto.discovery.DeltaDiscoveryResponse.FromString,
            )(timeout=5)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call.read()
            assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    finally:
        await gate.ads.stop()


async def test_a_new_certificate_of_the_edge_cuts_nothing(tmp_path: Path, authority: Authority):
    engine = Engine(name="a")
    trusted = ssl.create_default_context(cafile=str(authority.cert))
    async with serving(engine), gateway(tmp_path, edge=edge(authority, stem="first")) as gate:
        await gate.apply(served("chat", revision("r1", engine)))
        version = await gate.listener_version()
        assert await peer(gate, authority) == "first"
        url = f"https://{gate.address}/v1/chat/completions"
        sent = {"model": "chat", "stream": True, "max_tokens": 3}
        key = {"Authorization": "Bearer key-of-team-a"}
        async with gate.session.post(url, json=sent, headers=key, ssl=trusted) as response:
            first = await response.content.readuntil(b"\n\n")
            gate.secrets = (edge(authority, stem="second"),)
            gate.publish(*gate.fleet.models)

            async def rotated() -> bool:
                return await peer(gate, authority) == "second"

            await eventually(rotated, what="the new certificate", tell=gate.seen)
            engine.go_on.set()
            assert (first + await response.read()).endswith(b"data: [DONE]\n\n")
        assert await gate.listener_version() == version
        dump = str(await gate.envoy.ask("/config_dump"))
        assert "BEGIN PRIVATE KEY" not in dump
