"""What all workers tell together: the worst state, and the percentile of all that they did and not of one of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from proxy.admin.health import Part, State
from proxy.observe.families import BUCKETS
from proxy.supervise.channel import Status
from proxy.supervise.fleet import Fleet


def counts(**at: int) -> tuple[int, ...]:
    return tuple(at.get(f"b{place}", 0) for place in range(len(BUCKETS) + 1))


def status(requests: float, listener: tuple[int, ...], *parts: Part) -> Status:
    told = Part("listener", State.OK, kind="vital", p95=0.001 if any(listener) else None)
    return Status(True, (told, *parts), requests, 0.0, 1.0, 0.0, listener, {"listener": listener, "issuer": counts(b4=1)})


def fleet_of(*statuses: Status | None) -> Any:
    async def launch(number: int) -> Any:
        raise AssertionError(number)

    fleet = Fleet(len(statuses), launch)
    for slot, told in zip(fleet.slots, statuses, strict=True):
        slot.hand = SimpleNamespace(status=told, told=told)  # type: ignore[assignment]
    return fleet


async def test_the_percentile_is_of_all_requests_and_not_of_one_worker_s():
    busy = status(90, counts(b0=90))
    slow = status(10, counts(b2=10), Part("issuer", State.DEGRADED, "no answer", "source"))
    fleet = fleet_of(busy, slow)
    parts = {part.name: part for part in fleet.parts()}
    assert pytest.approx(0.00375) == parts["listener"].p95
    assert (None, "worker 2: no answer") == (parts["issuer"].p95, parts["issuer"].detail)  # of which nobody tells a percentile
    totals = fleet.totals()
    assert (100, 2, counts(b0=90, b2=10)) == (totals.requests, totals.inflight, totals.durations)


async def test_a_worker_that_did_nothing_takes_nothing_away():
    parts = {part.name: part for part in fleet_of(status(90, counts(b0=90)), status(0, counts())).parts()}
    assert pytest.approx(0.00095) == parts["listener"].p95
    idle = {part.name: part for part in fleet_of(status(0, counts()), None).parts()}
    assert idle["listener"].p95 is None


async def test_a_worker_that_is_late_once_does_not_count_anew():
    fleet = fleet_of(status(90, counts(b0=90)), status(10, counts(b2=10)))
    before = fleet.totals()
    fleet.slots[0].hand.status = None
    assert before == fleet.totals()
    assert "1 of 2 ready" == next(fleet.parts()).detail
    fleet.slots[0].hand = None
    assert (10, counts(b2=10)) == (fleet.totals().requests, fleet.totals().durations)


async def test_nobody_has_told_anything_yet():
    totals = fleet_of(None, None).totals()
    assert (0, ()) == (totals.requests, totals.durations)
