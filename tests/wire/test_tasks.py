"""Whoever closes the tasks gets to the end, whatever a task does with its cancellation."""

from __future__ import annotations

import asyncio

import pytest

from proxy import tasks
from proxy.tasks import Tasks


async def test_a_swallowed_cancellation_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CANCEL_AGAIN", 0.01)
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    owner = Tasks(lambda name, error: None)
    _ = owner.keep(stubborn, "stubborn")
    await asyncio.sleep(0)
    await owner.close()
    assert (3, 0) == (swallowed, len(owner))
