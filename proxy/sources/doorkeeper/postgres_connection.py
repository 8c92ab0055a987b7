"""One connection to PostgreSQL that comes back by itself, and the only place where asyncpg's exceptions are caught.

A connection is never used again after a time-out or a cancelled wait: it is dropped and made anew. asyncpg's own pool is
not used because handing a connection back costs a query, and waits without end for a server that does not answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Final

import asyncpg
import msgspec

from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.doorkeeper.schema import SchemaChanged
from proxy.sources.doorkeeper.spoken import in_words
from proxy.tasks import Tasks

RENEW_AFTER: Final = 120.0
"""Seconds after which a connection is made anew at its next use: a name may lead to another server by now, this one may be no
primary any more though it answers, or something on the way may have forgotten a connection that lay idle."""

RENEW_WAIT: Final = 0.25
"""Seconds for which that is waited for. The old one serves on until the new one is there."""

RENEW_RETRY: Final = 10.0
"""Seconds until it is tried again when there was no other to be had."""

RETRY_PAUSE: Final = 0.5
"""Seconds after a failed connect in which the next callers are told so at once: an outage must not cost each a wait."""

_READ_ONLY: Final = "SET default_transaction_read_only = on; SET row_security = off"
"""Not start-up parameters: asyncpg would take the server for one that `target_session_attrs=read-write` must pass over.
Without row_security a query that a policy would take rows from fails: a hidden row must not look like one that is gone."""

TRANSLATED: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    EOFError,
    UnicodeDecodeError,
)

_OF_A_ROW: Final = (asyncpg.DataError, asyncpg.CardinalityViolationError, UnicodeDecodeError)
"""A value that the vendor's own SQL cannot convert, a second row where it expects one, a text of a SQL_ASCII database."""


class Target(msgspec.Struct, frozen=True):
    """Where and how to connect; times in seconds."""

    dsn: str
    pgbouncer: bool
    connect_timeout: float
    query_timeout: float

    def __repr__(self) -> str:
        return "<Target>"  # a DSN may hold a password


class Lane:
    """One connection, one query at a time."""

    def __init__(self, target: Target, tasks: Tasks, name: str, patience: float | None = None) -> None:
        """`patience`: seconds for which a connection that is being made is waited for; else until it is there or failed."""
        self._target = target
        self._patience = patience
        self._tasks = tasks
        self._name = name
        self._lock = asyncio.Lock()
        self._connection: asyncpg.Connection[Any] | None = None
        self._next: asyncpg.Connection[Any] | None = None
        self._renew_at = 0.0
        self._connecting: asyncio.Task[Any] | None = None
        self._began = 0.0
        self._failed: tuple[float, Trouble] | None = None
        self._closed = False

    async def fetch(self, sql: str, *args: object) -> list[Any]:
        """Run a query. A connection that broke while it lay idle is replaced once. Trouble, or SchemaChanged."""
        async with self._lock:
            reused = self._connection is not None
            try:
                return await self._run(await self._connected(), sql, args)
            except TRANSLATED as error:
                self.drop()
                if not (reused and _is_lost(error)):
                    raise translated(error) from None
            except BaseException:
                self.drop()
                raise
            try:
                return await self._run(await self._connected(), sql, args)
            except TRANSLATED as error:
                self.drop()
                raise translated(error) from None
            except BaseException:
                self.drop()
                raise

    async def _run(self, connection: asyncpg.Connection[Any], sql: str, args: tuple[object, ...]) -> list[Any]:
        timeout = self._target.query_timeout
        if not self._target.pgbouncer:
            plain: list[Any] = await connection.fetch(sql, *args, timeout=timeout)
            return plain
        limit = f"SET LOCAL statement_timeout = {int(timeout * 1000)}"
        await connection.execute(f"BEGIN READ ONLY; {limit}; SET LOCAL row_security = off", timeout=timeout)
        records: list[Any] = await connection.fetch(sql, *args, timeout=timeout)
        await connection.execute("COMMIT", timeout=timeout)
        return records

    async def _connected(self) -> asyncpg.Connection[Any]:
        kept = self._present()
        if kept is not None and time.monotonic() < self._renew_at:
            return kept
        if kept is None and self._failed is not None and time.monotonic() < self._failed[0] + RETRY_PAUSE:
            raise Trouble(self._failed[1].why, self._failed[1].detail)
        if self._connecting is None or self._connecting.done():
            self._began = time.monotonic()
            self._connecting = self._tasks.start(self._connect(), self._name)
        patience = self._patience if kept is None else RENEW_WAIT
        left = None if patience is None else max(0.0, self._began + patience - time.monotonic())
        _ = await asyncio.wait([self._connecting], timeout=left)  # who gives up does not undo what the next one needs
        found = self._present()
        if found is not None:
            return found
        if not self._connecting.done():
            raise Trouble("starting", "no connection to the database yet")
        failed = self._failed[1] if self._failed else Trouble("error", "no connection")
        raise Trouble(failed.why, failed.detail)

    def _present(self) -> asyncpg.Connection[Any] | None:
        """The connection to use, if there is one: a new one in the place of what was."""
        if self._next is not None:
            self.drop()
            self._connection, self._next = self._next, None
        return self._connection if self._connection is not None and not self._connection.is_closed() else None

    async def _connect(self) -> None:
        settings = {"application_name": "scim-witness"}
        if not self._target.pgbouncer:  # PgBouncer refuses start-up parameters that it does not track
            settings["statement_timeout"] = str(int(self._target.query_timeout * 1000))
        try:
            self._next = await self._open(settings)
        except (*TRANSLATED, ValueError) as error:
            self._failed = (time.monotonic(), connect_trouble(error))
            self._renew_at = time.monotonic() + RENEW_RETRY
        else:
            self._failed = None
            self._renew_at = time.monotonic() + RENEW_AFTER
            if self._closed:
                self.close()  # it was on its way when nobody wanted it any more

    async def _open(self, settings: dict[str, str]) -> asyncpg.Connection[Any]:
        connection = await asyncpg.connect(
            self._target.dsn,
            timeout=self._target.connect_timeout,
            statement_cache_size=0 if self._target.pgbouncer else 100,
            max_cached_statement_lifetime=0,
            server_settings=settings,
        )
        if self._target.pgbouncer:
            return connection
        try:
            await connection.execute(_READ_ONLY, timeout=self._target.query_timeout)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def drop(self) -> None:
        """Close the connection at once, whatever it is doing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.terminate()

    def close(self) -> None:
        """Let go of the connection for good; one that is still being made is let go of as soon as it is there."""
        self._closed = True
        _ = self._present()
        self.drop()

    @property
    def connected(self) -> bool:
        """Whether it has a connection, as far as is known."""
        return self._connection is not None or self._next is not None

    @property
    def trying(self) -> bool:
        """Whether it waits for a connection."""
        return self._connecting is not None and not self._connecting.done()


def _is_lost(error: BaseException) -> bool:
    if isinstance(error, TimeoutError):
        return False
    return isinstance(
        error,
        (
            OSError,
            EOFError,
            asyncpg.InterfaceError,
            asyncpg.PostgresConnectionError,
            asyncpg.AdminShutdownError,
            asyncpg.CrashShutdownError,
            asyncpg.IdleSessionTimeoutError,
        ),
    )


def translated(error: BaseException) -> Trouble | SchemaChanged:
    """Return our word for what a query met. Messages of the server are passed on only where they cannot hold a value."""
    if isinstance(error, (asyncpg.InvalidCachedStatementError, asyncpg.SyntaxOrAccessError, asyncpg.OutdatedSchemaCacheError)):
        return SchemaChanged(Trouble("error", _named(error, speak=True)))
    if isinstance(error, (TimeoutError, asyncpg.QueryCanceledError)):
        return Trouble("timeout", "the database did not answer in time")
    if _is_lost(error):
        return Trouble("refused", _named(error))
    return Trouble("error", _named(error), of_a_row=isinstance(error, _OF_A_ROW))


def connect_trouble(error: BaseException) -> Trouble:
    """Return our word for why there is no connection."""
    if isinstance(error, TimeoutError):
        return Trouble("timeout", "connecting took too long")
    if isinstance(error, asyncpg.CannotConnectNowError):
        return Trouble("starting", "the database is starting up or shutting down")
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return Trouble("overload", "the database has no connection to spare")
    if isinstance(error, asyncpg.ClientConfigurationError) and str(error).startswith("root certificate file"):
        return Trouble("error", "the DSN asks to verify the server's certificate, and names no sslrootcert that can be read")
    if isinstance(error, (asyncpg.ClientConfigurationError, ValueError)):
        return Trouble("error", "the DSN cannot be understood")  # the message might quote it
    if isinstance(error, asyncpg.UndefinedObjectError):
        return Trouble("refused", f"the DSN asks for what the server does not know: {error}")
    if isinstance(error, ConnectionError) and str(error).endswith("rejected SSL upgrade"):
        return Trouble("refused", "the server offers no TLS, though the DSN asks for it, or is no PostgreSQL")
    return Trouble("refused", _named(error, speak=isinstance(error, asyncpg.PostgresError)))


def _named(error: BaseException, *, speak: bool = False) -> str:
    if isinstance(error, OSError) and error.errno:
        return in_words(error)
    state = getattr(error, "sqlstate", None)
    name = f"{type(error).__name__} {state}" if state else type(error).__name__
    return f"{name}: {error}" if speak else name
