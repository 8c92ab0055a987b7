"""New incidents to open pages, by Server-Sent Events. One look at the store for all, while a page is open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from proxy.admin.asking import Asking, Listing
from proxy.admin.filters import BadQuestion, Filters, filters_of
from proxy.admin.http import Answer, Request, Stream, text
from proxy.core.incident import Incident

LOOK_EVERY: Final = 2.0
"""Seconds between looks: a person sees an incident as it happens, and the store has one small page to read."""
PAGE: Final = 50
LISTENERS: Final = 20
"""Pages that follow at once; past it a page is told to come again later and works as before."""


class Tail:
    """The handler of the stream. `row` makes of an incident what a page shows of it."""

    def __init__(self, asking: Asking, row: Callable[[Incident], Awaitable[str]]) -> None:
        self._asking = asking
        self._row = row
        self._listeners = 0
        self._looked = 0.0
        self._newest = Listing(())
        self._look = asyncio.Lock()

    async def stream(self, request: Request) -> Answer:
        """Send a row for every new incident that matches, until the client goes."""
        try:
            filters = filters_of(request.query)
        except BadQuestion as bad:
            return text(f"{bad}\n", 400)
        # looked at before the answer begins: whoever sees it begin is told of whatever comes from then on
        seen = {i.id for i in (await self._recent()).incidents}
        if self._listeners >= LISTENERS:
            return text("too many pages follow\n", 503, headers={"Retry-After": "60"})
        return Stream(self._follow(filters, seen), "text/event-stream")

    async def _follow(self, filters: Filters, seen: set[str]) -> AsyncGenerator[bytes, None]:
        """A comment at every look keeps the connection, and shows when it is gone."""
        self._listeners += 1
        try:
            yield b": following\n\n"
            while True:
                await asyncio.sleep(LOOK_EVERY)
                newest = (await self._recent()).incidents
                for incident in reversed(filters.matching(newest)):
                    if incident.id not in seen and (not filters.token or incident.fingerprint == filters.token):
                        yield _event(incident.id, await self._row(incident))
                seen = {i.id for i in newest} or seen
                yield b": .\n\n"
        finally:
            self._listeners -= 1

    async def _recent(self) -> Listing:
        async with self._look:
            if time.monotonic() - self._looked >= LOOK_EVERY / 2:
                self._newest = await self._asking.incidents(None, None, None, PAGE)
                self._looked = time.monotonic()
            return self._newest


def _event(number: str, row: str) -> bytes:
    """An event; a line break within its data would end it, so each line is a field of its own."""
    data = "".join(f"data: {line}\n" for line in row.splitlines())
    return f"event: incident\nid: {number}\n{data}\n".encode()
