"""Certificate files that settings name: each fault is one line with the setting, the file and what to do."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from proxy.wire.state import StartFault

_FLIGHTS: Final = 4
"""Turns of each side in a handshake: TLS 1.2 needs three."""
_DATES: Final = {9: "is not valid yet", 10: "has expired"}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""


def load_pair(context: ssl.SSLContext, section: str, cert_file: Path, key_file: Path | None) -> None:
    """Load the chain and the key that `section` (such as listen.tls) names. Raises StartFault."""
    _readable(f"{section}.cert_file", cert_file)
    if key_file is not None:
        _readable(f"{section}.key_file", key_file)
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_passphrase)
    except (OSError, ValueError):
        raise StartFault(
            f"{section}.cert_file {cert_file}: it and key_file are no certificate and its key. Write both in PEM, the key "
            "without a passphrase."
        ) from None


def trusting(section: str, ca_file: Path | None) -> ssl.SSLContext:
    """A client's context that believes the authorities in the file, else those of the system. Raises StartFault."""
    if ca_file is None:
        return ssl.create_default_context()
    _readable(f"{section}.ca_file", ca_file)
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError:
        raise StartFault(
            f"{section}.ca_file {ca_file}: holds no certificates. Write those of the authority into it, in PEM."
        ) from None


def out_of_date(context: ssl.SSLContext, cert_file: Path) -> str:
    """What a client would say of the dates of the certificate in a server's `context`; empty when they are right. Asked by a
    handshake in memory: the ssl module tells no dates of a file."""
    client = ssl.create_default_context(cafile=str(cert_file))
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trusted by itself, whoever signed it
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (client.wrap_bio(to_client, to_server), context.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(_FLIGHTS):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return _DATES.get(getattr(error, "verify_code", 0), "")
    return ""


def _readable(key: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise StartFault(f"{key} {path}: {error.strerror}. Check the path and its permissions.") from None


def _no_passphrase() -> str:
    """OpenSSL would ask on the terminal, and a service has none."""
    raise ValueError
