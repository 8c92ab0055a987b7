"""The second listener: the server of the data plane, with its bounds and its strictness, before the desk of the ops plane.

One server for both, so that there is one to trust, and none of aiohttp's 15 MiB in a proxy that asks nobody by HTTP.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
import weakref
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog

from proxy.admin.certificate import certificate_of
from proxy.admin.desk import HEADERS, Desk, MakeRoutes
from proxy.admin.guard import Guard
from proxy.admin.health import Health
from proxy.admin.http import Answer, Response, Stream, plain, read
from proxy.admin.metrics_page import Render
from proxy.core.grammar import Fault
from proxy.core.headers import value_of
from proxy.core.inbound import BadCredential, Inbound
from proxy.edge import answers
from proxy.edge.client_connection import ClientConnection
from proxy.edge.deadlines import Deadlines
from proxy.edge.listener import Listener, ListenerOptions, Peers, bind
from proxy.tasks import Report, Tasks
from proxy.wire.ops_tls import OpsTls

STOP_WITHIN: Final = 0.5
"""Seconds for running ops requests at the end: a scrape takes milliseconds, and nobody loses by a broken page."""

CONNECTIONS: Final = 256
"""Far more than scrapers, probes and people who look at pages; beyond it a connection is told 503."""

TOLD_EVERY: Final = 1.0
"""Seconds between lines about handshakes that failed: a scanner could fill the log otherwise. The next line counts the rest."""

_log = structlog.get_logger("ops")


class OpsListener:
    """Starts and stops the listener. ValueError for an address beyond loopback without a credential (see Guard)."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        token: str | None,
        health: Health,
        render_metrics: Render,
        report: Report,
        routes: MakeRoutes = tuple,
        tls: OpsTls | None = None,
    ) -> None:
        self._host, self._port = host, port
        self._tls = tls
        self._guard = Guard(host, token, None if tls is None else tls.names)
        self._tasks = Tasks(report)
        self._deadlines = Deadlines()
        self._road = _OpsRoad(Desk(self._guard, health, render_metrics, routes), report, tls)
        self._listener = Listener(self._options(), self._road, self._deadlines, self._tasks, Peers(()))
        self._untold, self._told_at = 0, 0.0
        self._socket: socket.socket | None = None

    @property
    def port(self) -> int:
        """The port it listens on: the system's choice when it was asked for 0."""
        return self._port

    def use(self, token: str | None, tls: OpsTls | None) -> None:
        """From now on ask for another token, show another certificate, and believe those of other authorities. Whoever came in
        by what an authority of before had signed must come again."""
        before, self._tls = self._tls, tls
        self._guard.use(token, None if tls is None else tls.names)
        self._listener.switch(self._options(), self._road, Peers(()))
        if tls is not None:
            same = before is not None and before.authority == tls.authority
            self._road.believe(tls.context, besides=same)
            if not same:
                _ = self._listener.cut()

    def _options(self) -> ListenerOptions:
        tls = self._tls
        refused = self._refused if tls is not None and tls.authority else None
        return ListenerOptions(max_connections=CONNECTIONS, tls=None if tls is None else tls.context, refused=refused)

    def _refused(self, peer: str, error: ssl.SSLError) -> None:
        """A handshake failed: without a certificate, or with one that is nobody's whom we believe. One line, now and then."""
        now = time.monotonic()
        if now - self._told_at < TOLD_EVERY:
            self._untold += 1
            return
        why = getattr(error, "verify_message", "") or error.reason or "no TLS"
        _log.warning("ops_access", access="handshake_failed", peer=peer, why=why, untold=self._untold)
        self._told_at, self._untold = now, 0

    async def start(self, sock: socket.socket | None = None) -> None:
        """Listen, on a socket that is bound already where one is given. OSError when the address cannot be had."""
        self._socket = sock if sock is not None else bind(self._host, self._port)
        self._port = int(self._socket.getsockname()[1])
        _ = self._tasks.keep(self._deadlines.run, "ops deadlines")
        await self._listener.start(self._socket)

    async def stop(self) -> None:
        """Stop listening and end running requests."""
        if self._socket is not None:
            await self._listener.drain(STOP_WITHIN)
        await self._tasks.close()


class _OpsRoad:
    """Between the bytes of the server and the values of the desk."""

    def __init__(self, desk: Desk, report: Report, tls: OpsTls | None) -> None:
        self._desk = desk
        self._report = report
        self._believed = weakref.WeakSet[ssl.SSLContext]()
        if tls is not None:
            self.believe(tls.context, besides=False)

    def believe(self, context: ssl.SSLContext, *, besides: bool) -> None:
        """Answer connections that were made by this context, `besides` those of before."""
        if not besides:
            self._believed.clear()
        self._believed.add(context)

    def depart(self, client: ClientConnection, request: Inbound) -> bool:
        """See Road: everything is walked."""
        del client, request
        return False

    async def walk(self, client: ClientConnection, request: Inbound | Fault | BadCredential) -> None:
        """See client_ports.Road."""
        context, told = client.tls()
        if context is not None and context not in self._believed:
            client.break_off()  # its handshake was under way while authorities changed
            return
        bodiless = isinstance(request, Inbound) and request.method == b"HEAD"
        if isinstance(request, Inbound):
            client.leave_unread()
        else:
            bodiless = request.bodiless
        try:
            answer = await self._answer(client, request, told)
        except Exception as error:  # noqa: BLE001 - a bug of ours is a 500, reported, and no end of the listener
            self._report("ops", error)
            answer = plain(500)
        if isinstance(answer, Response):
            client.write(_head(answer, client.keep, len(answer.body)) + (b"" if bodiless else answer.body))
        else:
            await _flow(client, answer, bodiless=bodiless)

    async def _answer(
        self, client: ClientConnection, request: Inbound | Fault | BadCredential, told: Mapping[str, Any]
    ) -> Answer:
        if isinstance(request, Fault):
            return plain(request.status, {"Allow": "GET, HEAD"} if request.status == 405 else None)
        if isinstance(request, BadCredential):
            return plain(400)
        asked = msgspec.structs.replace(
            read(request.method.decode(), request.target),
            host=request.host.decode("ascii", "replace"),
            peer=client.address,
            authorization=tuple(value.decode("utf-8", "surrogateescape") for value in request.authorization),
            accept=value_of(request.fields, b"accept").decode("ascii", "replace"),
            certificate=certificate_of(told),
        )
        return await self._desk.answer(asked)


async def _flow(client: ClientConnection, answer: Stream, *, bodiless: bool) -> None:
    """Write a stream as it comes; its end is that of the connection (RFC 9112 section 6.3). What the client does not read is
    bounded by the connection's own limits, and when it leaves, this task is cancelled."""
    client.keep = False
    client.write(_head(answer, keep=False))
    if bodiless:
        return
    async with contextlib.aclosing(answer.chunks) as chunks:
        async for chunk in chunks:
            client.write(chunk)


def _head(answer: Answer, keep: bool, length: int | None = None) -> bytes:  # noqa: FBT001
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", f"Server: {answers.SERVER.decode()}"]
    lines += [f"{name}: {value}" for name, value in {**HEADERS, **answer.headers}.items()]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    lines += [f"Content-Type: {answer.content_type}", *([] if keep else ["Connection: close"])]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n" + answers.date_line() + b"\r\n"
