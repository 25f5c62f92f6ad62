"""TLS between Envoy and the control server, and at the edge: who is let in, and certificates that change."""

from pathlib import Path

import grpc
import pytest

from e2e.cluster.certs import Authority
from modelfleet.gateway import proto
from modelfleet.gateway.ads import SERVICE
from modelfleet.gateway.credentials import server_credentials
from tests.gateway.certificates import edge, peer, trusting
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
    async with serving(engine), gateway(tmp_path, edge=edge(authority, stem="first")) as gate:
        gate.trusted = trusting(authority)
        await gate.apply(served("chat", revision("r1", engine)))
        version = await gate.listener_version()
        assert await peer(gate.address, authority) == "first"
        async with gate.ask({"model": "chat", "stream": True, "max_tokens": 3}) as response:
            first = await response.content.readuntil(b"\n\n")
            gate.secrets = (edge(authority, stem="second"),)
            gate.publish(*gate.fleet.models)

            async def rotated() -> bool:
                return await peer(gate.address, authority) == "second"

            await eventually(rotated, what="the new certificate", tell=gate.seen)
            engine.go_on.set()
            assert (first + await response.read()).endswith(b"data: [DONE]\n\n")
        assert await gate.listener_version() == version
        dump = str(await gate.envoy.ask("/config_dump"))
        assert "BEGIN PRIVATE KEY" not in dump
