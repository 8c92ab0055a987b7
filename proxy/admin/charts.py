"""Two hours by the minute: what a chart shows, for the drawing, for uPlot, and in words for who sees neither. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from proxy.admin.asking import Minute
from proxy.admin.overview import Road
from proxy.admin.ring import BARS

_MINUTE: Final = 60.0


class Chart(msgspec.Struct, frozen=True):
    """One value for each of the last 120 minutes, oldest first, None where there is none; the last minute ends at `end` (epoch
    seconds). `tone` is its colour: `bad` or none."""

    id: str
    title: str
    values: tuple[float | None, ...]
    end: float
    unit: str = ""
    tone: str = ""

    @property
    def top(self) -> float:
        """The greatest value; 0 without any."""
        return max((value for value in self.values if value is not None), default=0.0)

    @property
    def data(self) -> str:
        """The values in a form for an attribute: numbers, or `-`, with blanks between."""
        return " ".join("-" if value is None else f"{value:.10g}" for value in self.values)

    @property
    def summary(self) -> str:
        """What the drawing shows, in a sentence."""
        if not self.top:
            return "None."
        place = self.values.index(self.top)
        return f"Highest in a minute: {self.said(self.top)}, at {clock(self.minute(place))} UTC."

    def said(self, value: float | None) -> str:
        """A value with its unit."""
        return "-" if value is None else f"{value:.10g}{self.unit and ' ' + self.unit}"

    def minute(self, place: int) -> float:
        """When a minute began (epoch seconds)."""
        return self.end - (len(self.values) - place) * _MINUTE


class Line(msgspec.Struct, frozen=True):
    """One minute of the table: when it began, and each chart's value."""

    at: float
    cells: tuple[str, ...]


def table(charts: Sequence[Chart]) -> list[Line]:
    """The charts of one page as a table, newest minute first, without those in which nothing happened."""
    minutes = list(zip(*(chart.values for chart in charts), strict=True))
    return [
        Line(charts[0].minute(place), tuple(chart.said(value) for chart, value in zip(charts, minutes[place], strict=True)))
        for place in reversed(range(len(minutes)))
        if any(minutes[place])
    ]


def of_road(road: Road, now: float) -> list[Chart]:
    """The charts of the overview."""
    milliseconds = tuple(None if value is None else round(value * 1000, 1) for value in road.p95)
    return [
        Chart("requests", "Requests", road.requests, now),
        Chart("incidents", "Incidents", road.incidents, now, tone="bad"),
        Chart("p95", "95 % of requests within", milliseconds, now, "ms"),
    ]


def of_tenant(minutes: Iterable[Minute], now: float) -> list[Chart]:
    """The charts of a tenant's page. What is recorded is recorded by whole minutes: the last one is that of `now`."""
    end = (now // _MINUTE + 1) * _MINUTE
    requests, refused = [0.0] * BARS, [0.0] * BARS
    for minute in minutes:
        place = BARS - int((end - minute.start) // _MINUTE)
        if 0 <= place < BARS:
            requests[place] += minute.traffic.requests
            refused[place] += minute.traffic.refused
    return [
        Chart("requests", "Requests", tuple(requests), end),
        Chart("refused", "Refused", tuple(refused), end, tone="bad"),
    ]


def clock(at: float) -> str:
    """`17:51`, in UTC."""
    return f"{dt.datetime.fromtimestamp(at, dt.UTC):%H:%M}"
