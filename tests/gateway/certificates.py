"""Certificates of the edge, and whose the edge shows. Used by tests only."""

import asyncio
import contextlib
import ssl
from typing import Any

from e2e.cluster.certs import Authority, Pair
from modelfleet.gateway.render_listener import edge_secret

NAMES = ["localhost", "127.0.0.1"]


def edge_pair(authority: Authority, *, stem: str) -> Pair:
    """A certificate for loopback, under a common name to tell it by."""
    return authority.issue(stem=stem, common_name=stem, names=NAMES)


def edge(authority: Authority, *, stem: str) -> Any:
    """Such a certificate as the gateway hands it to Envoys."""
    pair = edge_pair(authority, stem=stem)
    return edge_secret(certificate=pair.cert.read_text(), key=pair.key.read_text())


def trusting(authority: Authority) -> ssl.SSLContext:
    """What a client of this authority needs."""
    return ssl.create_default_context(cafile=str(authority.cert))


async def peer(address: str, authority: Authority) -> str:
    """Whose certificate the edge shows to a new connection."""
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=trusting(authority))
    subject = writer.get_extra_info("ssl_object").getpeercert()["subject"]
    writer.close()
    with contextlib.suppress(ssl.SSLError, OSError):
        await writer.wait_closed()
    return str(dict(part[0] for part in subject)["commonName"])
