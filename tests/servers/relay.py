"""A wire between a source and its server that can be broken in every way a network breaks, and mended."""

from __future__ import annotations

import asyncio
import enum
from typing import Final

LATE: Final = 2.0
"""Seconds by which a slow server's octets come later: above every deadline of a test that uses it."""


class Fault(enum.StrEnum):
    """`down`: connections are reset. `half_open`: they are taken, and nothing comes any more. `slow`: what comes, comes too
    late. `cut`: an answer ends in its middle. `lying`: what comes is no answer of that protocol."""

    DOWN = "down"
    HALF_OPEN = "half_open"
    SLOW = "slow"
    CUT = "cut"
    LYING = "lying"


class Relay:
    """Listens on `port` and passes octets to and from the server, as `fault` lets it."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._mended = asyncio.Event()
        self._mended.set()
        self.fault: Fault | None = None
        self.port = 0

    async def start(self) -> Relay:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def break_by(self, fault: Fault) -> None:
        """From now on; connections that are open break as well."""
        self.fault = fault
        self._mended.clear()
        if fault is Fault.DOWN:
            self._abort()

    def mend(self) -> None:
        """All is well again. What was held back is thrown away with its connection, as a network does."""
        self.fault = None
        self._abort()
        self._mended.set()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._abort()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        self._writers.add(writer)
        try:
            await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._pumps.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault is Fault.DOWN:
            return
        there, to_server = await asyncio.open_connection(*self._to)
        self._writers.add(to_server)
        try:
            ways = (asyncio.ensure_future(self._asks(reader, to_server)), asyncio.ensure_future(self._says(there, writer)))
            _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in left:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            to_server.transport.abort()
            self._writers.discard(to_server)

    async def _asks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while octets := await reader.read(65_536):
            if self.fault is Fault.HALF_OPEN:
                await self._mended.wait()
            writer.write(octets)
            await writer.drain()

    async def _says(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while octets := await reader.read(65_536):
            match self.fault:
                case Fault.HALF_OPEN:
                    await self._mended.wait()
                case Fault.SLOW:
                    await asyncio.sleep(LATE)
                case Fault.LYING:
                    octets = b"\x16\x03\x01 I am another server.\r\n" * 4
                case Fault.CUT:
                    writer.write(octets[: len(octets) // 2])
                    await writer.drain()
                    return
            writer.write(octets)
            await writer.drain()
