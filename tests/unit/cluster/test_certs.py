"""Certificates that servers and clients really accept."""

from __future__ import annotations

import ssl
import stat
import subprocess

import pytest
import yaml

from e2e.cluster.certs import Authority, CertificateError, write_kubeconfig


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.create(tmp_path_factory.mktemp("pki"))


def text_of(path):
    return subprocess.run(
        ["openssl", "x509", "-in", str(path), "-noout", "-text"], capture_output=True, text=True, check=True
    ).stdout


def test_a_client_carries_its_user_and_groups(authority):
    pair = authority.issue(stem="node", common_name="system:node:n1", organizations=["system:nodes", "a/b"])
    text = text_of(pair.cert)
    assert "O = system:nodes, O = a/b, CN = system:node:n1" in text
    assert "CA:FALSE" in text
    assert "NIST CURVE: P-256" in text


def test_a_server_proves_its_names_to_who_trusts_the_authority(authority):
    pair = authority.issue(stem="server", common_name="server", names=["kubernetes.default", "127.0.0.1"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.cert, pair.key)
    trust = ssl.create_default_context(cafile=str(authority.cert))
    for name in ("kubernetes.default", "127.0.0.1"):
        shake_hands(server=server, client=trust, name=name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server=server, client=trust, name="elsewhere")


def shake_hands(*, server, client, name):
    """Runs the TLS handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=name)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (near, far):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert near.version() == "TLSv1.3"


def test_what_openssl_refuses_is_told(authority):
    with pytest.raises(CertificateError, match="openssl req"):
        authority.issue(stem="bad", common_name="x", names=["a,b"])


def test_a_kubeconfig_is_its_owners_and_needs_no_other_file(authority, tmp_path):
    pair = authority.issue(stem="alice", common_name="alice")
    path = write_kubeconfig(path=tmp_path / "config", server="https://x:1", authority=authority, client=pair)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    user = yaml.safe_load(path.read_text())["users"][0]["user"]
    assert sorted(user) == ["client-certificate-data", "client-key-data"]
