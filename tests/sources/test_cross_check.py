"""A table and an endpoint, both asked: who decides in every combination, what is told, and that no outage becomes a 401."""

from __future__ import annotations

import asyncio
import itertools

import msgspec
import pytest

from proxy.core.diagnosis.evidence import Evidence
from proxy.core.token import Known, Reading, Surroundings, Unavailable, Unknown
from proxy.sources.cross_check import CrossCheck
from tests.sources.conftest import secret

ROW = Known(row=7, tenant="a", created_at=0.0)
STATES = {
    "known": ROW,
    "revoked": msgspec.structs.replace(ROW, revoked_at=5.0),
    "unknown": Unknown(),
    "unavailable": Unavailable("timeout"),
}


class Fixed:
    def __init__(self, name: str, state) -> None:
        self.name = name
        self.state = state
        self.asked = 0
        self.hold: asyncio.Event | None = None

    async def read(self, secret):
        self.asked += 1
        if self.hold is not None:
            await self.hold.wait()
        return Reading(self.state, self.name, "primary", 10.0)

    second_look = read

    async def reread(self, known):
        return {row.row: Reading(self.state, self.name, "primary", 20.0) for row in known}

    async def surroundings(self, secret, state):
        return Surroundings(10.0, self.name)


async def settled(tasks) -> None:
    while len(tasks):
        await asyncio.sleep(0)


@pytest.mark.parametrize("table, other", list(itertools.product(STATES, repeat=2)))
async def test_who_decides(tasks, table, other):
    told: list = []
    both = CrossCheck(Fixed("table", STATES[table]), Fixed("endpoint", STATES[other]), tasks, lambda *seen: told.append(seen))
    for reading in (await both.read(secret("t")), await both.second_look(secret("t"))):
        if table != "unavailable":
            expected, source = STATES[table], "table"
        elif other in ("known", "revoked"):
            expected, source = STATES[other], "endpoint"
        else:
            expected, source = STATES["unavailable"], "table"
        if isinstance(expected, Known):
            expected = msgspec.structs.replace(expected, row=f"{source}:7")
        assert (reading.state, reading.source) == (expected, source)
        if "unavailable" in (table, other):
            assert not isinstance(reading.state, Unknown) or table == "unknown"
    await settled(tasks)
    disagree = (table, other) in {
        ("known", "unknown"), ("unknown", "known"), ("unknown", "revoked"),
    }  # fmt: skip
    assert len(told) == (1 if disagree else 0)
    assert both.disagreements == len(told)


async def test_a_request_does_not_wait_for_the_other(tasks):
    table, other = Fixed("table", ROW), Fixed("endpoint", Unknown())
    other.hold = asyncio.Event()
    told: list = []
    both = CrossCheck(table, other, tasks, lambda *seen: told.append(seen))
    assert isinstance((await both.read(secret("t"))).state, Known)
    assert told == []
    other.hold.set()
    await settled(tasks)
    ((fingerprint, by_table, by_other),) = told
    assert (fingerprint, type(by_table.state), by_other.state) == (secret("t").fingerprint, Known, Unknown())


async def test_comparisons_behind_requests_are_bounded(tasks, monkeypatch):
    monkeypatch.setattr("proxy.sources.cross_check.COMPARED_AT_ONCE", 3)
    table, other = Fixed("table", ROW), Fixed("endpoint", ROW)
    other.hold = asyncio.Event()
    both = CrossCheck(table, other, tasks, lambda *seen: pytest.fail(str(seen)))
    for number in range(10):
        assert isinstance((await both.read(secret(f"t{number}"))).state, Known)
    await asyncio.sleep(0)
    assert other.asked == 3
    other.hold.set()
    await settled(tasks)


async def test_rows_go_back_to_the_table_when_it_answers_again(tasks):
    table, other = Fixed("table", Unavailable("timeout")), Fixed("endpoint", ROW)
    both = CrossCheck(table, other, tasks, lambda *seen: None)
    row = (await both.read(secret("t"))).state
    assert isinstance(row, Known)
    assert (await both.reread([row]))[row.row].state == row
    table.state = ROW
    await both.read(secret("u"))
    assert dict(await both.reread([row])) == {}
    again = (await both.read(secret("t"))).state
    assert isinstance(again, Known)
    assert again.row == "table:7"
    await settled(tasks)


async def test_what_the_other_says_is_on_record_with_what_explains_a_refusal(tasks):
    both = CrossCheck(Fixed("table", ROW), Fixed("introspection", Unknown()), tasks, lambda *seen: None)
    row = (await both.read(secret("t"))).state
    around = await both.surroundings(secret("t"), row)
    assert [(r.source, r.state) for r in around.readings] == [("introspection", Unknown())]
    assert msgspec.json.decode(msgspec.json.encode(around), type=Surroundings) == around
    assert Evidence(readings=around.readings).readings[0].state == Unknown()
    around = await both.surroundings(secret("t"), Unknown())
    assert [(r.source, type(r.state)) for r in around.readings] == [("table", Known), ("introspection", Unknown)]
    await settled(tasks)
