"""Mutual TLS of the control server, from a mounted Secret, read again when its files change.

API keys travel over this connection: an Envoy without a certificate of the gateway's own authority gets nothing. Must
not make certificates: the chart or cert-manager does.
"""

from pathlib import Path
from typing import Any

import grpc

CERTIFICATE, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"
"""Keys of a Secret of type kubernetes.io/tls, with the authority beside them."""


def server_credentials(folder: Path) -> Any:
    """Give credentials that follow the files in `folder`; each new connection sees the newest.

    Raises:
        OSError: a file is missing.
    """
    last = _read(folder)

    def fetch() -> Any:
        nonlocal last
        try:
            found = _read(folder)
        except OSError:
            return None  # mid-rotation: what is loaded stays
        if found == last:
            return None
        last = found
        return _configuration(found)

    return grpc.dynamic_ssl_server_credentials(_configuration(last), fetch, require_client_authentication=True)


def _read(folder: Path) -> tuple[bytes, bytes, bytes]:
    key, certificate, authority = (folder.joinpath(name).read_bytes() for name in (KEY, CERTIFICATE, AUTHORITY))
    return key, certificate, authority


def _configuration(pem: tuple[bytes, bytes, bytes]) -> Any:
    key, certificate, authority = pem
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authority)
