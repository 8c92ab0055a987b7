"""5,000 idle and 500 busy connections on the wired program: memory is bounded, too much is shed, operators still see."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import psutil
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.end_to_end.conftest import GOOD
from tests.end_to_end.running import get

pytestmark = pytest.mark.heavy

IDLE, BUSY = 5_000, 500
AT_BACKEND, QUEUED = 100, 200
EACH = 50_000
"""Octets of memory for a connection, as docs/settings.md says of listen.max_connections."""
AT_ONCE = 250
PATIENCE = 60.0


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Enough of them for the clients; a child inherits them."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 20_000), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Slow:
    """A backend that answers /slow when it is told to."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.waiting = 0

    async def answer(self, request: web.Request) -> web.Response:
        """The handler."""
        if request.path == "/slow":
            self.waiting += 1
            await self.gate.wait()
            self.waiting -= 1
        return web.json_response({"ok": True})


@pytest.fixture
async def slow() -> AsyncIterator[tuple[Slow, str]]:
    """The backend and its URL."""
    one, app = Slow(), web.Application()
    app.router.add_route("*", "/{path:.*}", one.answer)
    server = TestServer(app)
    await server.start_server()
    yield one, f"http://127.0.0.1:{server.port}"
    one.gate.set()
    await server.close()


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, data: str) -> Client:
        """Connect."""
        host, port = data.removeprefix("http://").rsplit(":", 1)
        return cls(*await asyncio.open_connection(host, int(port)))

    async def ask(self, path: str) -> tuple[int, bytes]:
        """A request; status and head."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {GOOD}\r\n\r\n".encode())
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), PATIENCE)
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(head[9:12]), head

    def leave(self) -> None:
        """Go away."""
        self._writer.transport.abort()


async def crowd(data: str, number: int) -> list[Client]:
    """So many clients, each of which has been served once and now idles."""
    clients: list[Client] = []
    while len(clients) < number:
        some = await asyncio.gather(*(Client.to(data) for _ in range(min(AT_ONCE, number - len(clients)))))
        assert {200} == {status for status, _ in await asyncio.gather(*(client.ask("/fast") for client in some))}
        clients += some
    return clients


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_idle_crowds_and_busy_ones(deploy, slow: tuple[Slow, str], descriptors: None):
    backend, url = slow
    proxy = deploy(url)
    proxy.start(
        {
            "SCIM_WITNESS_UPSTREAM__MAX_CONNECTIONS": str(AT_BACKEND),
            "SCIM_WITNESS_UPSTREAM__QUEUE_LIMIT": str(QUEUED),
            "SCIM_WITNESS_UPSTREAM__QUEUE_TIMEOUT": "60",
        }
    )
    process = psutil.Process(proxy.pid)
    for client in await crowd(proxy.data, AT_ONCE):
        client.leave()
    before = process.memory_info().rss
    idle = await crowd(proxy.data, IDLE)
    assert process.memory_info().rss - before < IDLE * EACH

    busy = [await Client.to(proxy.data) for _ in range(BUSY)]
    answers = [asyncio.create_task(client.ask("/slow")) for client in busy]
    shed = BUSY - AT_BACKEND - QUEUED
    async with asyncio.timeout(PATIENCE):
        while sum(task.done() for task in answers) < shed or backend.waiting < AT_BACKEND:
            await asyncio.sleep(0.02)
    told = [task.result() for task in answers if task.done()]
    assert [503] * shed == [status for status, _ in told]
    assert all(b"\r\nRetry-After: 10\r\n" in head for _, head in told)
    assert 503 == (await idle[0].ask("/fast"))[0], "one more is too much too, and is told so at once"
    for page in ("livez", "readyz", "metrics"):
        status, _, body = await get(f"{proxy.ops}/{page}")
        assert 200 == status, page
    assert f"scim_witness_client_connections {IDLE + BUSY}.0".encode() in body
    assert f"scim_witness_inflight_requests {AT_BACKEND + QUEUED}.0".encode() in body
    assert process.memory_info().rss - before < (IDLE + BUSY) * EACH

    backend.gate.set()
    assert {503: shed, 200: AT_BACKEND + QUEUED} == Counter(status for status, _ in await asyncio.gather(*answers))
    assert {200} == {(await client.ask("/fast"))[0] for client in idle[::100]}, "those who idled are still served"
    for client in [*idle, *busy]:
        client.leave()
