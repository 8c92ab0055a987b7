"""One connection from a client: takes requests one after the other, streams bodies, and ends so that answers arrive.

A task per connection walks the road for each request; body octets pass through the loop's callbacks without waking it. Nor
is it woken for an ordinary request: that departs from where its head arrived, and lands where its answer does.
Nothing of a request is passed on here: that needs a verdict, which is the road's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from proxy.core.credential import Credential, Missing
from proxy.core.framing import Chunked, Decoder, FramingError, Length
from proxy.core.grammar import Fault, Limits
from proxy.core.headers import Peer
from proxy.core.heads import Heads
from proxy.core.inbound import Inbound
from proxy.edge import answers
from proxy.edge.client_ports import Counterpart, Flight, Owner, PeerOf, Refused, Sink
from proxy.edge.deadlines import NEVER, Deadlines
from proxy.edge.faults import ExchangeError, FaultKind
from proxy.edge.outlet import Outlet

READ_AHEAD: Final = 131_072
"""Octets that may wait unread by us: a pipelined request or the start of a body before its verdict."""
WRITE_HIGH: Final = 262_144
"""Octets that may wait for a slow client; above it the backend is held back, and no further request is taken."""
LINGER_SECONDS: Final = 2.0
"""How long a refused client may go on sending before the connection is cut (RFC 9112 section 9.6): it must be able to
read the refusal first."""
LINGER_OCTETS: Final = 16 * 1024 * 1024
"""How much it may send meanwhile; it is dropped unread."""
HALF_CLOSE_GRACE: Final = 1.0
"""Seconds an answer may take to begin after the client closed its sending side. TCP cannot tell a client that left from
one that only finished sending; the first is common, the second almost never waits."""
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Times(msgspec.Struct, frozen=True):
    """Deadlines of a client connection, in seconds: for a whole head, between requests, per read of a body, per write."""

    head: float = 15.0
    idle: float = 75.0
    body_read: float = 30.0
    write: float = 30.0


class ClientConnection:
    """See the module. An asyncio.Protocol by its methods: with that as its base it could not be an extension type."""

    def __init__(self, owner: Owner, deadlines: Deadlines, limits: Limits, times: Times, peer_of: PeerOf) -> None:
        self.peer = Peer(b"", trusted=False, scheme=b"http")
        self.address = ""
        self.keep = True
        self.gone = False
        self.answer_started = False
        self.backend: Counterpart | None = None
        self.body: Decoder | None = None
        self.body_octets = 0
        self.presented: tuple[list[bytes], Credential] = ([], Missing())
        self.fault: ExchangeError | None = None
        self.task: asyncio.Task[None] | None = None
        self.flight: Flight | None = None
        self._owner = owner
        self._deadlines = deadlines
        self._times = times
        self._peer_of = peer_of
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._outlet: Outlet
        self._tls = False
        self._heads = Heads(limits)
        self._waiter: asyncio.Future[None] | None = None
        self._idle = False
        self._request: Inbound | Refused | None = None
        self._landed = self._stopped = False
        self._sink: Sink | None = None
        self._lost: asyncio.Future[None] | None = None
        self._lingering = 0
        self._unread = False
        self._eof = False
        self._ending = False
        self._held_back = False
        self._patience = times.head
        self._reading_paused = False
        self._writing_paused = False
        self._writable: asyncio.Future[None] | None = None
        self._unwritten = 0
        self._read_deadline = NEVER
        self._write_deadline = NEVER

    # --- life -------------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """The earlier of the reading and the writing deadline, in the loop's time."""
        return min(self._read_deadline, self._write_deadline)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self._outlet = Outlet(self._transport, self._loop)
        self._tls = transport.get_extra_info("sslcontext") is not None
        self.peer = self._peer_of(transport.get_extra_info("peername"), self._tls)
        self.address = self.peer.address.decode("ascii", "replace")
        self._deadlines.watch(self)
        self._read_deadline = self._loop.time() + self._times.head
        if not self._owner.joined(self):
            self._outlet.write(answers.fault(FaultKind.OVERLOAD, keep=False, bodiless=False))
            self._linger()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        del exc
        self.gone = True
        self._outlet.drop()
        self._deadlines.forget(self)
        self._owner.left(self)
        if self.backend is not None:
            self.backend.fail(ExchangeError(FaultKind.CLIENT_GONE))
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)
        if self.task is not None:
            self.task.cancel()

    def eof_received(self) -> bool:
        """See asyncio.Protocol. A client that has finished sending may still want its answer; TLS has no half close."""
        self._eof = True
        self._outlet.flush()
        if self._lingering:
            return False
        if self._sink is not None and self.body is not None and not self.body.done:
            self._body_fault(FaultKind.REQUEST_BODY_BROKEN)
        elif self._idle:
            self._wake()
        else:
            self._read_deadline = self._loop.time() + HALF_CLOSE_GRACE
        return not self._tls

    def expired(self, now: float) -> None:
        """A deadline of this client has passed."""
        self._outlet.flush()
        if self._write_deadline <= now:
            self._write_expired(now)
        if self._read_deadline <= now:
            self._read_deadline = NEVER
            if self._lingering:
                if self._transport.get_write_buffer_size():
                    self._read_deadline = now + LINGER_SECONDS
                else:
                    self._transport.abort()
            elif self._sink is not None and self.body is not None and not self.body.done:
                self._body_fault(FaultKind.REQUEST_BODY_TIMEOUT)
            elif self._idle:
                self._wake()
            elif self._eof and not self.answer_started:
                self._transport.abort()

    def break_off(self) -> None:
        """End the connection so that the client sees a break (a reset), never an end that looks whole."""
        self.keep = False
        self._outlet.flush()
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def tls(self) -> tuple[ssl.SSLContext | None, Mapping[str, Any]]:
        """By which context its handshake was made, None without TLS; and what is told of the client's verified certificate, as
        by `ssl.SSLSocket.getpeercert`: nothing where none was asked for or shown."""
        told = self._transport.get_extra_info
        return told("sslcontext"), told("peercert") or {}

    def close_if_idle(self) -> None:
        """End the connection if it is between requests."""
        if self._idle and not self._heads.held:
            self._end()

    # --- the loop over requests -------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Walk the road for every request of this connection, then end it in stages."""
        try:
            while self.keep and not self.gone:
                request = await self._next_request()
                if self._stopped and self.flight is not None:
                    flight, self.flight, self._stopped = self.flight, None, False
                    await flight.walk()
                elif request is not None:
                    await self._owner.road.walk(self, request)
                else:
                    break
                self._end_request()
                if self._writing_paused:
                    await self._until_writable()
            await self._close()
        except Exception:
            self.break_off()
            raise
        finally:
            if self.flight is not None:
                self.flight.cancel()

    async def _next_request(self) -> Inbound | Refused | None:
        """The next request to walk, None when there is none any more or a flight has stopped. Whoever pipelines lets the
        other connections have their turn."""
        heads = self._heads
        while self.keep:
            if heads.ready():
                await asyncio.sleep(0)
                return self._take()
            if self._eof:
                return None
            await self._until_called()
            if self._stopped:
                return None
            if self._request is not None:
                request, self._request = self._request, None
                return request
            if heads.ready():
                continue  # it came between a deadline and this
            if not self._landed:
                return self._refuse(Fault(408, "head_timeout")) if heads.held and not self._eof else None
            self._landed = False
            if self._writing_paused:
                await self._until_writable()
        return None

    async def _until_called(self) -> None:
        """Sleep until there is something to walk; ordinary requests depart and land meanwhile."""
        self._await_head()
        self._waiter = self._loop.create_future()
        await self._waiter
        self._waiter = None

    def _await_head(self) -> None:
        self._idle = True
        self._read_deadline = self._loop.time() + (self._times.head if self._heads.held else self._patience)
        if self._reading_paused:
            self._resume_reading()

    def _take(self) -> Inbound | Refused:
        """Take the head that is ready, and what follows from it for the connection."""
        self._read_deadline = NEVER
        request = self._heads.take()
        if not isinstance(request, Inbound):
            return self._refuse(request)
        self.keep = request.keep_alive and not self._owner.draining
        self._unread = False
        if request.length != 0:
            self.body = Chunked() if request.length is None else Length(request.length)
        return request

    def _refuse(self, message: Refused) -> Refused:
        self.keep = False
        self._unread = True
        return message

    def _depart(self) -> None:
        """A head is here while the task sleeps: let it depart, or wake the task for it."""
        self._idle = False
        request = self._take()
        if isinstance(request, Inbound) and self._owner.road.depart(self, request):
            return
        self._request = request
        self._wake()

    def landed(self) -> None:
        """The flight has brought its answer whole: the connection is free for the next request."""
        self.flight = None
        self._end_request()
        if self.keep and not (self._heads.held or self._eof or self._writing_paused or self.gone):
            self._await_head()
        else:
            self._landed = True
            self._wake()

    def walk_on(self) -> None:
        """The flight can go no further: the task walks on with it."""
        self._stopped = True
        self._wake()

    def _end_request(self) -> None:
        """Leave the finished request behind. A body that was not read to its end ends the connection with it."""
        self._sink = None
        self.backend = None
        self.answer_started = self._held_back = False
        self.body_octets = 0
        self._patience = self._times.idle
        if self.body is not None:
            if not self.body.done:
                self.keep = False
                self._unread = True
            self.body = None

    def _wake(self) -> None:
        self._idle = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- ending -----------------------------------------------------------------------------------------------------

    async def _close(self) -> None:
        """End the connection; where the client may still be sending, in stages."""
        if self.gone:
            return
        if self._eof or not (self._heads.held or self._unread):
            self._end()
            return
        self._linger()
        self._lost = self._loop.create_future()
        await self._lost

    def _end(self) -> None:
        """Close once everything is written. That has the deadline of a write."""
        self._ending = True
        self._outlet.flush()
        self._transport.close()
        self._watch_writing()

    def _linger(self) -> None:
        """Stop sending, let the client read what was sent, drop what it still sends; it or a deadline ends the connection."""
        self._heads.held = b""
        self._lingering = LINGER_OCTETS
        self._ending = True
        self._outlet.flush()
        self._watch_writing()
        self._read_deadline = self._loop.time() + LINGER_SECONDS
        self._resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def leave_unread(self) -> None:
        """The request was refused unread: unless all of its body is here already, the connection ends after the answer."""
        self.flow(_drop)
        self._sink = None
        if self.body is not None and not self.body.done:
            self.keep = False
            self._unread = True

    # --- reading ----------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._sink is not None and self.body is not None and not self.body.done:
            self._read_body(data)
        elif self._lingering:
            self._lingering -= len(data)
            if self._lingering <= 0:
                self._transport.abort()
        elif self._idle:
            self._read_head(data)
        else:
            self._heads.held += data
            if len(self._heads.held) > READ_AHEAD:
                self._pause_reading()

    def _read_head(self, data: bytes) -> None:
        heads = self._heads
        if heads.held:
            heads.held += data
        else:
            heads.held = data
            self._read_deadline = self._loop.time() + self._times.head
        if heads.ready():
            self._depart()

    def flow(self, sink: Sink) -> None:
        """From now on give the request's body to `sink`: at once what is here already, then as it comes."""
        self._sink = sink
        if self.body is None or self.body.done:
            return
        self._read_deadline = self._loop.time() + self._times.body_read
        buffered, self._heads.held = self._heads.held, b""
        if buffered:
            self._read_body(buffered)
        if self.fault is None and not self.body.done:
            if self._eof:
                self._body_fault(FaultKind.REQUEST_BODY_BROKEN)
            elif not self._held_back:
                self._resume_reading()

    def stop_flow(self) -> None:
        """Take no more of the body for now: what comes waits here."""
        self._sink = None
        self._read_deadline = NEVER

    def invite(self) -> None:
        """Send 100 Continue if the body has not begun to arrive (RFC 9110 section 10.1.1)."""
        body = self.body
        if body is not None and not body.done and self.body_octets == 0 and not self._heads.held:
            self._outlet.write(CONTINUE)

    def _read_body(self, data: bytes) -> None:
        body = cast("Decoder", self.body)
        try:
            octets = body.feed(data)
        except FramingError:
            self._body_fault(FaultKind.REQUEST_BODY_BROKEN)
            return
        if body.done:
            self._heads.held = body.left
            self._read_deadline = NEVER
        else:
            self._read_deadline = self._loop.time() + self._times.body_read
        if octets or body.done:
            self.body_octets += len(octets)
            cast("Sink", self._sink)(octets)

    def _body_fault(self, kind: FaultKind) -> None:
        self.keep = False
        self._unread = True
        self._sink = None
        self._read_deadline = NEVER
        self.fault = ExchangeError(kind)
        if self.backend is not None:
            self.backend.fail(self.fault)

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def hold_back(self) -> None:
        """The backend cannot take more of the body: read no more, and do not hold the client to its deadline meanwhile."""
        self._held_back = True
        self._read_deadline = NEVER
        self._pause_reading()

    def go_on(self) -> None:
        """The backend takes more."""
        self._held_back = False
        if self._sink is not None and self.body is not None and not self.body.done:
            self._read_deadline = self._loop.time() + self._times.body_read
        self._resume_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self.gone and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()

    # --- writing ----------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write bytes of an answer."""
        if not self.gone:
            self.answer_started = True
            self._outlet.write(data)

    def pause_writing(self) -> None:
        """See asyncio.BaseProtocol. The client is slow: hold the backend back, and give the client its deadline."""
        self._writing_paused = True
        self._watch_writing()
        if self.backend is not None:
            self.backend.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.BaseProtocol."""
        self._writing_paused = False
        if not self._ending:
            self._write_deadline = NEVER
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        if self.backend is not None:
            self.backend.resume_reading()

    async def _until_writable(self) -> None:
        """Take no further request from a client that does not read its answers."""
        self._writable = self._loop.create_future()
        await self._writable
        self._writable = None

    def _watch_writing(self) -> None:
        self._unwritten = self._transport.get_write_buffer_size()
        self._write_deadline = self._loop.time() + self._times.write if self._unwritten else NEVER

    def _write_expired(self, now: float) -> None:
        """Cut off a client that has read nothing in the time; one that has read something gets it again."""
        waiting = self._transport.get_write_buffer_size()
        if waiting < self._unwritten:
            self._unwritten = waiting
            self._write_deadline = now + self._times.write if waiting else NEVER
        else:
            self._write_deadline = NEVER
            self.break_off()


def _drop(octets: bytes) -> None:
    del octets
