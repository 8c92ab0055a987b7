"""A TCP relay that stands between two parts and can be told to be a bad network.

What it does to a connection it does for good: a half-open connection never comes back to life, as when a firewall forgot it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from enum import Enum
from typing import Final, Self

CHUNK: Final = 65_536
GARBAGE: Final = 0x5A
"""Every octet of an answer is XORed with this: it is no longer any protocol."""


class Way(Enum):
    """What happens to what passes."""

    PASS = "pass"
    SLOW = "slow"
    RESET = "reset"
    HALF_OPEN = "half open"
    GARBLE = "garble"


class Relay:
    """Listens on a port of loopback and passes everything on to `to`, which may change while it runs."""

    def __init__(self, to: int, delay: float = 0.15) -> None:
        self.to = to
        self.delay = delay
        self.way = Way.PASS
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._dead: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()

    def turn(self, way: Way) -> None:
        """Change what happens, to the open connections too."""
        self.way = way
        if way is Way.RESET:
            self.reset()

    def reset(self) -> None:
        """End every connection with a RST."""
        for writer in list(self._open):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.way is Way.RESET:
            _reset(writer)
            return
        self._open.add(writer)
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            _reset(writer)
            self._open.discard(writer)
            return
        self._open.add(up_writer)
        pumps = [
            asyncio.create_task(self._pump(reader, up_writer, writer, answers=False)),
            asyncio.create_task(self._pump(up_reader, writer, writer, answers=True)),
        ]
        try:
            with contextlib.suppress(asyncio.CancelledError):  # at the end of the loop; asyncio would print it
                await asyncio.wait(pumps, return_when=asyncio.ALL_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, up_writer):
                self._open.discard(end)
                end.close()
            self._dead.discard(writer)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, whose: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                way = self.way
                if way is Way.HALF_OPEN or whose in self._dead:
                    self._dead.add(whose)
                    continue
                if way is Way.SLOW:
                    await asyncio.sleep(self.delay)
                if way is Way.GARBLE and answers:
                    data = bytes(octet ^ GARBAGE for octet in data)
                writer.write(data)
                await writer.drain()
        if whose in self._dead and answers:
            return  # that the other side has gone does not come through either
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
