"""Traffic per hour as a table of days: who sleeps at night, and who fell silent, is seen at a glance. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from proxy.admin.asking import Minute

DAYS: Final = 14
"""Days shown: two weeks tell a weekly habit."""
_HOUR: Final = 3600.0


class Cell(msgspec.Struct, frozen=True):
    """One hour. `level` is 0 (nothing) to 3 (near the busiest)."""

    requests: int
    refused: int
    level: int


class Day(msgspec.Struct, frozen=True):
    """One day in UTC and its 24 hours."""

    name: str
    cells: tuple[Cell, ...]


def heat(minutes: Iterable[Minute], now: float) -> list[Day]:
    """Return the last days, newest first. Times are epoch seconds."""
    sums: dict[int, list[int]] = {}
    for minute in minutes:
        own = sums.setdefault(int(minute.start // _HOUR), [0, 0])
        own[0] += minute.traffic.requests
        own[1] += minute.traffic.refused
    most = max((requests for requests, _ in sums.values()), default=0)
    today = int(now // (24 * _HOUR))
    return [_day(today - back, sums, most) for back in range(DAYS)]


def _day(day: int, sums: dict[int, list[int]], most: int) -> Day:
    name = dt.datetime.fromtimestamp(day * 24 * _HOUR, dt.UTC).strftime("%a %d %b")
    return Day(name, tuple(_cell(sums.get(day * 24 + hour, [0, 0]), most) for hour in range(24)))


def _cell(sums: Sequence[int], most: int) -> Cell:
    requests, refused = sums
    level = 0 if not requests else 1 + min(2, int(3 * requests / (most + 1)))
    return Cell(requests, refused, level)


def per_hour(minutes: Iterable[Minute], now: float, hours: int = 24) -> Sequence[int]:
    """Requests of each of the last hours, oldest first."""
    found = [0] * hours
    for minute in minutes:
        place = hours - 1 - int((now - minute.start) // _HOUR)
        if 0 <= place < hours:
            found[place] += minute.traffic.requests
    return found


def last_good(minutes: Iterable[Minute]) -> float | None:
    """The beginning of the last minute with a served request."""
    return max((minute.start for minute in minutes if minute.traffic.good), default=None)
