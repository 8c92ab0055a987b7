"""A backend that keeps what arrives byte for byte, understands it by a parser that is not ours, and misbehaves on demand."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import h11


@dataclass
class Request:
    """A request as h11 understood it; header names and values as they were on the wire."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""

    def values(self, name: bytes) -> list[bytes]:
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass
class Connection:
    """One connection: all its bytes, and how it ended."""

    raw: bytearray = field(default_factory=bytearray)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Talk:
    """What a script has in its hands when a request has come (or, `early`, when its head has)."""

    def __init__(
        self,
        backend: Backend,
        connection: Connection,
        request: Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.backend = backend
        self.connection = connection
        self.request = request
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"{}", status: bytes = b"200 OK", extra: bytes = b"") -> None:
        """Write an ordinary answer."""
        head = b"HTTP/1.1 %b\r\nContent-Type: application/scim+json\r\nContent-Length: %d\r\n%b\r\n"
        await self.send(head % (status, len(body), extra) + body)

    def reset(self) -> None:
        """End the connection with a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_gone(self) -> None:
        """Wait until the proxy has left."""
        try:
            while data := await self.reader.read(65_536):
                self.connection.raw += data
        except ConnectionError:
            pass


Script = Callable[[Talk], Awaitable[None]]


async def echo(talk: Talk) -> None:
    """The usual answer: it names the request it belongs to."""
    case = b"".join(talk.request.values(b"x-case")).decode("latin-1")
    await talk.answer(json.dumps({"case": case, "octets": len(talk.request.body)}).encode())


class Backend:
    """See the module. `script` answers each request; `early` runs when a head has come, before its body."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        self.script: Script = echo
        self.early: Script | None = None
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def raw(self) -> bytes:
        """All bytes of all connections."""
        return b"".join(bytes(connection.raw) for connection in self.connections)

    @property
    def last(self) -> Request:
        """The last request that came whole."""
        return self.requests[-1]

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection()
        self.connections.append(connection)
        self._writers.add(writer)
        try:
            await self._talk(connection, reader, writer)
        except ConnectionError:
            pass
        except h11.RemoteProtocolError as error:
            self.complaints.append(str(error))
        finally:
            self._writers.discard(writer)
            connection.ended.set()
            writer.close()

    async def _talk(self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1_000_000)
        request = Request(b"", b"", [])
        parts: list[bytes] = []
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(65_536)
                connection.raw += data
                if not data and parser.trailing_data[0] == b"" and parser.their_state is not h11.IDLE:
                    return  # a request that was broken off is no complaint: the proxy may break off
                parser.receive_data(data)
            elif isinstance(event, h11.Request):
                request = Request(event.method, event.target, list(event.headers.raw_items()))
                if self.early is not None:
                    await self.early(Talk(self, connection, request, reader, writer))
            elif isinstance(event, h11.Data):
                parts.append(event.data)
            elif isinstance(event, h11.EndOfMessage):
                request.body = b"".join(parts)
                parts.clear()
                self.requests.append(request)
                await self.script(Talk(self, connection, request, reader, writer))
                parser.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                parser.send(h11.EndOfMessage())
                if parser.our_state is not h11.DONE or writer.is_closing():
                    return
                parser.start_next_cycle()
            else:
                return
