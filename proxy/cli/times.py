"""Times as people type and read them. Inside, every time is seconds since the epoch in UTC."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

_AGO: Final = re.compile(r"([0-9]{1,6})\s*([smhdw])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_STEPS: Final = ((86_400 * 365, "y"), (86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))

FORMS: Final = "write it like 2026-11-24T16:19, 2026-11-24T16:19:04+01:00, 2h, 3d or now (no zone means UTC)"


def parse(text: str, now: float) -> float:
    """Return the instant that a person means: ISO 8601, or so long before `now`. ValueError says which forms there are."""
    word = text.strip().lower()
    if word == "now":
        return now
    if found := _AGO.fullmatch(word):
        return now - int(found[1]) * _UNITS[found[2]]
    try:
        at = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no time: {FORMS}") from None
    return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()


def show(at: float | None) -> str:
    """Return an instant as `2026-11-24 16:19:04 UTC`, or `never` for None."""
    return "never" if at is None else f"{short(at)} UTC"


def short(at: float | None) -> str:
    """Return an instant for a table: `2026-11-24 16:19:04` (UTC), or `-` for None."""
    return "-" if at is None else _utc(at).replace(tzinfo=None).isoformat(" ", "seconds")


def span(seconds: float) -> str:
    """Return a duration in its two largest units: `3 d 4 h`, `12 s`, `0.4 s`."""
    if abs(seconds) < 10:
        return f"{seconds:.1f} s"
    left = int(abs(seconds))
    parts: list[str] = []
    for size, unit in _STEPS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return ("-" if seconds < 0 else "") + " ".join(part for part in parts if part)


def ago(at: float, now: float) -> str:
    """Return how long ago an instant was: `3 d 4 h ago`, or `in 12 s`."""
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"


def _utc(at: float) -> dt.datetime:
    """Bounded to the years 1 to 9999: a source may report what `datetime` cannot hold."""
    try:
        return dt.datetime.fromtimestamp(at, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return dt.datetime.max.replace(tzinfo=dt.UTC) if at > 0 else dt.datetime.min.replace(tzinfo=dt.UTC)
