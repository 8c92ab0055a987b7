"""Bodies stream: bounded memory at 200 MB each way, the first octet at once, and back-pressure from end to end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

import psutil
import pytest

from proxy.core.grammar import Limits
from proxy.edge.backend_connection import BackendConnection
from proxy.edge.deadlines import Deadlines
from tests.edge.backend import Talk
from tests.edge.world import GOOD, World, get, until

SIZE = 200 * 1024 * 1024
PIECE = bytes(range(256)) * 1_024
ROOM = 64 * 1024 * 1024
HELD = 16 * 1024 * 1024
"""What kernel buffers on four sockets and ours may hold together; bodies in these tests are far larger."""


@dataclass
class Alone:
    """A proxy in a process of its own, and a bare backend in this one: h11 would be the slowest part."""

    port: int
    process: psutil.Process
    received: hashlib._Hash
    octets: int = 0

    def rss(self) -> int:
        return self.process.memory_info().rss


@contextlib.asynccontextmanager
async def alone() -> AsyncIterator[Alone]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"POST"):
                    left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                    while left:
                        data = await reader.read(min(left, 262_144))
                        left -= len(data)
                        proxy.octets += len(data)
                        proxy.received.update(data)
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                elif b"/large" in head:
                    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    for _ in range(SIZE // len(PIECE)):
                        writer.write(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
                        await writer.drain()
                    writer.write(b"0\r\n\r\n")
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=262_144)
    backend = server.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.edge.proxy_process",
        str(backend),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    port = int(await process.stdout.readline())
    proxy = Alone(port, psutil.Process(process.pid), hashlib.sha256())
    try:
        yield proxy
    finally:
        process.stdin.close()
        await process.wait()
        server.close()


async def watch(proxy: Alone, peak: list[int]) -> None:
    while True:
        peak.append(proxy.rss())
        await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_memory_stays_bounded_at_200_mb_each_way():
    async with alone() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=262_144)
        writer.write(get())
        await reader.readuntil(b"{}")
        start, peak = proxy.rss(), [0]
        watching = asyncio.create_task(watch(proxy, peak))
        try:
            writer.write(get(b"/large"))
            assert b"chunked" in await reader.readuntil(b"\r\n\r\n")
            expected, seen = hashlib.sha256(), hashlib.sha256()
            while size := int(await reader.readuntil(b"\r\n"), 16):
                seen.update(await reader.readexactly(size))
                await reader.readexactly(2)
            await reader.readexactly(2)
            writer.write(get(method=b"POST", extra=b"Content-Length: %d\r\n" % SIZE))
            for _ in range(SIZE // len(PIECE)):
                expected.update(PIECE)
                writer.write(PIECE)
                await writer.drain()
            await reader.readuntil(b"{}")
        finally:
            watching.cancel()
        assert (expected.digest(), expected.digest()) == (seen.digest(), proxy.received.digest())
        assert max(peak) - start < ROOM
        writer.close()


async def test_first_octets_pass_at_once_both_ways(world: World):
    gate = asyncio.Event()

    async def early(talk: Talk) -> None:
        if talk.request.method == b"GET":
            await talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
            await gate.wait()
            await talk.send(b"1\r\nb\r\n0\r\n\r\n")

    async def script(talk: Talk) -> None:
        if talk.request.method == b"POST":
            await talk.answer()

    world.backend.early, world.backend.script = early, script
    async with world.client() as client:
        await client.send(get())
        assert b"1\r\na\r\n" == (await client.reader.readuntil(b"a\r\n"))[-6:]
        gate.set()
        await client.reader.readuntil(b"b\r\n0\r\n\r\n")
        await client.send(get(method=b"POST", extra=b"Content-Length: 2\r\n") + b"a")
        await until(lambda: world.backend.raw.endswith(b"\r\n\r\na"))
        await client.send(b"b")
        assert 200 == (await client.answer()).status


async def settled(measure) -> int:
    """The value of something that grows, once it has stopped."""
    last, same = -1, 0
    while same < 40:
        now = measure()
        same = same + 1 if now == last else 0
        last = now
        await asyncio.sleep(0.005)
    return last


async def test_a_client_that_does_not_read_holds_the_backend_back(world: World):
    sent = [0]

    async def script(talk: Talk) -> None:
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        for _ in range(SIZE // len(PIECE)):
            await talk.send(PIECE)
            sent[0] += len(PIECE)

    world.backend.script = script
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port, limit=1_024)
    writer.write(get())
    await until(lambda: sent[0])
    assert await settled(lambda: sent[0]) < HELD
    await reader.readexactly(HELD)
    await until(lambda: sent[0] > HELD)
    writer.transport.abort()


async def test_a_backend_that_does_not_read_holds_the_client_back(world: World):
    gate = asyncio.Event()

    async def early(talk: Talk) -> None:
        if talk.request.method == b"POST":
            await gate.wait()

    world.backend.early = early
    total = 40 * 1024 * 1024
    sent = [0]
    async with world.client() as client:

        async def upload() -> None:
            await client.send(get(method=b"POST", extra=b"Content-Length: %d\r\n" % total))
            for _ in range(total // len(PIECE)):
                await client.send(PIECE)
                sent[0] += len(PIECE)

        sending = asyncio.create_task(upload())
        await until(lambda: sent[0])
        assert await settled(lambda: sent[0]) < HELD
        gate.set()
        answer = await client.answer()
        await sending
        assert (200, total) == (answer.status, answer.json()["octets"])
        assert GOOD not in client.seen


@pytest.mark.parametrize(
    "length", [b"Content-Length: 2\r\n", b"Content-Length: 3\r\n", b""], ids=["whole", "cut", "until close"]
)
async def test_an_answer_that_came_before_a_write_failed_is_read(length: bytes):
    """A backend refuses a body from its head alone and closes with the rest unread: its answer counts."""
    loop = asyncio.get_running_loop()
    lost: list[BackendConnection] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        connection = BackendConnection(Deadlines(), Limits(), lost.append)
        made = loop.create_connection(lambda: cast("asyncio.Protocol", connection), *server.getsockname())
        transport, _ = await made
        backend, _ = await loop.sock_accept(server)
    connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n", b"POST", 30.0)
    await loop.sock_recv(backend, 65_536)
    backend.send(b"HTTP/1.1 413 Content Too Large\r\n" + length + b"\r\n{}")
    backend.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    backend.close()
    for _ in range(2):  # within this turn of the loop: it has not read yet
        connection.write(b"x" * 65_536)
    answer = await connection.answer()
    assert (413, b"{}") == (answer.status, b"".join(connection._early))
    while not lost:
        await asyncio.sleep(0)
    assert (length == b"Content-Length: 2\r\n") is connection.complete
    assert not connection.reusable()
    assert transport.is_closing()
