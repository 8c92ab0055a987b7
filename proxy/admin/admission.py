"""How API and pages share the machine with requests of clients: a few questions at a time, each within a limit of time."""

from __future__ import annotations

import asyncio
from typing import Final

from proxy.admin.http import Answer, Handler, Request

AT_ONCE: Final = 4
"""Questions that are answered at the same time: enough for a team, and requests of clients do not feel it."""
PATIENCE: Final = 20.0
"""Seconds for one question, waiting included: a store that hangs must not hold a slot for ever."""


class Slots:
    """A few at a time."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)

    async def run(self, handler: Handler, request: Request) -> Answer:
        """Run a handler in a slot. TimeoutError when it does not end in time."""
        async with asyncio.timeout(PATIENCE), self._free:
            return await handler(request)
