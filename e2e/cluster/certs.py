"""Certificates (EC P-256) and kubeconfigs for a test cluster, made by the `openssl` program; starts no server."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_DAYS = "30"
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_CONFIG = """\
[req]
distinguished_name = subject
[subject]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign, cRLSign
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
"""


class CertificateError(Exception):
    """openssl refused; the message carries its words."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True, kw_only=True)
class Authority:
    """A certificate authority in a folder of its own.

    Attributes:
        folder: Holds `ca.crt`, `ca.key` and every pair that was issued.
    """

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Authority:
        """Makes the folder and a new authority in it."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "openssl.cnf").write_text(_CONFIG)
        new = cls(folder=folder)
        new._request(stem="ca", arguments=["-extensions", "ca", "-subj", subject(common_name="modelfleet-test")])
        return new

    @property
    def cert(self) -> Path:
        """The certificate that clients trust."""
        return self.folder / "ca.crt"

    def issue(
        self, *, stem: str, common_name: str, organizations: Sequence[str] = (), names: Sequence[str] = ()
    ) -> Pair:
        """Issues a certificate for a server or a client.

        Args:
            stem: File name without its ending.
            common_name: The user's name, for clients.
            organizations: The user's groups, for clients.
            names: DNS names and IP addresses that a server answers to.

        Raises:
            CertificateError: openssl refused.
        """
        arguments = ["-CA", str(self.cert), "-CAkey", str(self.folder / "ca.key"), "-extensions", "leaf"]
        arguments += ["-subj", subject(common_name=common_name, organizations=organizations)]
        if names:
            arguments += ["-addext", f"subjectAltName={alternative_names(names)}"]
        return self._request(stem=stem, arguments=arguments)

    def signing_key(self, *, stem: str) -> Path:
        """Makes a bare private key, for service account tokens."""
        key = self.folder / f"{stem}.key"
        # the API server reads the public half from this file too, but only out of the older of both formats
        _openssl(["ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", str(key)])
        return key

    def _request(self, *, stem: str, arguments: Sequence[str]) -> Pair:
        pair = Pair(cert=self.folder / f"{stem}.crt", key=self.folder / f"{stem}.key")
        config = ["-config", str(self.folder / "openssl.cnf")]
        files = ["-keyout", str(pair.key), "-out", str(pair.cert)]
        _openssl(["req", "-x509", "-sha256", "-days", _DAYS, *config, *_CURVE, *files, *arguments])
        return pair


def subject(*, common_name: str, organizations: Sequence[str] = ()) -> str:
    r"""Writes a subject as openssl reads it.

    >>> subject(common_name="system:node:n1", organizations=["system:nodes", "a/b"])
    '/O=system:nodes/O=a\\/b/CN=system:node:n1'
    """
    parts = [*(("O", each) for each in organizations), ("CN", common_name)]
    return "".join(
        f"/{kind}={value.replace(chr(92), chr(92) * 2).replace('/', chr(92) + '/')}" for kind, value in parts
    )


def alternative_names(names: Sequence[str]) -> str:
    """Writes the names a server answers to.

    >>> alternative_names(["kubernetes.default", "127.0.0.1"])
    'DNS:kubernetes.default,IP:127.0.0.1'
    """
    return ",".join(f"{'IP' if each.replace('.', '').isdigit() or ':' in each else 'DNS'}:{each}" for each in names)


def write_kubeconfig(*, path: Path, server: str, authority: Authority, client: Pair) -> Path:
    """Writes a kubeconfig with the certificates inside, so that it works from anywhere; only its owner may read it."""
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "modelfleet",
        "contexts": [{"name": "modelfleet", "context": {"cluster": "modelfleet", "user": "modelfleet"}}],
        "clusters": [
            {"name": "modelfleet", "cluster": {"server": server, "certificate-authority-data": _base64(authority.cert)}}
        ],
        "users": [
            {
                "name": "modelfleet",
                "user": {
                    "client-certificate-data": _base64(client.cert),
                    "client-key-data": _base64(client.key),
                },
            }
        ],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _openssl(arguments: Sequence[str]) -> None:
    result = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise CertificateError(f"`openssl {arguments[0]}` failed: {result.stderr.strip()}")
