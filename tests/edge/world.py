"""A proxy's edge on real sockets between a raw client and a scripted backend; tokens and witness are fakes behind our ports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import h11
import msgspec
import uvloop

from proxy.core.credential import Fingerprinter, Secret
from proxy.core.exchange import Exchange
from proxy.core.forward_auth import Front
from proxy.core.grammar import Limits
from proxy.core.headers import Forwarding
from proxy.core.history import TokenHistory
from proxy.core.incident import Admission, Case, Incident, Unrecorded, new_id
from proxy.core.policy import Policy
from proxy.core.token import Known, Reading, TokenState, Unavailable, Unknown
from proxy.edge.backend_connection import BackendConnection
from proxy.edge.client_connection import Times
from proxy.edge.client_ports import Road
from proxy.edge.deadlines import Deadlines
from proxy.edge.express import Express
from proxy.edge.faults import ExchangeError
from proxy.edge.forward import Forwarder
from proxy.edge.forward_auth import ForwardAuth
from proxy.edge.handler import Handler, RoadOptions
from proxy.edge.judge import Judge
from proxy.edge.limits import Rate
from proxy.edge.listener import Listener, ListenerOptions, Peers, bind
from proxy.edge.upstream import Upstream, UpstreamOptions
from proxy.tasks import Tasks
from tests.edge.backend import Backend

PATIENCE = 30.0
"""Seconds after which a test calls it a hang."""
GOOD = b"good-token-0123456789"
LOOKUP = b"lookup-token-0123456789"
REVOKED = b"revoked-token-0123456789"
DOWN = b"down-token-0123456789"
SECRETS = (GOOD, LOOKUP, REVOKED, DOWN, b"unknown-token-0123456789", b"SECRET")


async def warm(pool: Upstream) -> None:
    """Give the pool a connection that rests, as after an exchange: without one nothing departs on the express road."""
    with contextlib.suppress(ExchangeError):  # there is no such backend
        connection = await pool.acquire(writes=False)
        connection.rest(pool.options.idle_timeout)
        pool._idle.append(connection)


class FakeHeld:
    """A reading in memory that never ages."""

    dispute = 0.0

    def __init__(self, state: TokenState) -> None:
        self.reading = Reading(state, "fake", "primary", time.time())

    def age(self, mono: float) -> float:
        del mono
        return 0.0

    def now(self, mono: float) -> float:
        del mono
        return time.time()


class FakeTokens:
    """`GOOD` is in memory; `LOOKUP` is good, and only the source knows it. `gate` holds the source back while it is not set."""

    def __init__(self, fingerprinter: Fingerprinter) -> None:
        good = Known(1, "acme", time.time() - 100)
        self.states: dict[bytes, TokenState] = {
            GOOD: good,
            LOOKUP: msgspec.structs.replace(good, row=2),
            REVOKED: msgspec.structs.replace(good, row=3, revoked_at=time.time() - 50),
            DOWN: Unavailable("refused"),
        }
        self.gate = asyncio.Event()
        self.gate.set()
        self.reads = 0
        self._good = fingerprinter.of(GOOD)

    def held(self, fingerprint: str) -> FakeHeld | None:
        return FakeHeld(self.states[GOOD]) if fingerprint == self._good else None

    async def read(self, secret: Secret) -> FakeHeld:
        self.reads += 1
        await self.gate.wait()
        return FakeHeld(self.states.get(secret.reveal(), Unknown()))

    async def second_look(self, secret: Secret) -> FakeHeld:
        return await self.read(secret)


class FakeWitness:
    """Keeps every incident and exchange; with `full` set, nothing can be put on record."""

    def __init__(self) -> None:
        self.incidents: list[Incident] = []
        self.exchanges: list[Exchange] = []
        self.full = False

    def admit(self, case: Case) -> Admission:
        return Admission(new_id(case.at, case.tenant), fresh=True)

    def record(self, incident: Incident, secret: Secret | None, admission: Admission) -> None:
        del secret, admission
        if self.full:
            raise Unrecorded("full")
        self.incidents.append(incident)

    def history(self, fingerprint: str) -> TokenHistory | None:
        del fingerprint
        return None

    def tenant_of(self, fingerprint: str) -> str:
        del fingerprint
        return ""

    def saw(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def written(self) -> str:
        """All that would be written down."""
        return msgspec.json.encode([self.exchanges, self.incidents]).decode()


@dataclass
class Answer:
    """A response as h11 understood it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    whole: bool
    interim: list[int] = field(default_factory=list)

    def values(self, name: bytes) -> list[bytes]:
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Raw:
    """A client that writes any bytes and understands answers by h11."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.seen = bytearray()
        self.eof = False
        self.reset = False
        self._left = b""

    async def send(self, data: bytes) -> None:
        """Write bytes; a connection that the proxy has ended is no fault of a client's."""
        if not self.writer.is_closing():
            with contextlib.suppress(ConnectionError):
                self.writer.write(data)
                await self.writer.drain()

    async def send_pieces(self, pieces: Sequence[bytes]) -> None:
        """Write pieces, each in a turn of the loop of its own."""
        for piece in pieces:
            await self.send(piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def _more(self) -> bytes:
        try:
            data = await asyncio.wait_for(self.reader.read(262_144), PATIENCE)
        except ConnectionError:
            self.reset = True
            data = b""
        self.eof = self.eof or not data
        self.seen += data
        return data

    async def answer(self, method: bytes = b"GET") -> Answer | None:
        """The next answer, None when the connection ends without one. TimeoutError is a hang."""
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1_000_000)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        parser.send(h11.EndOfMessage())
        if self._left:
            parser.receive_data(self._left)
            self._left = b""
        answer: Answer | None = None
        interim: list[int] = []
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError:
                if not self.eof:
                    raise
                return answer
            if event is h11.NEED_DATA:
                parser.receive_data(await self._more())
            elif isinstance(event, h11.InformationalResponse):
                interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                answer = Answer(event.status_code, list(event.headers.raw_items()), b"", whole=False, interim=interim)
            elif isinstance(event, h11.Data) and answer is not None:
                answer.body += event.data
            elif isinstance(event, h11.EndOfMessage) and answer is not None:
                answer.whole = not self.reset
                self._left = parser.trailing_data[0]
                return answer
            else:
                return answer

    async def read_to_end(self) -> bytes:
        """Everything until the proxy ends the connection."""
        while await self._more():
            pass
        return bytes(self.seen)

    async def closed(self) -> bool:
        """Wait until the proxy ends the connection; False when it sends something instead."""
        return not self._left and (self.eof or not await self._more())

    def leave(self) -> None:
        """Go away at once."""
        self.writer.transport.abort()


class Pool(Upstream):
    """A pool of which a test may take over how it connects and whom it calls next (`really` is how it does by itself): a
    compiled object's methods cannot be replaced."""

    connects: Callable[[], Awaitable[BackendConnection]] | None = None
    calls_next: Callable[[], None] | None = None

    async def _connect(self) -> BackendConnection:
        return await (self.connects or self.really_connect)()

    async def really_connect(self) -> BackendConnection:
        return await super()._connect()

    def _call_next(self) -> None:
        (self.calls_next or self.really_call_next)()

    def really_call_next(self) -> None:
        super()._call_next()


@dataclass
class World:
    """See the module."""

    backend: Backend
    tokens: FakeTokens
    witness: FakeWitness
    listener: Listener
    upstream: Pool
    deadlines: Deadlines
    tasks: Tasks
    handler: Handler
    port: int
    failures: list[BaseException]
    tls: ssl.SSLContext | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        *,
        times: Times | None = None,
        upstream: dict[str, Any] | None = None,
        road: dict[str, Any] | None = None,
        policy: Policy | None = None,
        forwarding: Forwarding | None = None,
        limits: Limits | None = None,
        trusted: Sequence[Any] = (),
        max_connections: int = 1_000,
        send_buffer: int = 0,
        listener_tls: ssl.SSLContext | None = None,
        backend_tls: ssl.SSLContext | None = None,
        client_tls: ssl.SSLContext | None = None,
        proxy_protocol: bool = False,
        requests: Rate | None = None,
        refusals: Rate | None = None,
        front: Front | None = None,
    ) -> AsyncIterator[World]:
        """Start backend and proxy; stop both at the end."""
        backend = Backend()
        await backend.start(backend_tls)
        failures: list[BaseException] = []
        tasks = Tasks(lambda _, error: failures.append(error))
        deadlines = Deadlines()
        _ = tasks.keep(deadlines.run, "deadlines")
        options = UpstreamOptions(**{"host": "127.0.0.1", "port": backend.port, **(upstream or {})})
        pool = Pool(options, deadlines, Limits())
        fingerprinter = Fingerprinter(b"k" * 32)
        tokens, witness, peers = FakeTokens(fingerprinter), FakeWitness(), Peers(trusted)
        rules = policy or Policy()
        forwarder = Forwarder(pool, forwarding or Forwarding())
        handler = Handler(
            RoadOptions(**{"instance": "i1", **(road or {})}),
            rules,
            fingerprinter,
            Judge(tokens, rules),
            forwarder,
            witness,
            peers,
            lambda _: "",
            lambda _, error: failures.append(error),
            requests=requests,
            refusals=refusals,
        )
        way: Road = handler
        if isinstance(asyncio.get_running_loop(), uvloop.Loop):
            way = Express(handler, forwarder, lambda _, error: failures.append(error))
            await warm(pool)
        bounds = ListenerOptions(limits or Limits(), times or Times(), max_connections, 128, listener_tls, proxy_protocol)
        asking = way if front is None else ForwardAuth(way, b"/_auth", front, bounds.limits)
        listener = Listener(bounds, asking, deadlines, tasks, peers)
        sock = bind("127.0.0.1", 0)
        if send_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        port = sock.getsockname()[1]
        await listener.start(sock)
        world = cls(backend, tokens, witness, listener, pool, deadlines, tasks, handler, port, failures, client_tls)
        try:
            yield world
        finally:
            await listener.drain(0)
            pool.close()
            await backend.stop()
            await tasks.close()

    async def connect(self) -> Raw:
        """A new client connection."""
        return Raw(*await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls))

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Raw]:
        """A client connection that is left at the end."""
        raw = await self.connect()
        try:
            yield raw
        finally:
            raw.leave()

    async def ask(self, request: bytes) -> Answer | None:
        """One request on a connection of its own."""
        async with self.client() as client:
            await client.send(request)
            return await client.answer(request.partition(b" ")[0])

    async def good(self, case: str = "good") -> None:
        """A good client on a new connection gets its own answer."""
        answer = await self.ask(get(extra=b"X-Case: %b\r\n" % case.encode()))
        assert answer is not None
        assert (200, case) == (answer.status, answer.json()["case"])

    def check(self) -> None:
        """What holds after every test: nothing failed inside, nothing ambiguous went out, no secret was written down."""
        assert [] == self.failures
        assert [] == self.backend.complaints
        written = self.witness.written()
        assert [] == [secret for secret in SECRETS if secret.decode() in written]


def get(target: bytes = b"/scim/v2/Users", token: bytes = GOOD, extra: bytes = b"", method: bytes = b"GET") -> bytes:
    """A request without a body."""
    return b"%b %b HTTP/1.1\r\nHost: scim.example\r\nAuthorization: Bearer %b\r\n%b\r\n" % (method, target, token, extra)


def post(body: bytes, token: bytes = GOOD, extra: bytes = b"", method: bytes = b"POST") -> bytes:
    """A request with a body of a known length."""
    return get(token=token, extra=b"Content-Length: %d\r\n%b" % (len(body), extra), method=method) + body


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; a test that waits longer than PATIENCE has found a hang."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to pass"
        await asyncio.sleep(0.005)


FEEDS = ("whole", "bytewise", "split1", "split2")


def pieces(data: bytes, feed: str) -> Iterator[bytes]:
    """How the bytes arrive: whole, byte by byte (long runs of one case in larger steps), or in random pieces."""
    if feed == "whole":
        yield data
        return
    if feed == "bytewise":
        step = 1 + len(data) // 4_000
        yield from (data[at : at + step] for at in range(0, len(data), step))
        return
    chance = random.Random(f"{feed}{len(data)}{data[:64]!r}")
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(1 if feed == "split1" else 4))
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        if start < stop:
            yield data[start:stop]
