"""Forwarding: a judged request to the backend and its answer back, streaming both ways with bounded memory."""

from __future__ import annotations

import asyncio
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

    async def send(self, client: ClientConnection, request: Inbound, passage: Passage, gathered: bytes = b"") -> Sending:
        """Send a request and wait for the head of its answer; `gathered` is what was already read of its body. Raises
        ExchangeError."""
        head = request_head(request, client.peer, self._forwarding, self._default_host)
        flow = None
        if client.body is not None:
            flow = BodyFlow(client, request, self._upstream.options.head_timeout, gathered)
        sending = Sending(head, flow)
        if request.expects_continue:
            client.invite()
        await self._attempt(client, request, passage, sending, fresh=False)
        return sending

    async def again(self, client: ClientConnection, request: Inbound, passage: Passage, sending: Sending) -> None:
        """Send the same request once more on a new connection, after a refusal of the backend (which processed nothing)."""
        passage.attempts += 1
        self.end(client, sending)
        await self._attempt(client, request, passage, sending, fresh=True)

    async def _attempt(
        self, client: ClientConnection, request: Inbound, passage: Passage, sending: Sending, *, fresh: bool
    ) -> None:
        method = request.method
        while True:
            writes = method in _RESERVED_FOR_IDEMPOTENT
            connection = None if fresh else self._upstream.take_idle(writes=writes)
            if connection is None:
                connection = await self._upstream.acquire(writes=writes, fresh=fresh)
            sending.connection = connection
            sending.held = True
            try:
                self._begin(client, connection, passage, sending, method)
                sending.answer = await connection.answer()
            except ExchangeError as error:
                self._drop(client, sending)
                if fresh or not error.untouched or method not in _IDEMPOTENT or not sending.replayable():
                    raise
                fresh = True
                passage.attempts += 1
            except BaseException:
                self._drop(client, sending)
                raise
            else:
                return

    def _begin(
        self, client: ClientConnection, connection: BackendConnection, passage: Passage, sending: Sending, method: bytes
    ) -> None:
        if client.fault is not None:
            raise client.fault
        client.backend = connection
        passage.backend = connection.address
        now = asyncio.get_running_loop().time()
        left = ANSWER_WITHIN - (time.monotonic() - passage.started)
        connection.send(sending.head, method, now + min(self._upstream.options.head_timeout, left))
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
        answer, connection = sending.answer, sending.connection
        data, whole = connection.take_early(self._upstream.options.body_timeout)
        if client.body is not None and not client.body.done:
            client.keep = False
        chunked = self._frame(client, request, answer, data if whole else None, lines)
        head = b"HTTP/1.1 %d %b\r\n%b\r\n" % (answer.status, answer.phrase, b"".join(lines))
        passage.answered(AnsweredBy.BACKEND, answer.status)
        passage.bytes_out = len(data)
        if seen is not None:
            seen(data)
        if data and chunked:
            data = chunk(data)
        if whole:
            client.write(head + data + LAST_CHUNK if chunked else head + data)
            return
        client.write(head + data)
        try:
            await connection.relay(_Downstream(client, passage, seen, chunked=chunked))
        except ExchangeError as error:
            passage.fault = error.kind
            client.break_off()
            return
        if chunked:
            client.write(LAST_CHUNK)

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
