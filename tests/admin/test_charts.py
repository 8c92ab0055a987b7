"""What a chart shows, in numbers and in words: the same minutes for the drawing, for uPlot and for the table."""

from __future__ import annotations

import msgspec
import pytest

from proxy.admin.asking import Minute
from proxy.admin.charts import Chart, Line, of_road, of_tenant, table
from proxy.admin.overview import Road
from proxy.core.absence import Traffic

END = 1_790_000_040.0  # 14:14:00 UTC


def chart(*newest: float | None, **more: str) -> Chart:
    return Chart("c", "Requests", (*[0.0] * (120 - len(newest)), *newest), END, **more)


def test_a_value_s_minute_is_the_one_in_which_it_happened():
    assert [END - 7200, END - 60] == [chart().minute(0), chart().minute(119)]


@pytest.mark.parametrize(
    "expected, given",
    [
        ("Highest in a minute: 7, at 14:12 UTC.", chart(7, 3)),
        ("Highest in a minute: 7, at 14:11 UTC.", chart(7, 3, 7)),  # the first of several
        ("Highest in a minute: 12.5 ms, at 14:13 UTC.", chart(None, 12.5, unit="ms")),
        ("None.", chart()),
        ("None.", chart(None, None, unit="ms")),
    ],
)
def test_in_a_sentence(expected, given):
    assert expected == given.summary


def test_the_attribute_has_every_minute_and_tells_none_from_nothing():
    data = chart(None, 0.0, 12.5, 1234567.0).data.split(" ")
    assert (120, ["-", "0", "12.5", "1234567"]) == (len(data), data[-4:])


def test_the_table_leaves_out_what_did_not_happen():
    lines = table([chart(5, 0, 0, 2), chart(None, None, 0.4, 1.5, unit="ms")])
    assert [
        Line(END - 60, ("2", "1.5 ms")),
        Line(END - 120, ("0", "0.4 ms")),
        Line(END - 240, ("5", "-")),
    ] == lines


def test_the_overview_shows_seconds_as_milliseconds():
    road = Road("ready", (), "http://backend", (1.0,) * 120, (0.0,) * 120, (None, *[0.01234] * 119))
    requests, incidents, p95 = of_road(road, END)
    assert ({1.0}, {0.0}) == (set(requests.values), set(incidents.values))
    assert (None, 12.3) == p95.values[:2]


def test_a_tenant_s_minutes_stand_where_they_were():
    now = END - 20
    traffic = Traffic(requests=3, refused=1)
    minutes = [Minute(END - 60, traffic), Minute(END - 7200, traffic), Minute(END - 7260, traffic), Minute(END - 600, traffic)]
    requests, refused = of_tenant(minutes, now)
    assert {119: 3.0, 0: 3.0, 110: 3.0} == {place: value for place, value in enumerate(requests.values) if value}
    assert [END, END] == [requests.end, refused.end]
    assert 3 == refused.values.count(1.0)
    assert of_tenant(minutes[:1], END)[0].values[118] == 3.0  # in the next minute it has moved on
    assert msgspec.structs.replace(requests, values=()).summary == "None."
