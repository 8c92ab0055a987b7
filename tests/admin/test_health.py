"""Ready or not, by the state of the parts."""

from __future__ import annotations

import asyncio

import pytest

from proxy.admin.health import DEAD_AFTER, TICK, Part, State, Ticker, judge

OK, DEGRADED, DOWN = State.OK, State.DEGRADED, State.DOWN


def source(state: State, name: str = "doorkeeper") -> Part:
    return Part(name, state, kind="source")


@pytest.mark.parametrize(
    "status, ready, parts",
    [
        ("ready", True, [source(OK), Part("store", OK)]),
        ("degraded", True, [source(OK), Part("store", DOWN)]),
        ("degraded", True, [source(DEGRADED)]),
        ("degraded", True, [source(DOWN, "one"), source(OK, "two")]),
        ("not_ready", False, [source(DOWN), Part("store", OK)]),
        ("not_ready", False, [source(DOWN, "one"), source(DOWN, "two")]),
        ("not_ready", False, []),
        ("not_ready", False, [Part("store", OK)]),
        ("not_ready", False, [source(OK), Part("spool", DOWN, kind="vital")]),
        ("degraded", True, [source(OK), Part("spool", DEGRADED, kind="vital")]),
    ],
)
def test_readiness(status, ready, parts):
    found = judge(parts, draining=False)
    assert (found.status, found.ready, found.parts) == (status, ready, tuple(parts))


def test_draining_is_not_ready_however_well_all_parts_are():
    assert not judge([source(OK)], draining=True).ready


def test_ticker_measures_how_late_a_tick_is():
    now = [100.0]
    ticker = Ticker(lambda: now[0])
    now[0] += TICK
    ticker.tick()
    assert ticker.lag == 0
    now[0] += TICK + 0.25
    ticker.tick()
    assert ticker.lag == 0.25
    now[0] += TICK - 0.1
    ticker.tick()
    assert ticker.lag == 0


def test_loop_that_does_not_tick_is_dead():
    now = [0.0]
    ticker = Ticker(lambda: now[0])
    now[0] = DEAD_AFTER - 0.1
    assert ticker.is_alive()
    now[0] = DEAD_AFTER
    assert not ticker.is_alive()


async def test_loop_ticks(monkeypatch):
    now, ticks = [0.0], [0]
    ticker = Ticker(lambda: now[0])

    async def sleep(seconds: float) -> None:
        ticks[0] += 1
        now[0] += seconds + 1.0
        if ticks[0] == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr("proxy.admin.health.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await ticker.run()
    assert ticker.lag == 1.0
