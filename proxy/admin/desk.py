"""What the second listener answers: metrics and health here, API and pages by the routes that wiring passes in.

Every request passes the guard and leaves one audit line. Probes of /livez and /readyz are open to all, for a kubelet
carries no credential; they tell one word, and the parts only to who has access.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from proxy.admin.guard import Access, Guard
from proxy.admin.health import Health
from proxy.admin.http import Answer, Request, Response, Route, Routes, plain, text
from proxy.admin.metrics_page import Render, metrics_page

PROBES: Final = frozenset({"/livez", "/readyz"})

AGAIN: Final = frozenset({"/metrics", "/overview/road"})
"""Numbers that programs and open pages ask for every few seconds: a line for each would drown those that tell of a person.
What is on record is not among them."""

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer, unless it says otherwise."""

_REFUSALS: Final = {
    Access.MISSING: (401, "This listener needs a bearer token (ops.token).\n"),
    Access.WRONG: (401, "This is not the token of this listener.\n"),
    Access.PAUSED: (429, "Too many wrong tokens from this address; wait a minute.\n"),
    Access.FOREIGN_HOST: (403, "Without ops.token this listener answers to localhost only.\n"),
    Access.NO_CERTIFICATE: (403, "This listener needs a client certificate (ops.tls.client_ca_file).\n"),
    Access.OLD_CERTIFICATE: (403, "This client certificate has expired.\n"),
    Access.UNLISTED_CERTIFICATE: (403, "This client certificate is of nobody in ops.tls.client_names.\n"),
}
_log = structlog.get_logger("ops")

MakeRoutes = Callable[[], Sequence[Route]]


class Desk:
    """Answers every request of the ops listener.

    `more` makes the routes of API and pages when one is first asked for, in a thread: most processes are scraped and probed
    and never looked at, and templates with their engine are 4 MiB.
    """

    def __init__(self, guard: Guard, health: Health, render_metrics: Render, more: MakeRoutes) -> None:
        self._guard = guard
        self._routes = Routes(
            [
                Route("/livez", health.livez),
                Route("/readyz", health.readyz),
                Route("/metrics", metrics_page(render_metrics)),
            ]
        )
        self._make_more = more
        self._making = asyncio.Lock()
        self._more: Routes | None = None

    async def answer(self, request: Request) -> Answer:
        """Answer whoever may ask; nobody else learns more than that."""
        if request.path in PROBES and not request.query:
            return await self._routed(request)
        access = self._guard.judge(
            request.peer, request.host, request.authorization, time.monotonic(), request.certificate, time.time()
        )
        if access is not Access.GRANTED:
            _audit(request, access, _REFUSALS[access][0])
            return _refusal(access)
        status = 500
        try:
            answer = await self._routed(request)
            status = answer.status
        finally:
            _audit(request, access, status)
        return answer

    async def _routed(self, request: Request) -> Answer:
        answer = await self._routes.answer(request)
        if answer is None:
            answer = await (await self._have_more()).answer(request)
        return plain(404) if answer is None else answer

    async def _have_more(self) -> Routes:
        async with self._making:
            if self._more is None:
                self._more = Routes(await asyncio.to_thread(self._make_more))
            return self._more


def _refusal(access: Access) -> Response:
    status, words = _REFUSALS[access]
    headers = {401: {"WWW-Authenticate": 'Bearer realm="scim-witness ops"'}, 429: {"Retry-After": "60"}}
    return text(words, status, headers=headers.get(status))


def _audit(request: Request, access: Access, status: int) -> None:
    """One line per access. Scrapes and refreshes are worth one at level debug only. Of a certificate it names the subject
    and the serial number."""
    level = _log.warning if access is not Access.GRANTED else _log.debug if request.path in AGAIN else _log.info
    shown = request.certificate
    whose = {} if shown is None else {"subject": shown.subject, "serial": shown.serial}
    level("ops_access", access=str(access), peer=request.peer, method=request.method, path=request.path, status=status, **whose)
