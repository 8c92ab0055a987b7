"""A request's body on its way: gathered before a verdict where that needs it, and carried to a backend in our own framing."""

from __future__ import annotations

import asyncio
from typing import Final

from proxy.core.framing import LAST_CHUNK, chunk
from proxy.core.inbound import Inbound
from proxy.core.oauth import Copy
from proxy.edge.backend_connection import BackendConnection
from proxy.edge.client_connection import ClientConnection
from proxy.edge.deadlines import NEVER
from proxy.edge.faults import ExchangeError

REPLAY_LIMIT: Final = 65_536
"""Octets of a body that are kept to send it once more on a fresh connection; SCIM resources are far smaller."""
GATHER_LIMIT: Final = 65_536
"""Octets of a body that are read before the verdict in search of a token; a form that holds one is far smaller."""


class BodyFlow:
    """Carries a request's body from the client to a backend connection, and keeps a copy while small.

    `gathered` are octets that were taken before; the client's `body` tells whether they are all.
    """

    __slots__ = ("_chunked", "_client", "_connection", "_copy", "_head_timeout", "_size", "_upload_done")

    def __init__(self, client: ClientConnection, request: Inbound, head_timeout: float, gathered: bytes = b"") -> None:
        self._client = client
        self._chunked = request.length is None
        self._head_timeout = head_timeout
        self._connection: BackendConnection | None = None
        self._copy: list[bytes] | None = [gathered] if gathered else []
        self._size = len(gathered)
        self._upload_done = client.body is None or client.body.done

    def begin(self, connection: BackendConnection) -> None:
        """Send what has been kept (gathered before, or sent before), then whatever comes."""
        self._connection = connection
        connection.on_drain = self._drained
        for octets in self._copy or ():
            self._write(octets)
        if self._size > REPLAY_LIMIT:
            self._copy = None
        if self._upload_done:
            self._finish()
        else:
            self._due()
            self._client.flow(self._take)

    def replayable(self, limit: int = REPLAY_LIMIT) -> bool:
        """Whether the whole body has been kept."""
        return self._upload_done and self._copy is not None and self._size <= limit

    @property
    def copy(self) -> Copy:
        """What has been kept of the body so far, or why it was not."""
        if self._copy is None:
            return Copy(unread="too_large")
        return Copy(b"".join(self._copy), "" if self._upload_done else "incomplete")

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
            self._finish()
        else:
            self._due()

    def _write(self, octets: bytes) -> None:
        if self._connection is not None:
            self._connection.write(chunk(octets) if self._chunked else octets)

    def _finish(self) -> None:
        if self._connection is not None and self._chunked:
            self._connection.write(LAST_CHUNK)
        self._due()

    def _due(self) -> None:
        """Hold the backend to its deadline while it is the one that is waited for: not while the client's body is."""
        connection = self._connection
        if connection is None:
            return
        if connection.write_paused and not self._upload_done:
            self._client.hold_back()
        elif not self._upload_done:
            connection.answer_due(NEVER)
            return
        connection.answer_due(self._head_timeout)

    def _drained(self) -> None:
        self._client.go_on()
        self._due()


class _Gathering:
    """The counterpart of a client whose body is read before its verdict."""

    def __init__(self, client: ClientConnection) -> None:
        self._client = client
        self._parts: list[bytes] = []
        self._size = 0
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __bytes__(self) -> bytes:
        return b"".join(self._parts)

    def take(self, octets: bytes) -> None:
        """The sink."""
        self._parts.append(octets)
        self._size += len(octets)
        done = self._client.body is None or self._client.body.done
        if not done and self._size > GATHER_LIMIT:
            self._client.stop_flow()
        if (done or self._size > GATHER_LIMIT) and not self.end.done():
            self.end.set_result(None)

    def fail(self, fault: ExchangeError) -> None:
        """See Counterpart."""
        if not self.end.done():
            self.end.set_exception(fault)
            self.end.exception()  # the waiter may be gone; asyncio must not complain of that

    def pause_reading(self) -> None:
        """See Counterpart: nothing is read from it."""

    resume_reading = pause_reading


async def gather(client: ClientConnection, request: Inbound) -> bytes:
    """Read the body before the verdict: all of it, or somewhat more than GATHER_LIMIT octets. Raises ExchangeError."""
    gathering = _Gathering(client)
    client.backend = gathering
    if request.expects_continue:
        client.invite()
    client.flow(gathering.take)
    try:
        await gathering.end
    finally:
        client.backend = None
        client.stop_flow()
    return bytes(gathering)
