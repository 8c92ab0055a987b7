"""Deadlines without timers: whoever waits carries a `deadline`, and one sweep a few times a second ends what is late.

A timer per read costs more than the read. The price is that a deadline is kept to within SWEEP_EVERY.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

SWEEP_EVERY: Final = 0.25
"""Seconds between sweeps: small against the shortest deadline setting (1 s), 5,000 connections cost under 1 ms a sweep."""

NEVER: Final = float("inf")


class Waiting(Protocol):
    """Something that may wait too long. `deadline` is in the loop's time."""

    @property
    def deadline(self) -> float:
        """When the wait has been too long, NEVER while nothing is awaited."""

    def expired(self, now: float) -> None:
        """Called once `deadline` has passed; must end the wait or set a new deadline."""


class Deadlines:
    """The set of everything that may be late."""

    def __init__(self) -> None:
        self._waiting: set[Waiting] = set()

    def watch(self, waiting: Waiting) -> None:
        """Begin to watch."""
        self._waiting.add(waiting)

    def forget(self, waiting: Waiting) -> None:
        """Stop watching."""
        self._waiting.discard(waiting)

    async def run(self) -> None:
        """Sweep for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            self.sweep(loop.time())

    def sweep(self, now: float) -> None:
        """End everything whose deadline has passed."""
        for late in [waiting for waiting in self._waiting if waiting.deadline <= now]:
            late.expired(now)
