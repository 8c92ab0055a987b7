"""Which name was meant, when nobody of the given one was ever seen."""

from __future__ import annotations

import pytest

from proxy.cli import naming
from proxy.cli.naming import nearest

NAMES = ("Acme Inc", "Globex", "globex-staging", "_unknown", "Umbrella")


@pytest.mark.parametrize(
    "meant, given",
    [
        ("Acme Inc", "acme inc"),  # case alone
        ("Acme Inc", "Acme Inc."),
        ("Acme Inc", "acme"),  # a part of it
        ("Globex", "globx"),
        ("Umbrella", "umbrela"),
        ("", "hooli"),
        ("", "unknown"),  # no customer
        ("", ""),
    ],
)
def test_nearest(meant, given):
    assert meant == nearest(given, NAMES)


def test_among_very_many_only_case_is_forgiven(monkeypatch):
    monkeypatch.setattr(naming, "COMPARED", 3)
    assert ["Globex", ""] == [nearest("GLOBEX", NAMES), nearest("globx", NAMES)]
