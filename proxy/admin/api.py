"""The read-only JSON API: the same questions as the pages and the command line. Nothing here changes anything.

Each route is described once (`ROUTES`); /api/v1/openapi.json is made from that. Times are seconds since the epoch.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from proxy.admin.admission import Slots
from proxy.admin.asking import Asking, Minute, Silence, StoreAway
from proxy.admin.filters import LONGEST, BadQuestion, filters_of, is_fingerprint, limit_of, span_of
from proxy.admin.http import Answer, Handler, Request, Response, Route
from proxy.admin.openapi import Described, Parameter, Trouble, document
from proxy.admin.overview import Outlook, Overview
from proxy.core.absence import LastRequest
from proxy.core.diagnosis import Diagnosis
from proxy.core.explain import Explanation, explain
from proxy.core.history import TokenHistory
from proxy.core.incident import Incident, Kind, Note

MOST: Final = 200
"""Incidents of one answer: about 200 KB."""
TENANTS: Final = 1_000
"""Tenants of one answer, those heard of last."""


class IncidentsAnswer(msgspec.Struct, frozen=True):
    """Incidents, newest first. `next` is the value of `before` for the next page, null at the end. A page may hold fewer than
    `limit` when it is filtered by reason or kind. `store_error` is set when only the spool could be read."""

    incidents: list[Incident]
    next: str | None
    store_error: str


class IncidentAnswer(msgspec.Struct, frozen=True):
    """One incident with its cause, its explanation in sentences, and what was learned later. `unread` names evidence that
    could not be read."""

    incident: Incident
    diagnosis: Diagnosis
    explanation: Explanation
    notes: list[Note]
    unread: list[str]


class NotesAnswer(msgspec.Struct, frozen=True):
    """What was learned after an incident, oldest first."""

    notes: list[Note]


class TokenAnswer(msgspec.Struct, frozen=True):
    """What is remembered of a token, and the ids of its newest incidents."""

    history: TokenHistory
    incidents: list[str]


class TenantSeen(msgspec.Struct, frozen=True):
    """A tenant and when it was last heard of."""

    tenant: str
    last: float


class TenantsAnswer(msgspec.Struct, frozen=True):
    """Tenants, those heard of last first. `known` is how many there are."""

    tenants: list[TenantSeen]
    known: int


class ActivityAnswer(msgspec.Struct, frozen=True):
    """Minutes with traffic of one tenant, oldest first, and its last request on record."""

    tenant: str
    minutes: list[Minute]
    last: LastRequest | None


_ID: Final = Parameter("id", "path", "An incident id: 26 characters.", {"type": "string"})
_TENANT: Final = Parameter("tenant", "path", "A tenant's name.", {"type": "string", "minLength": 1})
_SPAN: Final = (
    Parameter("from", "query", "Seconds since the epoch; seven days before `to` without it.", {"type": "number"}),
    Parameter("to", "query", "Seconds since the epoch; now without it. At most 90 days after `from`.", {"type": "number"}),
)
_TEXT: Final = {"type": "string", "maxLength": LONGEST}
_FILTERS: Final = (
    Parameter("tenant", "query", "Only this tenant's.", _TEXT),
    Parameter("token", "query", "Only the token with this fingerprint.", {"type": "string", "pattern": "^([0-9A-Fa-f]{32})?$"}),
    Parameter("reason", "query", "Only with this reason.", _TEXT),
    Parameter("kind", "query", "Only recorded as this.", {"type": "string", "enum": ["", *(str(kind) for kind in Kind)]}),
    Parameter("before", "query", "Go on behind this incident: `next` of the page before.", _TEXT),
)
_LIMIT: Final = Parameter(
    "limit", "query", "How many at most.", {"type": "integer", "minimum": 1, "maximum": MOST, "default": 50}
)
_FINGERPRINT: Final = Parameter(
    "fingerprint", "path", "32 hex digits, never a token.", {"type": "string", "pattern": "^[0-9A-Fa-f]{32}$"}
)
_V1: Final = "/api/v1"

ROUTES: Final = (
    Described(f"{_V1}/overview", "overview", "The road, tenants, open groups of incidents.", Overview),
    Described(f"{_V1}/incidents", "incidents", "Incidents, newest first.", IncidentsAnswer, (*_FILTERS, _LIMIT)),
    Described(f"{_V1}/incidents/{{id}}", "incident", "One incident with its cause.", IncidentAnswer, (_ID,), can_miss=True),
    Described(f"{_V1}/incidents/{{id}}/notes", "notes", "What was learned after it.", NotesAnswer, (_ID,), can_miss=True),
    Described(
        f"{_V1}/tokens/{{fingerprint}}", "token", "What is remembered of a token.", TokenAnswer, (_FINGERPRINT,), can_miss=True
    ),
    Described(f"{_V1}/tenants", "tenants", "The tenants that were seen.", TenantsAnswer),
    Described(
        f"{_V1}/tenants/{{tenant}}/activity", "activity", "A tenant's traffic by minute.", ActivityAnswer, (_TENANT, *_SPAN)
    ),
    Described(
        f"{_V1}/tenants/{{tenant}}/absence",
        "absence",
        "What arrived of a tenant, and for which share of the time that is proven.",
        Silence,
        (_TENANT, *_SPAN),
    ),
)


class Missing(Exception):  # noqa: N818 - an answer, not a mistake
    """There is no such thing: 404."""


class Api:
    """The routes for programs."""

    def __init__(self, asking: Asking, outlook: Outlook, clock: Callable[[], float] = time.time) -> None:
        self._asking = asking
        self._outlook = outlook
        self._clock = clock
        self._slots = Slots()
        self._document = msgspec.json.encode(document(ROUTES))

    def routes(self) -> list[Route]:
        """All routes."""
        answers: dict[str, Callable[[Request], Awaitable[Any]]] = {
            "overview": self._overview,
            "incidents": self._incidents,
            "incident": self._incident,
            "notes": self._notes,
            "token": self._token,
            "tenants": self._tenants,
            "activity": self._activity,
            "absence": self._absence,
        }
        return [
            Route(f"{_V1}/openapi.json", self._openapi),
            *(Route(route.path, self._json(answers[route.name])) for route in ROUTES),
        ]

    def _json(self, ask: Callable[[Request], Awaitable[Any]]) -> Handler:
        async def answer(request: Request) -> Answer:
            return _encoded(await ask(request))

        async def handle(request: Request) -> Answer:
            try:
                return await self._slots.run(answer, request)
            except BadQuestion as bad:
                return _encoded(Trouble(str(bad)), 400)
            except Missing as missing:
                return _encoded(Trouble(str(missing)), 404)
            except StoreAway as away:
                return _encoded(Trouble(f"the store does not answer: {away}"), 503)
            except TimeoutError:
                return _encoded(Trouble("the store took too long"), 503)

        return handle

    async def _openapi(self, _request: Request) -> Answer:
        return Response(self._document, content_type="application/json")

    async def _overview(self, _request: Request) -> Overview:
        return await self._outlook.overview(self._clock())

    async def _incidents(self, request: Request) -> IncidentsAnswer:
        filters, limit = filters_of(request.query), limit_of(request.query, 50, MOST)
        try:
            page = await self._asking.incidents(filters.tenant or None, filters.token or None, filters.before or None, limit)
        except ValueError:
            raise BadQuestion("before: an incident id") from None
        return IncidentsAnswer(filters.matching(page.incidents), page.before, page.store_error)

    async def _found(self, request: Request) -> Incident:
        try:
            found = await self._asking.incident(request.named["id"])
        except ValueError:
            raise BadQuestion("id: an incident id has 26 characters") from None
        if found is None:
            raise Missing("there is no such incident")
        return found

    async def _incident(self, request: Request) -> IncidentAnswer:
        incident = await self._found(request)
        case = await self._asking.case(incident)
        told = explain(case.evidence, case.diagnosis, self._clock())
        return IncidentAnswer(incident, case.diagnosis, told, list(case.evidence.notes), list(case.unread))

    async def _notes(self, request: Request) -> NotesAnswer:
        return NotesAnswer(list(await self._asking.notes((await self._found(request)).id)))

    async def _token(self, request: Request) -> TokenAnswer:
        fingerprint = request.named["fingerprint"].lower()
        if not is_fingerprint(fingerprint):
            raise BadQuestion("fingerprint: 32 hex digits, never a token")
        history = await self._asking.history(fingerprint)
        if history is None:
            raise Missing("nothing is remembered of this token")
        page = await self._asking.incidents(None, fingerprint, None, MOST)
        return TokenAnswer(history, [incident.id for incident in page.incidents])

    async def _tenants(self, _request: Request) -> TenantsAnswer:
        seen = await self._asking.tenants()
        newest = sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:TENANTS]
        return TenantsAnswer([TenantSeen(tenant, last) for tenant, last in newest], len(seen))

    async def _activity(self, request: Request) -> ActivityAnswer:
        tenant = request.named["tenant"]
        minutes = await self._asking.activity(tenant, *span_of(request.query, self._clock()))
        return ActivityAnswer(tenant, list(minutes), await self._asking.last_request(tenant))

    async def _absence(self, request: Request) -> Silence:
        return await self._asking.silence(request.named["tenant"], *span_of(request.query, self._clock()))


def _encoded(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, "application/json")
