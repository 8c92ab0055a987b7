"""A backend for streams, run as `python -m tests.bench.stream_server PORT`. Sends and takes octets as fast as the loop can."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Final, cast

import uvloop

BLOCK: Final = b"\0" * 262_144
"""One write; the transport is asked for more when it has been taken."""
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Streamer(asyncio.Protocol):
    """One connection: GET /octets/N, or any method with a body, whole or chunked."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._buffer = b""
        self._left = 0
        self._taken = 0
        self._chunked = False
        self._tail = b""
        self._to_send = 0
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=len(BLOCK))

    def data_received(self, data: bytes) -> None:
        if self._left or self._chunked:
            self._take(data)
            return
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head, rest = self._buffer[: end + 2], self._buffer[end + 4 :]
        self._buffer = b""
        self._taken = 0
        length = _LENGTH.search(head)
        self._chunked = b"chunked" in head.lower() and length is None
        self._left = int(length[1]) if length else 0
        if self._left or self._chunked:
            self._take(rest)
        else:
            self._answer(int(head.split(b" ", 2)[1].rpartition(b"/")[2]))

    def _take(self, data: bytes) -> None:
        self._taken += len(data)
        if self._chunked:
            self._tail = (self._tail + data)[-5:]
            done = self._tail == b"0\r\n\r\n"
        else:
            self._left -= len(data)
            done = self._left <= 0
        if done:
            self._chunked, self._left, self._tail = False, 0, b""
            body = b"%d" % self._taken
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def _answer(self, octets: int) -> None:
        self._to_send = octets
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % octets
        )
        self.resume_writing()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        while self._to_send and not self._paused:
            block = BLOCK[: self._to_send]
            self._to_send -= len(block)
            self._transport.write(block)


async def serve(port: int) -> None:
    """Until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Streamer, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
