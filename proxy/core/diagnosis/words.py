"""Times and lists in words. Pure; never raises, whatever number a broken clock or a row holds."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable

from proxy.core.token import FAR_FUTURE, FAR_PAST

UNKNOWN_TIME = "an unknown time"


def utc(at: float | None) -> str:
    """Return epoch seconds as `2026-05-17 09:12:03 UTC`; `never` and `always` stand for the two infinities of a database."""
    if at is None or math.isnan(at):
        return UNKNOWN_TIME
    if at >= FAR_FUTURE:
        return "never (infinity)"
    if at <= FAR_PAST:
        return "always (-infinity)"
    when = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=math.floor(at))
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def span(seconds: float | None) -> str:
    """Return a duration in its two largest units, like `14 d 0 h`, `3 h 12 min`, `4.2 s`. The sign is dropped."""
    if seconds is None or math.isnan(seconds):
        return "an unknown time"
    seconds = abs(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds > FAR_FUTURE:
        return "for ever"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def ago(at: float | None, now: float) -> str:
    """Return how far `at` lies from `now`: `3 d 2 h ago` or `in 4.0 s`."""
    if at is None or math.isnan(at) or not FAR_PAST < at < FAR_FUTURE:
        return UNKNOWN_TIME
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"


def listed(items: Iterable[str], limit: int = 5) -> str:
    """Return names as `a, b and 3 more`, in the given order."""
    names = list(items)
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return ", ".join(names)
