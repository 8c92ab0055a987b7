"""Latency: at a fixed rate over many connections, and on one connection one after the other.

At a fixed rate the requests are due at times that do not depend on the answers. Each latency counts from the moment at which
the request was due, or was written if a connection was free then, so that a contender that stalls pays for those who wait.
What the generator itself was late is not charged to the contender, but reported.
"""

from __future__ import annotations

import asyncio
import collections
import random
import socket
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import uvloop

from tests.bench.mix import Request


class Latency(NamedTuple):
    """Microseconds. `own_lag_us` is by how much the generator wrote too late at the 99th percentile; `wrong` counts answers
    that were neither what the backend says nor the right refusal."""

    p50_us: float
    p99_us: float
    requests: int
    wrong: int
    own_lag_us: float = 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below `share` of all; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def answer_length(head: bytes) -> int | None:
    """Octets of an answer's body by its head, None when it is chunked."""
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    if at >= 0:
        return int(lower[at + 17 :].partition(b"\r\n")[0])
    return None if b"\r\ntransfer-encoding: chunked" in lower else 0


class _Connection(asyncio.Protocol):
    def __init__(self, owner: _Generator) -> None:
        self._owner = owner
        self._transport: asyncio.Transport
        self._head = b""
        self._left = -1
        self._chunked_tail: bytes | None = None
        self.since = 0.0
        self.refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.lost(self)

    def send(self, request: Request, since: float) -> None:
        self.since = since
        self.refused = request.refused
        self._transport.write(request.raw)

    def data_received(self, data: bytes) -> None:
        if self._chunked_tail is not None:
            self._chunked(data)
            return
        if self._left < 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            length = answer_length(self._head[: end + 2])
            if length is None:
                self._chunked_tail = b""
                self._chunked(self._head[end + 4 :])
                return
            self._left = length - (len(self._head) - end - 4)
        else:
            self._left -= len(data)
        if self._left <= 0:
            self._done()

    def _chunked(self, data: bytes) -> None:
        self._chunked_tail = ((self._chunked_tail or b"") + data)[-7:]
        if self._chunked_tail.endswith(b"0\r\n\r\n"):
            self._done()

    def _done(self) -> None:
        status = int(self._head[9:12])
        right = status == 401 if self.refused else 200 <= status < 300
        self._head, self._left, self._chunked_tail = b"", -1, None
        self._owner.answered(self, right=right)


class _Generator:
    def __init__(self, cycle: Sequence[Request], rate: float, seconds: float) -> None:
        self._cycle = cycle
        self._rate = rate
        self._seconds = seconds
        self._free: list[_Connection] = []
        self._waiting: collections.deque[tuple[Request, float]] = collections.deque()
        self._took: list[float] = []
        self._lags: list[float] = []
        self._wrong = 0
        self._open = 0

    async def run(self, port: int, connections: int) -> Latency:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
            self._free.append(connection)
        dice = random.Random(1)
        begun = due = time.perf_counter()
        sent = 0
        while due < begun + self._seconds:
            now = time.perf_counter()
            if now < due:
                await asyncio.sleep(due - now)
                continue
            self._send(self._cycle[sent % len(self._cycle)], due, now)
            sent += 1
            due += dice.expovariate(self._rate)
        deadline = time.perf_counter() + 10
        while self._open and time.perf_counter() < deadline:
            await asyncio.sleep(0.01)
        for connection in self._free:
            connection._transport.abort()
        wrong = self._wrong + self._open
        return Latency(percentile(self._took, 0.5), percentile(self._took, 0.99), sent, wrong, percentile(self._lags, 0.99))

    def _send(self, request: Request, due: float, now: float) -> None:
        self._open += 1
        self._lags.append((now - due) * 1e6)
        if self._free:
            self._free.pop().send(request, now)
        else:
            self._waiting.append((request, due))

    def answered(self, connection: _Connection, *, right: bool) -> None:
        self._took.append((time.perf_counter() - connection.since) * 1e6)
        self._wrong += not right
        self._open -= 1
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._free.append(connection)

    def lost(self, connection: _Connection) -> None:
        if connection in self._free:
            self._free.remove(connection)


def at_rate(port: int, cycle: Sequence[Request], rate: float, connections: int, seconds: float) -> Latency:
    """Send `rate` requests a second at random times (Poisson) for so long."""
    with asyncio.Runner(loop_factory=cast("Any", uvloop.new_event_loop)) as runner:
        return runner.run(_Generator(cycle, rate, seconds).run(port, connections))


def one_by_one(port: int, cycle: Sequence[Request], seconds: float) -> Latency:
    """One connection, one request after the other, by a plain blocking socket."""
    took: list[float] = []
    wrong = 0
    end = time.perf_counter() + seconds
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = 0
        while (began := time.perf_counter()) < end:
            request = cycle[number % len(cycle)]
            number += 1
            connection.sendall(request.raw)
            status = _read_answer(connection)
            took.append((time.perf_counter() - began) * 1e6)
            wrong += (status != 401) if request.refused else not 200 <= status < 300
    return Latency(percentile(took, 0.5), percentile(took, 0.99), len(took), wrong)


def _read_answer(connection: socket.socket) -> int:
    data = connection.recv(262_144)
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _more(connection)
    length = answer_length(data[: end + 2])
    if length is None:
        tail = data[end + 4 :]
        while not tail.endswith(b"0\r\n\r\n"):
            tail = (tail + _more(connection))[-7:]
    else:
        left = length - (len(data) - end - 4)
        while left > 0:
            left -= len(_more(connection))
    return int(data[9:12])


def _more(connection: socket.socket) -> bytes:
    more = connection.recv(262_144)
    if not more:
        raise ConnectionError("the contender closed in the middle of an answer")
    return more


def download(port: int, token: str, octets: int) -> float:
    """Fetch a stream of so many octets; seconds."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(
            b"GET /octets/%d HTTP/1.1\r\nHost: scim.vendor.example\r\nAuthorization: Bearer %b\r\n\r\n"
            % (octets, token.encode())
        )
        buffer = bytearray(1_048_576)
        head = b""
        while (end := head.find(b"\r\n\r\n")) < 0:
            head += _more(connection)
        if head[9:12] != b"200" or answer_length(head[: end + 2]) != octets:
            raise ConnectionError(f"the stream was answered {head[:60]!r}")
        left = octets - (len(head) - end - 4)
        while left > 0:
            got = connection.recv_into(buffer)
            if not got:
                raise ConnectionError("the stream broke off")
            left -= got
    return time.perf_counter() - began


def upload(port: int, token: str, octets: int) -> float:
    """Send a stream of so many octets with its length in front; seconds until it was answered in full."""
    block = bytes(262_144)
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(
            b"POST /octets/0 HTTP/1.1\r\nHost: scim.vendor.example\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Length: %d\r\nAuthorization: Bearer %b\r\n\r\n" % (octets, token.encode())
        )
        left = octets
        while left > 0:
            part = block[:left]
            connection.sendall(part)
            left -= len(part)
        answer = connection.recv(65_536)
        while not answer.endswith(b"\r\n\r\n%d" % octets):
            answer += _more(connection)
        if answer[9:12] != b"200":
            raise ConnectionError(f"the stream was answered {answer[:60]!r}")
    return time.perf_counter() - began
