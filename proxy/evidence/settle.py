"""Brings up to date, right after an incident, what a diagnosis reads beside it: histories, first uses and ends of tokens, OAuth
calls.

Each of these is written by a loop of its own every second. Who asks in the second of the incident would else be told with
certainty what the evidence under way contradicts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from proxy.evidence.redis_store import StoreError

PAUSE: Final = 1.0
"""Seconds from one time to the next: under a flood of incidents this writes no more often than the loops themselves."""

Sleep = Callable[[float], Awaitable[None]]


class Settle:
    """`flushes` are run in their order: what one learns the next may need. A store that is away is left to their own loops."""

    def __init__(self, flushes: Sequence[Callable[[], Awaitable[object]]], sleep: Sleep = asyncio.sleep) -> None:
        self._flushes = tuple(flushes)
        self._sleep = sleep
        self._due = asyncio.Event()

    def hurry(self) -> None:
        """There was an incident. No I/O."""
        self._due.set()

    async def run(self) -> None:
        """Wait for incidents, for ever."""
        while True:
            await self._due.wait()
            self._due.clear()
            for flush in self._flushes:
                with contextlib.suppress(StoreError):  # the shipper reports the store
                    await flush()
            await self._sleep(PAUSE)
