"""The pages for people: each route asks the evidence, makes a value of it, and hands it to a template."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

from aiohttp import web

from proxy.admin.asking import Asking, Case, StoreAway
from proxy.admin.page_room import Room, static_routes
from proxy.admin.pages_incident import IncidentPage, incident_page
from proxy.core.diagnosis.scene import set_scene
from proxy.core.explain import explain_text
from proxy.core.incident import Incident
from proxy.core.token import Reading

NEIGHBOURS: Final = 12
"""Other incidents of the token and of the tenant that are read for the incident page."""
LOOK_SECONDS: Final = 2.0
"""How long a page waits for the token's state of now; then it shows the newest on record."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages:
    """The routes for people."""

    def __init__(self, asking: Asking, clock: Callable[[], float] = time.time) -> None:
        self._asking = asking
        self._clock = clock
        self._room = Room()

    def routes(self) -> list[web.AbstractRouteDef]:
        """All routes."""
        return [
            web.get("/incidents/{id}", self._guarded(self._incident)),
            web.get("/incidents/{id}/text", self._guarded(self._text)),
            web.get("/i/{id}", self._short_link),
            *static_routes(),
        ]

    def _guarded(self, handler: Handler) -> Handler:
        """With a slot, and with our own trouble said in words."""

        @functools.wraps(handler)
        async def handle(request: web.Request) -> web.StreamResponse:
            async with self._room.slots:
                try:
                    return await handler(request)
                except StoreAway as away:
                    return await self._room.page("trouble.html", 503, now=self._clock(), store_error=str(away))

        return handle

    async def _missing(self, what: str, advice: str) -> web.Response:
        return await self._room.page("missing.html", 404, now=self._clock(), what=what, advice=advice)

    async def _short_link(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(f"/incidents/{quote(request.match_info['id'].upper(), safe='')}")

    async def _found(self, request: web.Request) -> Incident | None:
        try:
            return await self._asking.incident(request.match_info["id"])
        except ValueError:
            return None

    async def _incident(self, request: web.Request) -> web.StreamResponse:
        incident = await self._found(request)
        if incident is None:
            return await self._no_incident()
        page = await self._page_of(incident)
        return await self._room.page("incident.html", page=page, now=page.told.now, here="incidents")

    async def _no_incident(self) -> web.Response:
        return await self._missing(
            "There is no such incident",
            "Is the id whole (26 characters)? Is it another deployment's, or older than store.retention_days?",
        )

    async def _page_of(self, incident: Incident) -> IncidentPage:
        case, of_token, of_tenant, tenants = await asyncio.gather(
            self._asking.case(incident),
            self._neighbours(None, incident.fingerprint),
            self._neighbours(incident.tenant, None),
            self._count_tenants(),
        )
        present = await self._look(case)
        return incident_page(case, present, self._clock(), of_token, of_tenant, tenants)

    async def _look(self, case: Case) -> Reading | None:
        row = set_scene(case.evidence).last_row
        if row is None:
            return None
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await self._asking.look_again(row)
        except TimeoutError:
            return None

    async def _neighbours(self, tenant: str | None, fingerprint: str | None) -> tuple[Incident, ...]:
        if not (tenant or fingerprint):
            return ()
        return (await self._asking.incidents(tenant, fingerprint or None, None, NEIGHBOURS)).incidents

    async def _count_tenants(self) -> int:
        try:
            return sum(not name.startswith("_") for name in await self._asking.tenants())
        except StoreAway:
            return 0

    async def _text(self, request: web.Request) -> web.StreamResponse:
        incident = await self._found(request)
        if incident is None:
            return await self._no_incident()
        case = await self._asking.case(incident)
        return web.Response(text=explain_text(case.evidence, case.diagnosis, self._clock()))
