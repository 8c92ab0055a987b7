"""What keeps a database from being reached is said in words, and without its address."""

from __future__ import annotations

import errno
import socket

import pytest

from proxy.sources.doorkeeper.spoken import in_words


@pytest.mark.parametrize(
    "expected, error",
    [
        ("Connection refused", ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('192.0.2.1', 5432)")),
        ("No such file or directory", FileNotFoundError(errno.ENOENT, "/secret/place/.s.PGSQL.5432")),
        ("Name or service not known", socket.gaierror(socket.EAI_NONAME, "Name or service not known")),
        ("ConnectionResetError", ConnectionResetError()),
    ],
)
def test_in_words(expected, error):
    assert expected == in_words(error)
