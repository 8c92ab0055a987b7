"""The pool of connections to the backend: bounded, with a bounded and timed queue, and only silent connections reused."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from typing import Final, cast

import msgspec

from proxy.core.grammar import Limits
from proxy.edge.backend_connection import BackendConnection
from proxy.edge.deadlines import Deadlines
from proxy.edge.faults import ExchangeError, FaultKind

FRESH_ENOUGH_FOR_WRITES: Final = 1.0
"""Seconds of idleness after which a connection no longer carries POST or PATCH: these are never sent twice, so they do
not ride on a connection that the backend may be closing just now."""


class UpstreamOptions(msgspec.Struct, frozen=True):
    """Where the backend is and how long to wait for it. Durations in seconds."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    connect_timeout: float = 5.0
    head_timeout: float = 50.0
    body_timeout: float = 30.0
    idle_timeout: float = 4.0
    max_connections: int = 100
    queue_limit: int = 1_000
    queue_timeout: float = 5.0


class Upstream:
    """Hands out connections. Every `acquire` is matched by one `release`."""

    def __init__(self, options: UpstreamOptions, deadlines: Deadlines, limits: Limits) -> None:
        self.options = options
        self._deadlines = deadlines
        self._limits = limits
        self._idle: deque[BackendConnection] = deque()
        self._open = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._called = 0
        self._closed = False

    @property
    def in_use(self) -> int:
        """Connections that carry an exchange now."""
        return self._open - len(self._idle)

    @property
    def queued(self) -> int:
        """Requests that wait for a connection."""
        return len(self._waiting)

    def has_idle(self) -> bool:
        """Whether `take_idle` may give one."""
        return bool(self._idle) and not (self._waiting or self._called)

    def take_idle(self, writes: bool) -> BackendConnection | None:  # noqa: FBT001 - by place, or it costs as much as the rest
        """Return an idle connection that is fit to carry a request, at once and without waiting; None when there is none or
        others wait already."""
        return None if self._waiting or self._called else self._take(writes)

    def _take(self, writes: bool) -> BackendConnection | None:  # noqa: FBT001 - the same
        while self._idle:
            connection = self._idle.pop()
            if connection.fit_to_carry():
                if writes and connection.rested() > FRESH_ENOUGH_FOR_WRITES:
                    self._idle.append(connection)
                    return None
                return connection
            connection.close()
        return None

    async def acquire(self, *, writes: bool, fresh: bool = False) -> BackendConnection:
        """Return a connection for one exchange; whoever has waited longest comes first. `fresh` asks for a new one. Raises
        ExchangeError."""
        patience = asyncio.get_running_loop().time() + self.options.queue_timeout
        if self._waiting or self._called:
            await self._queue(patience)
        while True:
            if not fresh and (connection := self._take(writes)) is not None:
                return connection
            if self._open < self.options.max_connections:
                return await self._connect()
            if self._idle:
                self._idle.popleft().close()
            await self._queue(patience)

    async def _queue(self, patience: float) -> None:
        """Wait to be called. Whoever is called and does not come any more passes the call on."""
        if len(self._waiting) >= self.options.queue_limit:
            raise ExchangeError(FaultKind.BACKEND_BUSY, untouched=True)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._called -= 1
                self._call_next()
            if isinstance(error, TimeoutError):
                raise ExchangeError(FaultKind.BACKEND_BUSY, untouched=True) from None
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(turn)
        self._called -= 1

    def _call_next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                self._called += 1
                turn.set_result(None)
                return

    async def _connect(self) -> BackendConnection:
        o = self.options
        made: list[BackendConnection] = []

        def build() -> asyncio.Protocol:
            made.append(BackendConnection(self._deadlines, self._limits, self._lost))
            return cast("asyncio.Protocol", made[-1])

        self._open += 1
        try:
            async with asyncio.timeout(o.connect_timeout):
                await asyncio.get_running_loop().create_connection(
                    build, o.host, o.port, ssl=o.tls, server_hostname=(o.server_name or o.host) if o.tls else None
                )
        except BaseException as error:
            self._give_up(made)
            if isinstance(error, TimeoutError):
                raise ExchangeError(FaultKind.BACKEND_CONNECT_TIMEOUT, untouched=True) from None
            if isinstance(error, OSError):
                raise ExchangeError(FaultKind.BACKEND_UNREACHABLE, untouched=True) from None
            raise
        return made[-1]

    def _give_up(self, made: list[BackendConnection]) -> None:
        """Account for a connection that was not made, or that was made while its maker was being cancelled."""
        if made and made[-1].made:
            made[-1].close()
        else:
            self._open -= 1
            self._call_next()

    def release(self, connection: BackendConnection) -> None:
        """Take a connection back: into the pool when its exchange ended cleanly, else it is closed."""
        if self._closed or not connection.reusable():
            connection.close()
            return
        connection.rest(self.options.idle_timeout)
        self._idle.append(connection)
        self._call_next()

    def _lost(self, connection: BackendConnection) -> None:
        self._open -= 1
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
        self._call_next()

    async def check(self) -> float:
        """Open and close a connection, for doctor and readiness; the seconds it took. Raises ExchangeError."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        connection = await self._connect()
        connection.close()
        return loop.time() - started

    def close(self) -> None:
        """Close every idle connection; those in use close when released."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
