"""Looks at +1 s, +10 s and +60 s become notes; nothing is kept longer than needed."""

from __future__ import annotations

import pytest

from proxy.core.credential import Secret
from proxy.core.incident import Note
from proxy.core.token import Known, Reading, Unavailable, Unknown
from proxy.evidence.reread import Rereader
from proxy.evidence.spool import SpoolError
from tests.evidence.conftest import Clock

ROW = Known(row=7, tenant="acme", created_at=0.0)


class World:
    def __init__(self):
        self.clock = Clock(1000.0)
        self.notes: list[Note] = []
        self.looked: list = []
        self.state = Unknown()

    async def look(self, secret):
        self.looked.append(secret)
        return Reading(self.state, "doorkeeper", "primary", self.clock())

    async def look_at_rows(self, rows):
        self.looked.append([row.row for row in rows])
        return {row.row: Reading(row, "doorkeeper", "primary", self.clock()) for row in rows if row.row != 9}

    def rereader(self, **more):
        return Rereader(self.look, self.look_at_rows, self.notes.append, SpoolError, clock=self.clock, **more)

    async def until(self, rereader, *times):
        for at in times:
            self.clock.now = at
            while await rereader.look_now():
                pass


@pytest.fixture
def world():
    return World()


async def test_three_looks_and_the_change_between_them_is_on_record(world):
    rereader = world.rereader()
    secret = Secret(b"token", "f" * 32)
    assert rereader.schedule("INC", 1000.0, secret, Unknown())
    await world.until(rereader, 1000.9)
    assert world.notes == []
    await world.until(rereader, 1001.0)
    world.state = ROW
    await world.until(rereader, 1010.0, 1060.0, 2000.0)
    assert [note.name for note in world.notes] == ["reread+1s", "reread+10s", "reread+60s"]
    assert [note.reading.state for note in world.notes if note.reading] == [Unknown(), ROW, ROW]
    assert world.looked == [secret] * 3
    assert len(rereader) == 0


async def test_a_row_is_read_again_by_its_key_together_and_keeps_no_secret(world):
    rereader = world.rereader()
    for n in range(3):
        rereader.schedule(f"INC{n}", 1000.0, Secret(b"token", "f" * 32), Known(row=7 + n, tenant="acme", created_at=0.0))
    assert all(entry[3].secret is None for entry in rereader._heap)
    await world.until(rereader, 1001.0)
    assert world.looked == [[7, 8, 9]]
    assert [note.incident for note in world.notes] == ["INC0", "INC1"]  # row 9 was not read this time


async def test_the_schedule_is_bounded(world):
    rereader = world.rereader(limit=5)
    planned = [rereader.schedule(f"I{n}", 1000.0, Secret(b"t", "f"), Unknown()) for n in range(8)]
    assert planned == [True] * 5 + [False] * 3
    assert rereader.dropped == 3


async def test_a_source_that_breaks_loses_one_look_and_not_the_rest(world):
    rereader = world.rereader()
    rereader.schedule("INC", 1000.0, Secret(b"t", "f"), Unavailable("timeout"))
    world.clock.now = 1001.0
    good, rereader._look = rereader._look, None
    with pytest.raises(TypeError):
        await rereader.look_now()
    rereader._look = good
    await world.until(rereader, 1010.0, 1060.0)
    assert [note.name for note in world.notes] == ["reread+10s", "reread+60s"]


async def test_a_full_spool_is_counted(world):
    def full(note):
        raise SpoolError("full")

    rereader = world.rereader()
    rereader._record = full
    rereader.schedule("INC", 1000.0, Secret(b"t", "f"), Unknown())
    await world.until(rereader, 1001.0)
    assert rereader.unrecorded == 1
