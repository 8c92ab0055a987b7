"""What keeps a database from being reached is said in words, and without its address."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from proxy.sources.doorkeeper.spoken import in_words


def _not_accepted(said: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = said
    return error


def _tls_failed(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "planted")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    "expected, error",
    [
        ("Connection refused", ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('192.0.2.1', 5432)")),
        ("No such file or directory", FileNotFoundError(errno.ENOENT, "/secret/place/.s.PGSQL.5432")),
        ("Name or service not known", socket.gaierror(socket.EAI_NONAME, "Name or service not known")),
        ("ConnectionResetError", ConnectionResetError()),
        ("the server's certificate is not accepted: Hostname mismatch", _not_accepted("Hostname mismatch, certificate is not")),
        ("TLS failed: wrong version number", _tls_failed("WRONG_VERSION_NUMBER")),
        ("TLS failed: for a reason not known", ssl.SSLError(1, "planted")),
    ],
)
def test_in_words(expected, error):
    assert expected == in_words(error)
