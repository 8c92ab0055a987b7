"""What comes before HTTP on a connection: the PROXY header of a proxy in front, and the TLS handshake. Both are strangers'
bytes, so both have a deadline and count as connections while they last.

A listener without either accepts by the event loop's own server and has no door.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from proxy.core.proxy_header import (
    SHORTEST,
    SIGNATURE,
    V1_BEGIN,
    V1_LIMIT,
    V2_FIXED,
    ProxyHeaderError,
    Told,
    parse_v1,
    parse_v2,
    v2_length,
)
from proxy.tasks import Tasks

SHORT_OF_DESCRIPTORS_PAUSE: Final = 1.0
"""Seconds without accepting after the system refused us a descriptor: those in use end meanwhile. asyncio waits as long."""


Refused = Callable[[str, ssl.SSLError], None]
"""Told of a failed TLS handshake: by the address on the connection, and what OpenSSL says."""


class Terms(msgspec.Struct, frozen=True):
    """What a connection must bring, and in how many seconds. `wants_header` tells by the peer's address."""

    seconds: float
    tls: ssl.SSLContext | None
    wants_header: Callable[[str], bool]
    refused: Refused | None = None


class Door:
    """Accepts, and lets a connection in once it has brought what must come first."""

    def __init__(
        self,
        sock: socket.socket,
        tasks: Tasks,
        terms: Callable[[], Terms],
        admits: Callable[[int], bool],
        client: Callable[[Told], asyncio.Protocol],
    ) -> None:
        """`admits` tells whether there is room for one more beside so many under way here; `client` makes the protocol."""
        self.entering = 0
        self._sock = sock
        self._tasks = tasks
        self._terms = terms
        self._admits = admits
        self._client = client
        self._accepting: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether connections are accepted."""
        return self._accepting is not None and not self._accepting.done()

    def open(self, backlog: int) -> None:
        """Begin to accept."""
        self._sock.listen(backlog)
        self._accepting = self._tasks.keep(self._accept, "door")

    def close(self) -> None:
        """Accept no more; those on the threshold may still come in."""
        if self._accepting is not None:
            self._accepting.add_done_callback(lambda _: self._sock.close())
            _ = self._accepting.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, name = await loop.sock_accept(self._sock)
            except ConnectionAbortedError:
                continue
            except OSError:
                await asyncio.sleep(SHORT_OF_DESCRIPTORS_PAUSE)
                continue
            if not self._admits(self.entering):
                sock.close()
            else:
                self.entering += 1
                _ = self._tasks.start(self._enter(sock, str(name[0]) if name else ""), "PROXY header")
            await asyncio.sleep(0)  # sock_accept does not wait while the kernel has more: the others get their turn

    async def _enter(self, sock: socket.socket, address: str) -> None:
        """Let one connection in, or end it. A header that is none is reported: the proxy in front is set up otherwise."""
        terms = self._terms()
        patience = terms.seconds if terms.tls else None
        try:
            with contextlib.suppress(OSError, TimeoutError), _telling(address, terms.refused):
                async with asyncio.timeout(terms.seconds):
                    told = await self._told(sock, address, terms)
                    await asyncio.get_running_loop().connect_accepted_socket(
                        lambda: self._client(told), sock, ssl=terms.tls, ssl_handshake_timeout=patience
                    )
        finally:
            self.entering -= 1

    async def _told(self, sock: socket.socket, address: str, terms: Terms) -> Told:
        if not terms.wants_header(address):
            return Told()
        try:
            return await _read_header(sock)
        except BaseException:
            sock.close()
            raise


@contextlib.contextmanager
def _telling(address: str, refused: Refused | None) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        if refused is not None:
            refused(address, error)
        raise


async def _read_header(sock: socket.socket) -> Told:
    """Read a header and not an octet more, for what follows may be a TLS handshake. Version 1 has no length, so its line is
    read octet by octet: some 30 reads a connection. Raises ProxyHeaderError and OSError."""
    begun = await _exactly(sock, SHORTEST)
    if begun.startswith(SIGNATURE):
        fixed = begun + await _exactly(sock, V2_FIXED - SHORTEST)
        return parse_v2(fixed, await _exactly(sock, v2_length(fixed)))
    if not begun.startswith(V1_BEGIN):
        raise ProxyHeaderError("missing")
    while not begun.endswith(b"\n"):
        if len(begun) >= V1_LIMIT:
            raise ProxyHeaderError("v1_too_long")
        begun += await _exactly(sock, 1)
    return parse_v1(begun)


async def _exactly(sock: socket.socket, size: int) -> bytes:
    """Read so many octets. Raises OSError when the connection ends before."""
    read = b""
    while len(read) < size:
        octets = await asyncio.get_running_loop().sock_recv(sock, size - len(read))
        if not octets:
            raise ConnectionResetError
        read += octets
    return read
