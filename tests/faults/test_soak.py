"""Minutes of load with small troubles in between: memory and descriptors are as flat at the end as after a quarter of the time.

`make soak MINUTES=30` runs it on what is compiled.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import time
from collections.abc import Sequence
from typing import Final

import psutil
import pytest
from msgspec import Struct

from tests.faults.load import PATIENCE, account
from tests.faults.relay import Way
from tests.faults.rig import Rig, running_rig

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
EVERY = 5.0
"""Seconds between samples."""

pytestmark = [pytest.mark.bench, pytest.mark.timeout(MINUTES * 60 + 300)]

BOUNDS = {
    "SCIM_WITNESS_FRESH__ACTIVE_WINDOW": "20",
    "SCIM_WITNESS_FRESH__TOKENS_LIMIT": "200",
    "SCIM_WITNESS_FRESH__NEGATIVE_LIMIT": "200",
    "SCIM_WITNESS_EVIDENCE__FOLD_WINDOW": "20",
    "SCIM_WITNESS_EVIDENCE__FLOOD_GROUPS": "500",
    "SCIM_WITNESS_EVIDENCE__HISTORY_LIMIT": "200",
}
"""So small that these memories are full after the first minutes: what grows afterwards has no bound."""

SELDOM: Final = 400
"""Tokens that nobody has, and as many that are used once in a while: all are met in the first quarter of ten minutes. Without
end of new ones, histories of unknown tokens alone would fill their own bound (20,000, 40 MB) for an hour."""

GROWTH = 0.03
SLACK = 2 << 20
"""Of resident memory, whichever is more: what an allocator that was long in use may hold beyond what lives."""

DESCRIPTORS = 4
"""More or fewer than at the beginning: connections that come and go while the sample is taken."""


class Sample(Struct, frozen=True):
    """The proxy at a moment: seconds since the start, resident octets, open descriptors, threads."""

    at: float
    resident: int
    descriptors: int
    threads: int


def sample(process: psutil.Process, started: float) -> Sample:
    return Sample(time.monotonic() - started, process.memory_info().rss, process.num_fds(), process.num_threads())


def quarters(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """The second and the last quarter: in the first one memories fill."""
    quarter = len(samples) // 4
    return samples[quarter : 2 * quarter], samples[-quarter:]


async def small_trouble(rig: Rig, turn: int) -> None:
    """Every way is cut once in a while, for a moment: what a fault leaves behind would pile up too."""
    relay = (rig.to_store, rig.to_backend, rig.to_primary, rig.to_replica, rig.to_proxy)[turn % 5]
    relay.turn(Way.RESET)
    await asyncio.sleep(0.3)
    relay.turn(Way.PASS)


async def test_memory_and_descriptors_stay_flat(capsys):
    async with running_rig(BOUNDS, small_disks=False) as rig:
        strange, seldom = itertools.count(), itertools.count()
        rig.never_seen = (f"never-seen-{next(seldom) % SELDOM + 1}" for _ in itertools.repeat(None))
        load = rig.new_load(PATIENCE)
        load.unknown = lambda: f"unknown-{next(strange) % SELDOM}"
        load.start()
        process, started, samples = psutil.Process(rig.proxy.pid), time.monotonic(), []
        incidents: set[str] = set()
        false_401 = false_allows = requests = 0
        while (at := time.monotonic() - started) < MINUTES * 60:
            await asyncio.sleep(EVERY)
            samples.append(sample(process, started))
            outcome = account(load, 0.0)
            requests, false_401 = requests + outcome.requests, false_401 + outcome.false_401
            false_allows += outcome.false_allows
            incidents |= {one.incident for one in load.sent if one.incident}
            load.sent.clear()
            if int(at // 30) != int((at + EVERY) // 30):
                await small_trouble(rig, int(at // 30))
        await load.right_again(time.monotonic(), 30)
        await load.stop()
        lost, doubled = await rig.until_stored(incidents, 30)
    early, late = quarters(samples)
    before, after = (statistics.median(one.resident for one in part) for part in (early, late))
    descriptors = [statistics.median(one.descriptors for one in part) for part in (early, late)]
    with capsys.disabled():
        print(
            f"\n{MINUTES:g} min, {requests:,} requests, {len(incidents):,} incidents: {before / 2**20:.1f} MiB resident after "
            f"a quarter, {after / 2**20:.1f} MiB at the end; descriptors {descriptors[0]:g}, {descriptors[1]:g}; threads "
            f"{samples[0].threads}, {samples[-1].threads}"
        )
        for one in samples[:: max(1, len(samples) // 12)]:
            print(f"  {one.at:6.0f} s  {one.resident / 2**20:6.1f} MiB  {one.descriptors:4} descriptors  {one.threads} threads")
    assert (0, 0, 0, 0) == (false_401, false_allows, len(lost), doubled)
    assert after - before <= max(before * GROWTH, SLACK)
    assert abs(descriptors[1] - descriptors[0]) <= DESCRIPTORS
    assert samples[-1].threads <= max(one.threads for one in early)
