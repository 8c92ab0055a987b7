"""The pages for people: each route asks the evidence, makes a value of it, and hands it to a template."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from proxy.admin import charts
from proxy.admin.admission import Slots
from proxy.admin.asking import Asking, Case, StoreAway
from proxy.admin.filters import REASONS, BadQuestion, filters_of, is_fingerprint
from proxy.admin.grouping import grouped
from proxy.admin.heat import DAYS, heat
from proxy.admin.http import Answer, Handler, Request, Response, Route, found, text
from proxy.admin.overview import DAY, Outlook
from proxy.admin.page_room import Room, static_routes
from proxy.admin.pages_incident import IncidentPage, fields_of, incident_page
from proxy.admin.pages_timeline import state_word
from proxy.admin.tail import Tail
from proxy.core.diagnosis.scene import set_scene
from proxy.core.explain import explain_text
from proxy.core.history import StateChange, TokenHistory
from proxy.core.incident import Incident, Kind
from proxy.core.token import Known, Reading

NEIGHBOURS: Final = 12
"""Other incidents of the token and of the tenant that are read for the incident page."""
LOOK_SECONDS: Final = 2.0
"""How long a page waits for the token's state of now; then it shows the newest on record."""
GROUPED: Final = 200
"""Incidents that one page of the list groups: one page of the store, whatever the total."""
SPANS: Final = {"1": 1, "7": 7, "30": 30, "90": 90}
"""Days for which a tenant's page answers whether anything arrived."""


class Pages:
    """The routes for people."""

    def __init__(self, asking: Asking, outlook: Outlook, clock: Callable[[], float] = time.time) -> None:
        self._asking = asking
        self._outlook = outlook
        self._clock = clock
        self._room = Room()
        self._slots = Slots()
        self._tail = Tail(asking, self._row)

    def routes(self) -> list[Route]:
        """All routes."""
        pages: dict[str, Handler] = {
            "/": self._overview,
            "/overview/road": self._road,
            "/overview/record": self._record,
            "/incidents": self._incidents,
            "/incidents/{id}": self._incident,
            "/incidents/{id}/text": self._text,
            "/tokens/{fingerprint}": self._token,
            "/tenants/{tenant}": self._tenant,
            "/find": self._find,
        }
        return [
            Route("/incidents/stream", self._tail.stream),
            *(Route(path, self._guarded(handler)) for path, handler in pages.items()),
            Route("/i/{id}", self._short_link),
            *static_routes(),
        ]

    def _guarded(self, handler: Handler) -> Handler:
        """With a slot, and with our own trouble said in words."""

        @functools.wraps(handler)
        async def handle(request: Request) -> Answer:
            try:
                return await self._slots.run(handler, request)
            except StoreAway as away:
                return await self._page("trouble.html", 503, store_error=str(away))
            except TimeoutError:
                return await self._page("trouble.html", 503, store_error="it took too long")
            except BadQuestion as bad:
                return await self._missing("This cannot be asked", f"{bad}.", 400)

        return handle

    async def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        return await self._room.page(template, status, **({"now": self._clock()} | values))

    async def _missing(self, what: str, advice: str, status: int = 404) -> Response:
        return await self._page("missing.html", status, what=what, advice=advice)

    async def _short_link(self, request: Request) -> Answer:
        return found(f"/incidents/{quote(request.named['id'].upper(), safe='')}")

    async def _find(self, request: Request) -> Answer:
        """Where a typed word leads: an incident id, a fingerprint, else a tenant."""
        word = request.query.get("q", "").strip()[:200]
        if not word:
            return found("/incidents")
        if is_fingerprint(word.lower()):
            return found(f"/tokens/{word.lower()}")
        if len(word) == 26 and word.isascii() and word.isalnum():
            return found(f"/incidents/{word.upper()}")
        return found(f"/tenants/{quote(word, safe='')}")

    # --- overview and list ------------------------------------------------------------------------------------------

    async def _overview(self, _request: Request) -> Answer:
        now = self._clock()
        found = await self._outlook.overview(now)
        return await self._page(
            "overview.html", o=found, charts=charts.of_road(found, now), now=now, here="overview", store_error=found.store_error
        )

    async def _road(self, _request: Request) -> Answer:
        """The part of the overview that this process knows by itself, for its refresh."""
        now = self._clock()
        road = self._outlook.road(now)
        return await self._page("overview_road.html", o=road, charts=charts.of_road(road, now), now=now)

    async def _record(self, _request: Request) -> Answer:
        """The part of the overview that is on record, for its refresh."""
        now = self._clock()
        found = await self._outlook.overview(now)
        return await self._page("overview_record.html", o=found, now=now, store_error=found.store_error)

    async def _row(self, incident: Incident) -> str:
        return await self._room.part("incident_row.html", i=incident)

    async def _incidents(self, request: Request) -> Answer:
        filters = filters_of(request.query)
        try:
            found = await self._asking.incidents(filters.tenant or None, filters.token or None, filters.before or None, GROUPED)
        except ValueError:
            raise BadQuestion("before: an incident id") from None
        matching = filters.matching(found.incidents)
        return await self._page(
            "incidents.html",
            groups=grouped(matching),
            count=len(matching),
            older=found.before,
            filters=filters,
            reasons=REASONS,
            kinds=[str(kind) for kind in Kind],
            here="incidents",
            store_error=found.store_error,
        )

    # --- one incident -----------------------------------------------------------------------------------------------

    async def _found(self, request: Request) -> Incident | None:
        try:
            return await self._asking.incident(request.named["id"])
        except ValueError:
            return None

    async def _incident(self, request: Request) -> Answer:
        incident = await self._found(request)
        if incident is None:
            return await self._no_incident()
        page = await self._page_of(incident)
        return await self._page("incident.html", page=page, now=page.told.now, here="incidents")

    async def _no_incident(self) -> Response:
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

    async def _text(self, request: Request) -> Answer:
        incident = await self._found(request)
        if incident is None:
            return await self._no_incident()
        case = await self._asking.case(incident)
        return text(explain_text(case.evidence, case.diagnosis, self._clock()))

    # --- token and tenant -------------------------------------------------------------------------------------------

    async def _token(self, request: Request) -> Answer:
        fingerprint = request.named["fingerprint"].lower()
        if not is_fingerprint(fingerprint):
            raise BadQuestion("A token is named by its fingerprint of 32 hex digits, never by itself")
        history, listing = await asyncio.gather(
            self._asking.history(fingerprint), self._asking.incidents(None, fingerprint, None, NEIGHBOURS)
        )
        reading = history.last_reading if history is not None else None
        return await self._page(
            "token.html",
            fingerprint=fingerprint,
            history=history,
            incidents=listing.incidents,
            state=fields_of(reading) if reading is not None else {},
            setup=_setup(history),
            changes=[_change(change) for change in history.changes] if history is not None else [],
            store_error=listing.store_error,
        )

    async def _tenant(self, request: Request) -> Answer:
        tenant, now = request.named["tenant"], self._clock()
        days = SPANS.get(request.query.get("days", "7"))
        if days is None:
            raise BadQuestion(f"days: one of {', '.join(SPANS)}")
        silence, last, minutes, setup, listing = await asyncio.gather(
            self._asking.silence(tenant, now - days * DAY, now),
            self._asking.last_request(tenant),
            self._asking.activity(tenant, now - DAYS * DAY, now),
            self._asking.setup(tenant),
            self._asking.incidents(tenant, None, None, NEIGHBOURS),
        )
        return await self._page(
            "tenant.html",
            tenant=tenant,
            silence=silence,
            last=last,
            days=heat(minutes, now),
            charts=charts.of_tenant(minutes, now),
            setup=setup,
            incidents=listing.incidents,
            now=now,
            store_error=listing.store_error,
        )


def _setup(history: TokenHistory | None) -> str:
    """Which way of configuring the row tells, in words."""
    state = history.last_reading.state if history is not None and history.last_reading is not None else None
    if not isinstance(state, Known) or state.refreshable is None:
        return "not known"
    return "authorization code with refresh" if state.refreshable else "a token without refresh (pasted, or never renewed)"


def _change(change: StateChange) -> Mapping[str, Any]:
    """A change with its states in words, each judged when it was read."""
    before = Reading(change.before, "", "", change.seen_before)
    after = Reading(change.after, "", "", change.seen_after)
    return msgspec.structs.asdict(change) | {"before": state_word(before), "after": state_word(after)}
