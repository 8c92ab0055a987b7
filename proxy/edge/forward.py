"""Forwarding: a judged request to the backend and its answer back, streaming both ways with bounded memory."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from proxy.core.exchange import AnsweredBy
from proxy.core.framing import LAST_CHUNK, chunk
from proxy.core.headers import Forwarding, request_head
from proxy.core.inbound import Inbound
from proxy.core.outbound import Outbound
from proxy.edge.backend_connection import BackendConnection
from proxy.edge.client_connection import ClientConnection
from proxy.edge.faults import ExchangeError, FaultKind
from proxy.edge.passage import Passage
from proxy.edge.upstream import Upstream

ANSWER_WITHIN: Final = 55.0
"""Seconds from a request's start to the head of its answer at most: Okta and Entra give up at 60."""
REPLAY_LIMIT: Final = 65_536
"""Octets of a body that are kept to send it once more on a fresh connection; SCIM resources are far smaller."""
_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"))
"""RFC 9110 section 9.2.2. POST and PATCH are never sent twice by ourselves."""
_RESERVED_FOR_IDEMPOTENT: Final = frozenset((b"POST", b"PATCH"))


class BodyFlow:
    """Carries a request's body from the client to a backend connection in our own framing, and keeps a copy while small."""

    __slots__ = ("_chunked", "_client", "_connection", "_copy", "_head_timeout", "_loop", "_size", "_upload_done")

    def __init__(self, client: ClientConnection, request: Inbound, head_timeout: float) -> None:
        self._client = client
        self._chunked = request.length is None
        self._head_timeout = head_timeout
        self._loop = asyncio.get_running_loop()
        self._connection: BackendConnection | None = None
        self._copy: list[bytes] | None = []
        self._size = 0
        self._upload_done = False

    def begin(self, connection: BackendConnection) -> None:
        """Send what has been kept (a second try), then whatever comes."""
        self._connection = connection
        connection.on_drain = self._client.go_on
        if self._size:
            for octets in self._copy or ():
                self._write(octets)
            if self._upload_done:
                self._write(b"")
        elif self._upload_done:
            self._write(b"")
        if not self._upload_done:
            self._client.flow(self._take)

    def replayable(self, limit: int = REPLAY_LIMIT) -> bool:
        """Whether the whole body has been kept."""
        return self._upload_done and self._copy is not None and self._size <= limit

    def _take(self, octets: bytes) -> None:
        body = self._client.body
        self._upload_done = body is None or body.done
        if octets:
            self._size += len(octets)
            if self._size > REPLAY_LIMIT:
                self._copy = None
            elif self._copy is not None:
                self._copy.append(octets)
            self._write(octets)
        if self._upload_done:
            self._write(b"")

    def _write(self, octets: bytes) -> None:
        """Write octets; none at all ends a chunked body."""
        connection = self._connection
        if connection is None:
            return
        if self._chunked:
            connection.write(chunk(octets) if octets else LAST_CHUNK)
        elif octets:
            connection.write(octets)
        connection.deadline = self._loop.time() + self._head_timeout
        if connection.write_paused:
            self._client.hold_back()


class Sending:
    """One request on its way: the connection it rides on, its answer's head, and whether it may be sent again."""

    __slots__ = ("answer", "connection", "flow", "head")

    def __init__(self, head: bytes, flow: BodyFlow | None) -> None:
        self.head = head
        self.flow = flow
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

    async def send(self, client: ClientConnection, request: Inbound, passage: Passage) -> Sending:
        """Send a request and wait for the head of its answer. Raises ExchangeError."""
        head = request_head(request, client.peer, self._forwarding, self._default_host)
        flow = BodyFlow(client, request, self._upstream.options.head_timeout) if client.body is not None else None
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
            try:
                sending.connection = connection
                sending.answer = await self._exchange(client, connection, passage, sending, method)
            except ExchangeError as error:
                self._drop(client, connection)
                if fresh or not error.untouched or method not in _IDEMPOTENT or not sending.replayable():
                    raise
                fresh = True
                passage.attempts += 1
            except BaseException:
                self._drop(client, connection)
                raise
            else:
                return

    async def _exchange(
        self, client: ClientConnection, connection: BackendConnection, passage: Passage, sending: Sending, method: bytes
    ) -> Outbound:
        if client.fault is not None:
            raise client.fault
        client.backend = connection
        passage.backend = connection.address
        now = asyncio.get_running_loop().time()
        left = ANSWER_WITHIN - (time.monotonic() - passage.started)
        connection.send(sending.head, method, now + min(self._upstream.options.head_timeout, left))
        if sending.flow is not None:
            sending.flow.begin(connection)
        return await connection.answer()

    def _drop(self, client: ClientConnection, connection: BackendConnection) -> None:
        client.backend = None
        connection.close()

    def end(self, client: ClientConnection, sending: Sending) -> None:
        """The exchange is over: the connection goes back if request and answer are both whole, else it is closed."""
        client.backend = None
        if client.body is not None and not client.body.done:
            sending.connection.close()
        self._upstream.release(sending.connection)

    async def relay(
        self, client: ClientConnection, request: Inbound, passage: Passage, sending: Sending, lines: list[bytes]
    ) -> None:
        """Give the backend's answer to the client as it comes. A break after the head is shown as a break."""
        answer, connection = sending.answer, sending.connection
        data, whole = connection.take_early(self._upstream.options.body_timeout)
        if client.body is not None and not client.body.done:
            client.keep = False
        chunked = self._frame(client, request, answer, data if whole else None, lines)
        head = b"HTTP/1.1 %d %b\r\n%b\r\n" % (answer.status, answer.phrase, b"".join(lines))
        passage.answered(AnsweredBy.BACKEND, answer.status)
        passage.bytes_out = len(data)
        if data and chunked:
            data = chunk(data)
        if whole:
            client.write(head + data + LAST_CHUNK if chunked else head + data)
            return
        client.write(head + data)
        try:
            await connection.relay(_Downstream(client, passage, chunked=chunked))
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
        elif request.minor == 0:
            lines.append(b"Connection: keep-alive\r\n")
        return chunked


class _Downstream:
    """The sink of an answer's body: counts, frames and writes."""

    __slots__ = ("_chunked", "_client", "_passage")

    def __init__(self, client: ClientConnection, passage: Passage, *, chunked: bool) -> None:
        self._client = client
        self._passage = passage
        self._chunked = chunked

    def __call__(self, octets: bytes) -> None:
        self._passage.bytes_out += len(octets)
        self._client.write(chunk(octets) if self._chunked else octets)


NO_ANSWER: Final = frozenset((FaultKind.CLIENT_GONE, FaultKind.CLIENT_STALLED))
"""Faults after which there is nobody to answer."""
