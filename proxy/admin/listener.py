"""The second listener: metrics and health here, API and pages by the routes that wiring passes in.

Every request passes the guard and leaves one audit line. Probes of /livez and /readyz are open to all, for a kubelet
carries no token; they tell one word, and the parts only to who has access.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog
from aiohttp import hdrs, web

from proxy.admin.guard import Access, Guard
from proxy.admin.health import Health
from proxy.admin.metrics_page import Render, metrics_page

PROBES: Final = frozenset({"/livez", "/readyz"})
STOP_WITHIN: Final = 2.0
"""Seconds for running ops requests at the end: a scrape takes milliseconds, and nobody loses by a broken page."""

IDLE_TIMEOUT: Final = 75.0
"""Seconds an unused ops connection is kept: longer than the usual scrape interval of 15 to 60 s."""

_HEADERS: Final = {
    hdrs.SERVER: "scim-witness",
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_REFUSALS: Final = {
    Access.MISSING: (401, "This listener needs a bearer token (ops.token).\n"),
    Access.WRONG: (401, "This is not the token of this listener.\n"),
    Access.PAUSED: (429, "Too many wrong tokens from this address; wait a minute.\n"),
    Access.FOREIGN_HOST: (403, "Without ops.token this listener answers to localhost only.\n"),
}
_log = structlog.get_logger("ops")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class OpsListener:
    """Starts and stops the listener. ValueError for an address beyond loopback without a token."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        token: str | None,
        health: Health,
        render_metrics: Render,
        routes: Iterable[web.AbstractRouteDef] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._guard = Guard(host, token)

        @web.middleware
        async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._admit(request, handler)

        app = web.Application(middlewares=[admit])
        app.on_response_prepare.append(_add_headers)
        app.add_routes(
            [
                web.get("/livez", health.livez),
                web.get("/readyz", health.readyz),
                web.get("/metrics", metrics_page(render_metrics)),
                *routes,
            ]
        )
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=STOP_WITHIN, keepalive_timeout=IDLE_TIMEOUT
        )

    @property
    def port(self) -> int:
        """The port it listens on: the system's choice when it was asked for 0."""
        addresses = self._runner.addresses
        return int(addresses[0][1]) if addresses else self._port

    def use(self, token: str) -> None:
        """From now on ask for another token."""
        self._guard.use(token)

    async def start(self, sock: socket.socket | None = None) -> None:
        """Listen, on a socket that is bound already where one is given. OSError when the address cannot be had."""
        await self._runner.setup()
        site: web.BaseSite
        if sock is not None:
            site = web.SockSite(self._runner, sock, ssl_context=self._tls)
        else:
            site = web.TCPSite(self._runner, self._host, self._port, ssl_context=self._tls)
        await site.start()

    async def stop(self) -> None:
        """Stop listening and end running requests."""
        await self._runner.cleanup()

    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in PROBES and not request.query_string:
            return await handler(request)
        access = self._guard.judge(
            request.remote or "", request.host, request.headers.getall(hdrs.AUTHORIZATION, []), time.monotonic()
        )
        if access is not Access.GRANTED:
            _audit(request, access, _REFUSALS[access][0])
            return _refusal(access)
        status = 500
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as answer:
            status = answer.status
            raise
        finally:
            _audit(request, access, status)
        return response


def _refusal(access: Access) -> web.Response:
    status, text = _REFUSALS[access]
    response = web.Response(status=status, text=text)
    if status == 401:
        response.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="scim-witness ops"'
    if status == 429:
        response.headers[hdrs.RETRY_AFTER] = "60"
    return response


def _audit(request: web.Request, access: Access, status: int) -> None:
    """One line per access. A scrape that went well is worth a line at level debug only."""
    level = _log.warning if access is not Access.GRANTED else _log.debug if request.path == "/metrics" else _log.info
    level("ops_access", access=str(access), peer=request.remote, method=request.method, path=request.path, status=status)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        if name not in response.headers or name == hdrs.SERVER:
            response.headers[name] = value
