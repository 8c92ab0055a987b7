"""Times as people type and read them."""

from __future__ import annotations

import pytest

from proxy.cli import times

NOW = 1_795_536_000.0  # 2026-11-24 16:00:00 UTC


@pytest.mark.parametrize(
    "at, text",
    [
        (NOW, "now"),
        (NOW - 7200, "2h"),
        (NOW - 3 * 86_400, "3d"),
        (NOW - 90 * 60, " 90 M "),
        (NOW - 30, "30s"),
        (NOW - 604_800, "1w"),
        (NOW, "2026-11-24T16:00"),
        (NOW, "2026-11-24 16:00:00"),
        (NOW, "2026-11-24T17:00+01:00"),
        (NOW, "2026-11-24T16:00:00Z"),
        (NOW - 16 * 3600, "2026-11-24"),
    ],
)
def test_read(at, text):
    assert at == times.parse(text, NOW)


@pytest.mark.parametrize("text", ["", "yesterday", "2x", "2026-13-01", "-2h", "\u0661h"])
def test_what_is_no_time_says_which_forms_there_are(text):
    with pytest.raises(ValueError, match="write it like"):
        times.parse(text, NOW)


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("0.4 s", 0.4),
        ("12 s", 12),
        ("1 min 30 s", 90),
        ("1 h", 3600),
        ("3 d 4 h", 3 * 86_400 + 4 * 3600 + 59),
        ("10 y 2 d", 10 * 365 * 86_400 + 2 * 86_400),
        ("1 d", 86_400 + 59),
        ("-1 h", -3600),
    ],
)
def test_span(text, seconds):
    assert text == times.span(seconds)


@pytest.mark.parametrize(
    "text, at",
    [
        ("2026-11-24 16:00:00 UTC", NOW),
        ("never", None),
        ("9999-12-31 23:59:59 UTC", 1e300),
        ("0001-01-01 00:00:00 UTC", -1e300),
    ],
)
def test_show(text, at):
    assert text == times.show(at)


def test_ago():
    assert times.ago(NOW - 60, NOW) == "1 min ago"
    assert times.ago(NOW + 60, NOW) == "in 1 min"
