"""One connection from a client: takes requests one after the other, streams bodies, and ends so that answers arrive.

A task per connection walks the road for each request; body octets pass through the loop's callbacks without waking it.
Nothing of a request is passed on here: that needs a verdict, which is the road's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol, cast

import msgspec

from proxy.core.framing import Chunked, Decoder, FramingError, Length
from proxy.core.grammar import Fault, Limits
from proxy.core.headers import Peer
from proxy.core.inbound import BadCredential, Inbound, overlong, parse_request
from proxy.edge.backend_connection import BackendConnection
from proxy.edge.deadlines import NEVER, Deadlines
from proxy.edge.faults import ExchangeError, FaultKind

READ_AHEAD: Final = 131_072
"""Octets that may wait unread by us beyond the head limit: a pipelined request or the start of a body before its verdict."""
WRITE_HIGH: Final = 262_144
"""Octets that may wait for a slow client; above it the backend is held back."""
LINGER_SECONDS: Final = 2.0
"""How long a refused client may go on sending before the connection is cut (RFC 9112 section 9.6): it must be able to
read the refusal first."""
LINGER_OCTETS: Final = 16 * 1024 * 1024
"""How much it may send meanwhile; it is dropped unread."""
HALF_CLOSE_GRACE: Final = 1.0
"""Seconds an answer may take to begin after the client closed its sending side. TCP cannot tell a client that left from
one that only finished sending; the first is common, the second almost never waits."""
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

Refused = Fault | BadCredential
Sink = Callable[[bytes], None]


class Times(msgspec.Struct, frozen=True):
    """Deadlines of a client connection, in seconds: for a whole head, between requests, per read of a body, per write."""

    head: float = 15.0
    idle: float = 75.0
    body_read: float = 30.0
    write: float = 30.0


class Road(Protocol):
    """What walks a request from head to answer."""

    async def walk(self, client: ClientConnection, request: Inbound | Refused) -> None:
        """Answer one request. Sets `client.keep` to False when the connection must end after it."""


class Owner(Protocol):
    """What keeps count of connections."""

    draining: bool

    def joined(self, client: ClientConnection) -> bool:
        """Register; False when there are too many."""

    def left(self, client: ClientConnection) -> None:
        """Unregister."""


class PeerOf(Protocol):
    """Turns a transport's peer name into a Peer."""

    def __call__(self, name: object, tls: bool) -> Peer:  # noqa: FBT001
        """`name` is what get_extra_info("peername") gave."""


class ClientConnection(asyncio.Protocol):
    """See the module."""

    def __init__(self, owner: Owner, road: Road, deadlines: Deadlines, limits: Limits, times: Times, peer_of: PeerOf) -> None:
        self.peer = Peer(b"", trusted=False, scheme=b"http")
        self.keep = True
        self.gone = False
        self.answer_started = False
        self.backend: BackendConnection | None = None
        self.body: Decoder | None = None
        self.body_octets = 0
        self.fault: ExchangeError | None = None
        self.task: asyncio.Task[None] | None = None
        self._owner = owner
        self._road = road
        self._deadlines = deadlines
        self._limits = limits
        self._times = times
        self._peer_of = peer_of
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._buffer = b""
        self._head_end = -1
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Sink | None = None
        self._lost: asyncio.Future[None] | None = None
        self._lingering = 0
        self._unread = False
        self._eof = False
        self._reading_paused = False
        self._writing_paused = False
        self._written_at_pause = 0
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
        self.peer = self._peer_of(transport.get_extra_info("peername"), transport.get_extra_info("sslcontext") is not None)
        self._deadlines.watch(self)
        self._read_deadline = self._loop.time() + self._times.head
        if not self._owner.joined(self):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        del exc
        self.gone = True
        self._deadlines.forget(self)
        self._owner.left(self)
        if self.backend is not None:
            self.backend.fail(ExchangeError(FaultKind.CLIENT_GONE))
            self.backend.close()
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)
        if self.task is not None:
            self.task.cancel()

    def eof_received(self) -> bool:
        """See asyncio.Protocol. A client that has finished sending may still want its answer."""
        self._eof = True
        if self._lingering:
            return False
        if self.body is not None and not self.body.done:
            self._body_fault(FaultKind.REQUEST_BODY_BROKEN)
        elif self._waiter is not None:
            self._wake()
        else:
            self._read_deadline = self._loop.time() + HALF_CLOSE_GRACE
        return True

    def expired(self, now: float) -> None:
        """A deadline of this client has passed."""
        if self._write_deadline <= now:
            self._write_expired(now)
        if self._read_deadline <= now:
            self._read_deadline = NEVER
            if self._lingering:
                self._transport.abort()
            elif self.body is not None and not self.body.done:
                self._body_fault(FaultKind.REQUEST_BODY_TIMEOUT)
            elif self._waiter is not None:
                self._wake()
            elif self._eof and not self.answer_started:
                self._transport.abort()

    def _write_expired(self, now: float) -> None:
        waiting = self._transport.get_write_buffer_size()
        if waiting < self._written_at_pause:
            self._written_at_pause = waiting
            self._write_deadline = now + self._times.write
        else:
            self._write_deadline = NEVER
            self.break_off()

    def break_off(self) -> None:
        """End the connection so that the client sees a break (a reset), never an end that looks whole."""
        self.keep = False
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def close_if_idle(self) -> None:
        """End the connection if it is between requests."""
        if self._waiter is not None and not self._buffer:
            self._transport.close()

    # --- the loop over requests -------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Walk the road for every request of this connection, then end it in stages."""
        while self.keep and not self.gone:
            request = await self._next_request()
            if request is None:
                break
            self.keep = isinstance(request, Inbound) and request.keep_alive and not self._owner.draining
            await self._road.walk(self, request)
            self._end_request()
        await self._close()

    async def _next_request(self) -> Inbound | Refused | None:
        self._head_end = self._find_head()
        if self._head_end == -1:
            if self._eof:
                return None
            self._read_deadline = self._loop.time() + (
                self._times.head if self._buffer or self.task is None else self._times.idle
            )
            self._waiter = self._loop.create_future()
            self._resume_reading()
            await self._waiter
            self._waiter = None
        self._read_deadline = NEVER
        end = self._head_end
        if end == -2:
            return overlong(self._buffer)
        if end < 0:
            return Fault(408, "head_timeout") if self._buffer and not self._eof else None
        head = self._buffer[:end]
        self._buffer = self._buffer[end + 4 :]
        request = parse_request(head, self._limits)
        self.answer_started = False
        self.body_octets = 0
        if isinstance(request, Inbound):
            self.body = None if request.length == 0 else Chunked() if request.length is None else Length(request.length)
        return request

    def _end_request(self) -> None:
        """Leave the finished request behind. A body that was not read to its end ends the connection with it."""
        self._sink = None
        self.backend = None
        if self.body is not None:
            if not self.body.done:
                self.keep = False
            self.body = None

    def _find_head(self) -> int:
        """Where the head in the buffer ends, -1 when it has not ended yet, -2 when it has grown too long."""
        buffer = self._buffer
        if buffer[:2] == b"\r\n":
            buffer = self._buffer = buffer[2:]
        end = buffer.find(b"\r\n\r\n", 0, self._limits.head + 4)
        return -2 if end < 0 and len(buffer) > self._limits.head else end

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _close(self) -> None:
        """End in stages: stop sending, let the client read what was sent, drop what it still sends, then close."""
        if self.gone:
            return
        if self._eof or not (self._buffer or self._unread):
            self._transport.close()
            return
        self._buffer = b""
        self._lingering = LINGER_OCTETS
        self._read_deadline = self._loop.time() + LINGER_SECONDS
        self._resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._lost = self._loop.create_future()
        await self._lost

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
        elif self._waiter is not None:
            self._read_head(data)
        else:
            self._buffer += data
            if len(self._buffer) > READ_AHEAD:
                self._pause_reading()

    def _read_head(self, data: bytes) -> None:
        if self._buffer:
            self._buffer += data
        else:
            self._buffer = data
            self._read_deadline = self._loop.time() + self._times.head
        self._head_end = self._find_head()
        if self._head_end != -1:
            self._wake()

    def flow(self, sink: Sink) -> None:
        """From now on give the request's body to `sink`: at once what is here already, then as it comes."""
        self._sink = sink
        if self.body is None or self.body.done:
            return
        self._read_deadline = self._loop.time() + self._times.body_read
        buffered, self._buffer = self._buffer, b""
        if buffered:
            self._read_body(buffered)
        if not self.body.done:
            self._resume_reading()

    def invite(self) -> None:
        """Send 100 Continue if the body has not begun to arrive (RFC 9110 section 10.1.1)."""
        if not self._buffer and self.body_octets == 0:
            self._transport.write(CONTINUE)

    def _read_body(self, data: bytes) -> None:
        body = cast("Decoder", self.body)
        try:
            octets = body.feed(data)
        except FramingError:
            self._body_fault(FaultKind.REQUEST_BODY_BROKEN)
            return
        if body.done:
            self._buffer = body.left
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
        self._read_deadline = NEVER
        self._pause_reading()

    def go_on(self) -> None:
        """The backend takes more."""
        if self.body is not None and not self.body.done:
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
            self._transport.write(data)

    def pause_writing(self) -> None:
        """See asyncio.BaseProtocol. The client is slow: hold the backend back, and give the client its deadline."""
        self._writing_paused = True
        self._written_at_pause = self._transport.get_write_buffer_size()
        self._write_deadline = self._loop.time() + self._times.write
        if self.backend is not None:
            self.backend.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.BaseProtocol."""
        self._writing_paused = False
        self._write_deadline = NEVER
        if self.backend is not None:
            self.backend.resume_reading()


def _drop(octets: bytes) -> None:
    del octets
