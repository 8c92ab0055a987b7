"""Each part fails in each way under load: no false 401, nobody let in beyond the bound, no incident lost, nothing hangs."""

from __future__ import annotations

import asyncio
import contextlib
import time

import asyncpg
import pytest

from tests.faults.cells import CELLS, Cell
from tests.faults.load import Load, account
from tests.faults.nonsense import FAULTS, NONSENSE, PARTS
from tests.faults.rig import Rig
from tests.faults.table import Table

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

MENDED_WITHIN = 25.0
"""Seconds for everything to be well again: the longest pause of any part of ours is 8."""


def test_every_part_and_every_fault_has_a_cell_or_a_reason():
    cells = [(cell.part, cell.fault) for cell in CELLS]
    assert sorted({*cells, *NONSENSE}) == sorted((part, fault) for part in PARTS for fault in FAULTS)
    assert len(cells) + len(NONSENSE) == len(PARTS) * len(FAULTS)


@pytest.mark.parametrize("cell", CELLS, ids=[f"{cell.part}-{cell.fault}".replace(" ", "_") for cell in CELLS])
@pytest.mark.asyncio(loop_scope="session")
async def test_cell(cell: Cell, rig: Rig, table: Table):
    async with rig.faked_clock(cell.faked_clock) if cell.faked_clock else contextlib.nullcontext():
        await failed_and_mended(cell, rig, table)


async def failed_and_mended(cell: Cell, rig: Rig, table: Table) -> None:
    """Load, the fault, its end, and what came of it."""
    load = rig.new_load(cell.patience)
    doomed = [await rig.a_new_token() for _ in range(2)]
    load.use(doomed)
    load.start()
    try:
        await load.right_again(time.monotonic(), MENDED_WITHIN)  # the cell before may have restarted something
        seen = {one.incident for one in load.sent if one.incident}
        load.sent.clear()
        async with cell.inject(rig, load):
            await revoked_and_issued(rig, load, doomed)
            await asyncio.sleep(cell.hold)
        mended = time.monotonic()
        recovery = await load.right_again(mended, MENDED_WITHIN)
    finally:
        await load.stop()
    stopped = time.monotonic()
    outcome = account(load, cell.bound)
    seen |= {one.incident for one in load.sent if one.incident}
    lost, outcome.doubled = await rig.until_stored(seen, MENDED_WITHIN)
    outcome.lost, outcome.recovery, outcome.evidence = len(lost), recovery, time.monotonic() - stopped
    table.add(cell.part, cell.fault, outcome)
    shown = [one for one in load.sent if not one.right][:5]
    assert outcome.false_401 == 0, [one for one in load.sent if one.status == 401 and not one.right]
    assert outcome.false_allows == 0, outcome
    assert (outcome.lost, outcome.doubled) == (0, 0), lost
    assert outcome.hung == 0 or cell.hangs, shown
    assert outcome.cut == 0 or cell.cuts, [one for one in load.sent if one.error][:5]
    assert outcome.incidents, "a cell without a refusal shows nothing"


async def revoked_and_issued(rig: Rig, load: Load, doomed: list[str]) -> None:
    """In the middle of it a token is revoked and another one issued, where the primary can be written to at all."""
    with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError):
        async with asyncio.timeout(0.5):
            await rig.revoke(load, doomed[0])
            load.use([await rig.a_new_token()])
