"""HTTP/1 from a backend, by its connection: answers in any split, and what h11 understands of them."""

from __future__ import annotations

import asyncio
import atexit
import socket
from collections.abc import Sequence
from typing import Any, Final

import h11

from proxy.core.grammar import Limits
from proxy.core.outbound import Outbound
from proxy.edge.backend_connection import BackendConnection
from proxy.edge.deadlines import Deadlines
from tests.fuzz.http import FIELD_WORDS
from tests.fuzz.target import Target, splits


class _Wire(asyncio.Transport):
    """Takes what is written; reading is by hand."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock, "peername": ("127.0.0.1", 1)})
        self.closed = False

    def write(self, data: object) -> None:
        """Nobody reads it."""

    def abort(self) -> None:
        """See asyncio."""
        self.closed = True

    def is_closing(self) -> bool:
        """See asyncio."""
        return self.closed

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """No limits."""

    def pause_reading(self) -> None:
        """Reading is by hand."""

    def resume_reading(self) -> None:
        """Reading is by hand."""


_RUNNER: Final = asyncio.Runner(loop_factory=asyncio.new_event_loop)  # so that no other test gets it as its own
_PAIR: Final = socket.socketpair()
for _close in (_RUNNER.close, _PAIR[0].close, _PAIR[1].close):
    atexit.register(_close)
BACKEND_METHODS: Final = (b"GET", b"HEAD", b"POST")


def answer(data: bytes) -> bool:
    """Answers of a backend: the same in any split, and what we understand h11 understands as well."""
    return _RUNNER.run(_answer(data))


async def _answer(data: bytes) -> bool:
    accepted = False
    for method in BACKEND_METHODS:
        head, octets, whole, reusable = heard(method, [data])
        for parts in splits(data):
            assert (head, whole, reusable) == ((again := heard(method, parts))[0], *again[2:])
            if whole:
                assert octets == again[1]
        if head is None:
            continue
        accepted = True
        assert 200 <= head.status <= 999
        if whole:
            assert (head.status, octets) == by_h11(data, method, ends=head.length is None and not head.chunked)
    return accepted


def heard(method: bytes, parts: Sequence[bytes]) -> tuple[Outbound | None, bytes, bool, bool]:
    """Head, body, whether it came whole, whether the connection may be used again."""
    connection = BackendConnection(Deadlines(), Limits(head=1_500, fields=20), lambda _: None)
    connection.connection_made(_Wire(_PAIR[0]))
    connection.send(b"", method, 10.0)
    for part in parts:
        if connection._lost or connection._transport.is_closing():
            break
        connection.data_received(part)
        assert len(connection._buffer) <= 1_500 + len(part)
    reusable = connection.reusable()
    if not connection._transport.is_closing():
        connection.eof_received()
    connection._poll.unregister(_PAIR[0])
    outcome = connection.outcome
    head = outcome if isinstance(outcome, Outbound) else None
    return head, b"".join(connection._early), head is not None and connection.complete and connection._fault is None, reusable


def by_h11(data: bytes, method: bytes, *, ends: bool) -> tuple[int, bytes]:
    """Status and body as h11 reads them."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=100_000)
    parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(data)
    if ends:
        parser.receive_data(b"")
    event: Any = parser.next_event()
    while isinstance(event, h11.InformationalResponse):
        event = parser.next_event()
    assert isinstance(event, h11.Response)
    status, received = event.status_code, b""
    while isinstance(event := parser.next_event(), h11.Data):
        received += event.data
    assert isinstance(event, h11.EndOfMessage)
    return status, received


TARGETS: Final = (
    Target(
        "answer",
        answer,
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 Not Found\r\n\r\nuntil the end",
            b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
            b"HTTP/1.1 304\r\nContent-Length: 5, 5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/2 200\r\n\r\n",
        ],
        (
            *FIELD_WORDS[4:8],
            *FIELD_WORDS[9:13],
            b"HTTP/1.1 ",
            b"200 OK",
            b"103 Early Hints\r\n\r\n",
            b"\r\nContent-Length: 5, 5",
            b"0\r\n\r\n",
        ),
    ),
)
