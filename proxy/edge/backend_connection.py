"""One connection to the backend: writes a request, reads its answer, never lets bytes of one exchange into another.

Body octets go to a sink as they arrive; the sink's owner holds the reading back when it cannot take more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections.abc import Callable
from typing import Any, Final, cast

from proxy.core.framing import Decoder, FramingError
from proxy.core.grammar import Fault, Limits, has_bare
from proxy.core.outbound import Outbound, parse_response
from proxy.edge.deadlines import NEVER, Deadlines
from proxy.edge.faults import ExchangeError, FaultKind
from proxy.edge.outlet import Outlet

EARLY_BODY_LIMIT: Final = 262_144
"""Octets of an answer's body that are held before somebody takes them: one read of the event loop."""
WRITE_HIGH: Final = 262_144
"""Octets of a request's body that may wait for a slow backend; the client is held back above it."""
INTERIM_LIMIT: Final = 16
"""1xx answers before a final one. They are dropped (RFC 9110 section 15.2 leaves that to us); more is an attack or a bug."""

Sink = Callable[[bytes], None]


def _fail(future: asyncio.Future[Any], fault: ExchangeError) -> None:
    """Fail a future that nobody may be waiting for any more: asyncio must not complain of an error never retrieved."""
    future.set_exception(fault)
    future.exception()


class BackendConnection:
    """See the module. States: idle (no exchange), awaiting a head, reading a body.

    An asyncio.Protocol by its methods: with that as its base it could not be an extension type.
    """

    def __init__(self, deadlines: Deadlines, limits: Limits, on_lost: Callable[[BackendConnection], None]) -> None:
        self.deadline = NEVER
        self.idle_since = 0.0
        self.address = ""
        self.exchanges = 0
        self.on_drain: Callable[[], None] | None = None
        self._deadlines = deadlines
        self._limits = limits
        self._on_lost = on_lost
        self.made = False
        self._transport: asyncio.Transport
        self._outlet: Outlet
        self._loop = asyncio.get_running_loop()
        self._poll = select.poll()
        self._buffer = b""
        self._method = b""
        self._interims = 0
        self.outcome: Outbound | ExchangeError | None = None
        self._due = False
        self._head: asyncio.Future[Outbound] | None = None
        self._told: Callable[[], None] | None = None
        self._decoder: Decoder | None = None
        self._answer: Outbound | None = None
        self._early: list[bytes] = []
        self._early_size = 0
        self._sink: Sink | None = None
        self._end: asyncio.Future[None] | None = None
        self._fault: ExchangeError | None = None
        self._peek: asyncio.Future[None] | None = None
        self._peek_size = 0
        self._body_timeout = NEVER
        self._lost = False
        self._dirty = False
        self._reading_paused = False
        self.write_paused = False

    # --- life -------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self.made = True
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self._outlet = Outlet(self._transport, self._loop)
        peer = transport.get_extra_info("peername")
        self.address = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer or "")
        sock = transport.get_extra_info("socket")
        self._poll.register(sock.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        self._deadlines.watch(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol. How it ended decides whether a body that ends with its connection is whole."""
        if exc is not None:
            self._read_last()
        self._lost = True
        self._deadlines.forget(self)
        self._on_lost(self)
        self._broken_off(clean=exc is None)
        if self.on_drain is not None:
            self.on_drain()

    def _read_last(self) -> None:
        """Take what the kernel still holds of the answer when a write has failed: who refuses a body early may answer and close
        with the rest unread. The transport closes its socket only after it has told us that it is lost."""
        told = self._transport.get_extra_info
        sock = told("socket")
        if sock is None or told("sslcontext") is not None:
            return
        self._dirty = True
        left = EARLY_BODY_LIMIT
        with contextlib.suppress(OSError):
            while left > 0 and (self._due or (self._decoder is not None and not self._decoder.done)):
                data = os.read(sock.fileno(), left)
                if not data:
                    break
                left -= len(data)
                self.data_received(data)

    def eof_received(self) -> bool:
        """See asyncio.Protocol. A backend that has finished writing has finished: the transport closes."""
        self._broken_off(clean=True)
        return False

    def _broken_off(self, *, clean: bool) -> None:
        self._dirty = True
        if self._due:
            untouched = self.exchanges > 1 and not self._buffer
            self._settle(ExchangeError(FaultKind.BACKEND_CLOSED, untouched=untouched))
        elif self._decoder is not None and not self._decoder.done:
            until_close = self._answer is not None and self._answer.length is None and not self._answer.chunked
            if until_close and clean:
                self._decoder.done = True
                self._finish(None)
            else:
                self._finish(ExchangeError(FaultKind.BACKEND_BODY_BROKEN))

    def expired(self, now: float) -> None:
        """The backend is late."""
        del now
        if self._due:
            self._settle(ExchangeError(FaultKind.BACKEND_TIMEOUT))
        elif self._decoder is not None and not self._decoder.done:
            self._finish(ExchangeError(FaultKind.BACKEND_BODY_TIMEOUT))
        self.close()

    def close(self) -> None:
        """End the connection at once; what was to be written is dropped."""
        self.deadline = NEVER
        self._dirty = True
        if not self._lost:
            self._outlet.drop()
            self._transport.abort()

    def fit_to_carry(self) -> bool:
        """Whether the idle connection is alive and silent. Bytes or an end that the kernel holds already count: what a
        backend sends without a request is no answer (RFC 9112 section 9.2) and must not meet the next client."""
        return not self._dirty and not self._lost and not self._transport.is_closing() and not self._poll.poll(0)

    def rested(self) -> float:
        """For how many seconds it has been idle."""
        return self._loop.time() - self.idle_since

    # --- request ----------------------------------------------------------------------------------------------------

    def send(self, head: bytes, method: bytes, patience: float) -> None:
        """Begin an exchange: write a request head (with whatever of the body is at hand). Its answer is waited for `patience`
        seconds."""
        self.exchanges += 1
        self.idle_since = 0.0
        self._method = method
        self._interims = 0
        self._due = True
        self.outcome = self._head = self._told = None
        self._answer = self._decoder = self._sink = self._end = self._fault = None
        self._early.clear()
        self._early_size = 0
        self.deadline = self._loop.time() + patience
        self._outlet.write(head)

    def write(self, data: bytes) -> None:
        """Write more of a request's body."""
        if not self._lost and not self._transport.is_closing():
            self._outlet.write(data)

    def answer_due(self, seconds: float) -> None:
        """How long the backend may think from now on; no matter once it has begun to answer."""
        if self._decoder is None and not self._dirty:
            self.deadline = self._loop.time() + seconds

    def pause_writing(self) -> None:
        """See asyncio.BaseProtocol."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """See asyncio.BaseProtocol."""
        self.write_paused = False
        if self.on_drain is not None:
            self.on_drain()

    # --- answer -----------------------------------------------------------------------------------------------------

    def answer(self) -> asyncio.Future[Outbound]:
        """The answer's head, to be awaited. Raises ExchangeError."""
        self._told = None
        self._head = self._loop.create_future()
        if not self._due:
            self._give(self._head)
        return self._head

    def tell(self, settled: Callable[[], None]) -> bool:
        """Have `settled` called once `outcome` is there: the answer's head, with as much of its body as came in the same read,
        or a fault. Returns True when it is there already; then nobody is called."""
        self._told = settled
        return not self._due

    def _settle(self, outcome: Outbound | ExchangeError) -> None:
        self._due = False
        self.outcome = outcome
        if self._head is not None:
            self._give(self._head)
        elif self._told is not None:
            self._told()

    def _give(self, head: asyncio.Future[Outbound]) -> None:
        if head.done():
            return
        if isinstance(self.outcome, Outbound):
            head.set_result(self.outcome)
        else:
            _fail(head, self.outcome or ExchangeError(FaultKind.INTERNAL))

    def fail(self, fault: ExchangeError) -> None:
        """The other side broke: whoever waits for this exchange gets `fault`."""
        if self._due:
            self._settle(fault)
        else:
            self._finish(fault)

    def take_early(self, body_timeout: float) -> tuple[bytes, bool]:
        """Take the body octets that have come so far, and whether they are all. Starts the body's deadline."""
        data = b"".join(self._early)
        self._early.clear()
        self._early_size = 0
        if self._fault is not None:
            raise self._fault
        done = self.complete
        self._body_timeout = body_timeout
        self.deadline = NEVER if done else self._loop.time() + body_timeout
        if self._reading_paused and not done:
            self.resume_reading()
        return data, done

    @property
    def complete(self) -> bool:
        """Whether the whole answer has been read."""
        return self._decoder is not None and self._decoder.done

    async def peek_body(self, size: int, timeout: float) -> bytes:
        """Wait until `size` octets of the body have come, or all, or `timeout` seconds have passed; leave them in place."""
        if not self.complete and self._fault is None and self._early_size < size:
            self._peek_size = size
            self._peek = self._loop.create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._peek
            self._peek = None
        return b"".join(self._early)[:size]

    async def relay(self, sink: Sink) -> None:
        """Give the rest of the body to `sink`, from the loop's own callbacks, until it is whole. Raises ExchangeError."""
        if self._fault is not None:
            raise self._fault
        if self._early:
            sink(b"".join(self._early))
            self._early.clear()
        if self.complete:
            return
        self._sink = sink
        self._end = self._loop.create_future()
        await self._end

    def pause_reading(self) -> None:
        """The client cannot take more: read no more, and do not hold the backend to its deadline meanwhile."""
        if not self._reading_paused and not self._lost and not self._transport.is_closing():
            self._reading_paused = True
            self.deadline = NEVER
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """The client takes more."""
        if self._reading_paused:
            self._reading_paused = False
            if not self._lost and not self._transport.is_closing():
                self.deadline = self._loop.time() + self._body_timeout
                self._transport.resume_reading()

    def reusable(self) -> bool:
        """Whether the exchange ended so that another may follow."""
        return self.complete and not self._dirty and not self._lost and self._answer is not None and self._answer.reusable

    def rest(self, idle_timeout: float) -> None:
        """Become idle until the pool takes it again."""
        now = self._loop.time()
        self.outcome = self._head = self._told = self._answer = self._decoder = self._sink = self._end = None
        self.on_drain = None
        self._body_timeout = NEVER
        if self._reading_paused:
            # a client that was slow to the last octet: this connection must hear what comes next
            self._reading_paused = False
            self._transport.resume_reading()
        self.idle_since = now
        self.deadline = now + idle_timeout

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._decoder is not None:
            self._body(data)
        elif self._due:
            self._read_head(self._buffer + data if self._buffer else data)
        else:
            self.close()

    def _read_head(self, data: bytes) -> None:
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > self._limits.head:
            self._buffer = data
            if len(data) > self._limits.head or data[:5] != b"HTTP/"[: len(data)] or has_bare(data):
                self._garbled()
            return
        answer = parse_response(data[:end], self._method, self._limits)
        rest = data[end + 4 :]
        self._buffer = b""
        if isinstance(answer, Fault) or answer.status == 101:
            self._garbled()
        elif answer.status < 200:
            self._interims += 1
            if self._interims > INTERIM_LIMIT:
                self._garbled()
            elif rest:
                self._read_head(rest)
        else:
            self._begin_body(answer, rest)

    def _garbled(self) -> None:
        if self._due:
            self._settle(ExchangeError(FaultKind.BACKEND_GARBLED))
        self.close()

    def _begin_body(self, answer: Outbound, rest: bytes) -> None:
        self._answer = answer
        self._decoder = answer.decoder()
        if self._decoder.done:
            self._dirty = self._dirty or bool(rest)
            self.deadline = NEVER
        elif rest:
            self._body(rest)
        if self._due:
            self._settle(answer)

    def _body(self, data: bytes) -> None:
        if self.complete:
            self.close()
            return
        decoder = cast("Decoder", self._decoder)
        try:
            octets = decoder.feed(data)
        except FramingError:
            self._finish(ExchangeError(FaultKind.BACKEND_BODY_BROKEN))
            self.close()
            return
        if decoder.done:
            self._dirty = self._dirty or bool(decoder.left)
        elif not self._reading_paused:
            self.deadline = self._loop.time() + self._body_timeout
        if octets:
            self._deliver(octets)
        if decoder.done:
            self._finish(None)

    def _deliver(self, octets: bytes) -> None:
        if self._sink is not None:
            self._sink(octets)
            return
        self._early.append(octets)
        self._early_size += len(octets)
        if self._early_size > EARLY_BODY_LIMIT:
            self.pause_reading()
        if self._peek is not None and self._early_size >= self._peek_size and not self._peek.done():
            self._peek.set_result(None)

    def _finish(self, fault: ExchangeError | None) -> None:
        self.deadline = NEVER
        self._fault = self._fault or fault
        if self._peek is not None and not self._peek.done():
            self._peek.set_result(None)
        if self._end is not None and not self._end.done():
            if fault is None:
                self._end.set_result(None)
            else:
                _fail(self._end, fault)
