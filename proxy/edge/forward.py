"""Forwarding: a judged request to the backend and its answer back, streaming both ways with bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from proxy.core.exchange import AnsweredBy
from proxy.core.framing import LAST_CHUNK, chunk
from proxy.core.headers import Forwarding, request_head
from proxy.core.inbound import Inbound
from proxy.core.outbound import Outbound
from proxy.edge.backend_connection import BackendConnection
from proxy.edge.body_flow import REPLAY_LIMIT, BodyFlow
from proxy.edge.client_connection import ClientConnection
from proxy.edge.faults import ExchangeError, FaultKind
from proxy.edge.passage import Passage
from proxy.edge.upstream import Upstream

ANSWER_WITHIN: Final = 55.0
"""Seconds from a request's start to the head of its answer at most: Okta and Entra give up at 60."""
_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"))
"""RFC 9110 section 9.2.2. POST and PATCH are never sent twice by ourselves."""
_BEGINNINGS: Final = tuple(b"HTTP/1.1 %d " % status for status in range(1_000))
"""Of a status line, by its status, which has three digits (proxy/core/outbound.py)."""
_RESERVED_FOR_IDEMPOTENT: Final = frozenset((b"POST", b"PATCH"))


class Sending:
    """One request on its way: the connection it rides on, its answer's head, and whether it may be sent again.

    `held` until the connection has been given back: afterwards it may already carry somebody else's request.
    """

    __slots__ = ("answer", "connection", "flow", "head", "held")

    def __init__(self, head: bytes, flow: BodyFlow | None) -> None:
        self.head = head
        self.flow = flow
        self.held = False
        self.connection: BackendConnection
        self.answer: Outbound

    def replayable(self, limit: int = REPLAY_LIMIT) -> bool:
        """Whether the whole request could be sent again."""
        return self.flow is None or self.flow.replayable(limit)


class Forwarder:
    """See the module."""

    def __init__(self, upstream: Upstream, forwarding: Forwarding) -> None:
        self._upstream = upstream
        self._forwarding = forwarding
        o = upstream.options
        self._default_host = f"{o.host}:{o.port}".encode()

    def prepare(self, client: ClientConnection, request: Inbound, gathered: bytes = b"") -> Sending:
        """A request as it will be sent; `gathered` is what was already read of its body."""
        head = request_head(request, client.peer, self._forwarding, self._default_host)
        flow = None
        if client.body is not None:
            flow = BodyFlow(client, request, self._upstream.options.head_timeout, gathered)
        return Sending(head, flow)

    async def send(self, client: ClientConnection, request: Inbound, passage: Passage, gathered: bytes = b"") -> Sending:
        """Send a request and wait for the head of its answer. Raises ExchangeError."""
        sending = self.prepare(client, request, gathered)
        if request.expects_continue:
            client.invite()
        await self._attempt(client, request, passage, sending, fresh=False)
        return sending

    async def again(self, client: ClientConnection, request: Inbound, passage: Passage, sending: Sending) -> None:
        """Send the same request once more on a new connection, after a refusal of the backend (which processed nothing)."""
        passage.attempts += 1
        self.end(client, sending)
        await self._attempt(client, request, passage, sending, fresh=True)

    async def go_on(self, client: ClientConnection, request: Inbound, passage: Passage, sending: Sending) -> None:
        """Wait for the head of the answer to what was begun. Raises ExchangeError."""
        await self._attempt(client, request, passage, sending, fresh=False, begun=True)

    async def _attempt(
        self,
        client: ClientConnection,
        request: Inbound,
        passage: Passage,
        sending: Sending,
        *,
        fresh: bool,
        begun: bool = False,
    ) -> None:
        method = request.method
        while True:
            if not begun and (fresh or not self.take_idle(sending, method)):
                connection = await self._upstream.acquire(writes=method in _RESERVED_FOR_IDEMPOTENT, fresh=fresh)
                sending.connection = connection
                sending.held = True
            try:
                if not begun:
                    self.begin(client, passage, sending, method)
                sending.answer = await sending.connection.answer()
            except ExchangeError as error:
                self._drop(client, sending)
                if fresh or not error.untouched or method not in _IDEMPOTENT or not sending.replayable():
                    raise
                fresh, begun = True, False
                passage.attempts += 1
            except BaseException:
                self._drop(client, sending)
                raise
            else:
                return

    def has_idle(self) -> bool:
        """Whether a connection may be at hand without waiting."""
        return self._upstream.has_idle()

    def take_idle(self, sending: Sending, method: bytes) -> bool:
        """Give the request an idle connection, if one is at hand that is fit to carry it."""
        connection = self._upstream.take_idle(method in _RESERVED_FOR_IDEMPOTENT)
        if connection is None:
            return False
        sending.connection = connection
        sending.held = True
        return True

    def begin(self, client: ClientConnection, passage: Passage, sending: Sending, method: bytes) -> None:
        """Write the request to its connection. Raises ExchangeError when the client broke before."""
        if client.fault is not None:
            raise client.fault
        connection = client.backend = sending.connection
        passage.backend = connection.address
        left = ANSWER_WITHIN - (time.monotonic() - passage.started)
        connection.send(sending.head, method, min(self._upstream.options.head_timeout, left))
        if sending.flow is not None:
            sending.flow.begin(connection)

    def _drop(self, client: ClientConnection, sending: Sending) -> None:
        sending.connection.close()
        self.end(client, sending)

    def end(self, client: ClientConnection, sending: Sending) -> None:
        """The exchange is over: the connection goes back if request and answer are both whole, else it is closed. Doing it
        twice does nothing."""
        if not sending.held:
            return
        sending.held = False
        client.backend = None
        connection = sending.connection
        connection.on_drain = None
        if client.body is not None and not client.body.done:
            connection.close()
        self._upstream.release(connection)

    def abandon(self, client: ClientConnection, sending: Sending) -> None:
        """The exchange is over, and nothing more of its answer is wanted."""
        if sending.held:
            self._drop(client, sending)

    async def relay(
        self,
        client: ClientConnection,
        request: Inbound,
        passage: Passage,
        sending: Sending,
        lines: list[bytes],
        seen: Callable[[bytes], None] | None = None,
    ) -> None:
        """Give the backend's answer to the client as it comes; `seen` is shown the body's octets on their way. A break after
        the head is shown as a break."""
        chunked = self.deliver(client, request, passage, sending, lines, seen)
        if chunked is None:
            return
        try:
            await sending.connection.relay(_Downstream(client, passage, seen, chunked=chunked))
        except ExchangeError as error:
            passage.fault = error.kind
            client.break_off()
            return
        if chunked:
            client.write(LAST_CHUNK)

    def deliver(
        self,
        client: ClientConnection,
        request: Inbound,
        passage: Passage,
        sending: Sending,
        lines: list[bytes],
        seen: Callable[[bytes], None] | None = None,
    ) -> bool | None:
        """Give the client the head of the answer and what has come of the body. Returns None when that was all, else whether
        the rest is to be chunked. Raises ExchangeError when the body broke already."""
        answer = sending.answer
        data, whole = sending.connection.take_early(self._upstream.options.body_timeout)
        if client.body is not None and not client.body.done:
            client.keep = False
        chunked = self._frame(client, request, answer, data if whole else None, lines)
        passage.answered(AnsweredBy.BACKEND, answer.status)
        passage.bytes_out = len(data)
        if seen is not None:
            seen(data)
        if data and chunked:
            data = chunk(data)
        out = [_BEGINNINGS[answer.status], answer.phrase, b"\r\n"]
        out += lines
        out += (b"\r\n", data, LAST_CHUNK if whole and chunked else b"")
        client.write(b"".join(out))
        return None if whole else chunked

    @staticmethod
    def _frame(client: ClientConnection, request: Inbound, answer: Outbound, whole: bytes | None, lines: list[bytes]) -> bool:
        """Add our framing to the answer's fields (RFC 9112 section 6.3); `whole` is the body if all of it is here already.
        Returns whether the body goes out chunked."""
        chunked = False
        if answer.length is not None and answer.status != 204:
            lines.append(b"Content-Length: %d\r\n" % answer.length)
        elif answer.bodiless:
            pass
        elif whole is not None and (request.minor == 0 or not answer.chunked):
            lines.append(b"Content-Length: %d\r\n" % len(whole))
        elif request.minor == 1:
            chunked = True
            lines.append(b"Transfer-Encoding: chunked\r\n")
        else:
            client.keep = False
        if not client.keep:
            lines.append(b"Connection: close\r\n")
        return chunked


class _Downstream:
    """The sink of an answer's body: counts, frames and writes."""

    __slots__ = ("_chunked", "_client", "_passage", "_seen")

    def __init__(
        self, client: ClientConnection, passage: Passage, seen: Callable[[bytes], None] | None, *, chunked: bool
    ) -> None:
        self._client = client
        self._passage = passage
        self._seen = seen
        self._chunked = chunked

    def __call__(self, octets: bytes) -> None:
        self._passage.bytes_out += len(octets)
        if self._seen is not None:
            self._seen(octets)
        self._client.write(chunk(octets) if self._chunked else octets)


NO_ANSWER: Final = frozenset((FaultKind.CLIENT_GONE, FaultKind.CLIENT_STALLED))
"""Faults after which there is nobody to answer."""
