"""A client that sends as fast as the proxy answers: raw sockets, kept alive, one request at a time on each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

HEAD = b"GET /scim/v2/Users?startIndex=1&count=2 HTTP/1.1\r\nHost: scim.example.com\r\nAuthorization: Bearer %b\r\n\r\n"


class _Connection(asyncio.Protocol):
    def __init__(self, tokens: Iterator[bytes], statuses: Counter[bytes]) -> None:
        self._tokens = tokens
        self._statuses = statuses
        self._buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        self._statuses[head[9:12]] += 1
        self._buffer = self._buffer[end + 4 + length :]
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the proxy closed the connection"))

    def _send(self) -> None:
        token = next(self._tokens, None)
        if token is None:
            self.done.set_result(None)
            self._transport.close()
        else:
            self._transport.write(HEAD % token)


async def flood(url: str, tokens: Iterator[bytes], connections: int = 32) -> Counter[bytes]:
    """Send one request per token; returns how often each status was answered."""
    host, _, port = url.removeprefix("http://").partition(":")
    statuses: Counter[bytes] = Counter()
    loop = asyncio.get_running_loop()
    made: list[_Connection] = []
    factory: Callable[[], _Connection] = lambda: _Connection(tokens, statuses)  # noqa: E731 - typed
    for _ in range(connections):
        _, protocol = await loop.create_connection(factory, host, int(port))
        made.append(protocol)
    await asyncio.gather(*(connection.done for connection in made))
    return statuses
