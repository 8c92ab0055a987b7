"""Word of new incidents to open pages, by Server-Sent Events. One look at the store for all, while a page is open."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from aiohttp import hdrs, web

from proxy.admin.asking import Asking, Listing
from proxy.admin.filters import BadQuestion, Filters, filters_of

LOOK_EVERY: Final = 2.0
"""Seconds between looks: a person sees an incident as it happens, and the store has one small page to read."""
PAGE: Final = 50
LISTENERS: Final = 20
"""Pages that follow at once; past it a page is told to come again later and works as before."""


class Tail:
    """The handler of the stream."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._listeners = 0
        self._looked = 0.0
        self._newest = Listing(())
        self._look = asyncio.Lock()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send the id of every new incident that matches, until the client goes."""
        try:
            filters = filters_of(request.query)
        except BadQuestion as bad:
            return web.Response(status=400, text=f"{bad}\n")
        if self._listeners >= LISTENERS:
            return web.Response(status=503, text="too many pages follow\n", headers={hdrs.RETRY_AFTER: "60"})
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream"})
        self._listeners += 1
        try:
            await response.prepare(request)
            with contextlib.suppress(ConnectionResetError):
                await self._follow(response, filters)
        finally:
            self._listeners -= 1
        return response

    async def _follow(self, response: web.StreamResponse, filters: Filters) -> None:
        """A comment at every look keeps the connection, and shows when it is gone."""
        seen = {i.id for i in (await self._recent()).incidents}
        await response.write(b": following\n\n")
        while True:
            await asyncio.sleep(LOOK_EVERY)
            newest = (await self._recent()).incidents
            for incident in reversed(filters.matching(newest)):
                if incident.id not in seen and (not filters.token or incident.fingerprint == filters.token):
                    await response.write(f"event: incident\ndata: {incident.id}\n\n".encode())
            seen = {i.id for i in newest} or seen
            await response.write(b": .\n\n")

    async def _recent(self) -> Listing:
        async with self._look:
            if time.monotonic() - self._looked >= LOOK_EVERY / 2:
                self._newest = await self._asking.incidents(None, None, None, PAGE)
                self._looked = time.monotonic()
            return self._newest
