"""What is read beside an incident is written right after it, and no more often than each second."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from proxy.evidence.redis_store import StoreError
from proxy.evidence.settle import PAUSE, Settle


@contextlib.asynccontextmanager
async def running(settle: Settle) -> AsyncIterator[None]:
    task = asyncio.create_task(settle.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_in_order_at_once_and_then_after_a_pause() -> None:
    done: list[str] = []
    paused: list[float] = []
    awake = asyncio.Event()

    async def pause(seconds: float) -> None:
        paused.append(seconds)
        await awake.wait()

    async def first() -> None:
        done.append("history")
        raise StoreError("unreachable", "away")

    async def second() -> None:
        done.append("events")

    settle = Settle((first, second), pause)
    async with running(settle):
        await turns()
        assert done == []
        settle.hurry()
        await turns()
        assert ["history", "events"] == done
        for _ in range(1_000):
            settle.hurry()
        await turns()
        assert ["history", "events"] == done
        assert [PAUSE] == paused
        awake.set()
        await turns()
        assert ["history", "events"] * 2 == done, "a thousand incidents meanwhile are one reason to write"
