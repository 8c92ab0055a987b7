"""One connection to MySQL or MariaDB that comes back by itself, and the only place where aiomysql's exceptions are caught.

aiomysql meets a broken answer with whatever its parser trips over, so everything it raises is translated here. A connection
is never used again after a fault, a time-out or a cancelled wait. Its pool is not used: it hands broken connections out again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import aiomysql
import msgspec
import pymysql

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

_SCHEMA: Final = frozenset({1054, 1142, 1143, 1146, 1044})
"""Unknown column, SELECT denied (table, column), no such table, database denied: time to look at the schema again."""
_TIMEOUT: Final = frozenset({1969, 3024, 1317, 1205})
"""max_statement_time (MariaDB), max_execution_time (MySQL), interrupted, lock wait."""
_LOST: Final = frozenset(
    {1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 2003, 2006, 2013, 2014, 2055, 3169, 4031}
)
"""4031 is what MySQL says, since 8.0.24, on a connection that lay idle for wait_timeout; MariaDB closes it without a word."""
_OF_A_ROW: Final = frozenset({1242, 1264, 1292, 1300, 1365, 1366, 1411, 1690, 3141, 3143, 3146, 3156, 3157})
"""A second row where the vendor's own SQL expects one, a value that it cannot convert or compute with, or take for JSON."""
_OVERLOAD: Final = frozenset({1040, 1041, 1203, 1226})
_PORT: Final = 3306
_PARAMETERS: Final = frozenset({"ssl_mode", "ssl_ca", "unix_socket"})


class Target(msgspec.Struct, frozen=True):
    """Where and how to connect; times in seconds."""

    dsn: str
    connect_timeout: float
    query_timeout: float

    def __repr__(self) -> str:
        return "<Target>"  # a DSN may hold a password

    def arguments(self) -> dict[str, Any]:
        """Return what aiomysql.connect takes. ValueError for a DSN that cannot be understood, OSError for its CA file.

        `mysql://user:password@host:3306/database?ssl_mode=verify_identity&ssl_ca=/path`; `mysql2://` is Rails' spelling.
        `ssl_mode`: disabled (default), required, verify_ca, verify_identity, as MySQL's own clients name them.
        """
        url = urlsplit(self.dsn)
        query = {name: values[-1] for name, values in parse_qs(url.query, strict_parsing=bool(url.query)).items()}
        if url.scheme not in ("mysql", "mysql2", "mariadb") or query.keys() - _PARAMETERS:
            raise ValueError("no MySQL URL")
        return {
            "host": url.hostname or "localhost",
            "port": url.port or _PORT,
            "user": unquote(url.username or ""),
            "password": unquote(url.password or ""),
            "db": unquote(url.path.lstrip("/")) or None,
            "unix_socket": query.get("unix_socket"),
            "ssl": _tls(query.get("ssl_mode", "verify_ca" if "ssl_ca" in query else "disabled").lower(), query.get("ssl_ca")),
        }


def _tls(mode: str, ca: str | None) -> ssl.SSLContext | None:
    if mode not in ("disabled", "required", "verify_ca", "verify_identity"):
        raise ValueError("no such ssl_mode")
    if mode == "disabled":
        return None
    context = ssl.create_default_context(cafile=str(Path(ca)) if ca else None)
    context.check_hostname = mode == "verify_identity"
    if mode == "required":
        context.verify_mode = ssl.CERT_NONE
    return context


class _Quiet(aiomysql.Cursor):  # type: ignore[misc]
    """Shows no warnings: the server's quote values, and Python would print them."""

    async def _show_warnings(self, conn: Any) -> None:
        del conn


class Lane:
    """One connection, one query at a time, in a read-only session whose zone is UTC."""

    def __init__(self, target: Target, tasks: Tasks, name: str, patience: float | None = None) -> None:
        """`patience`: seconds for which a connection that is being made is waited for; else until it is there or failed."""
        self._target = target
        self._patience = patience
        self._tasks = tasks
        self._name = name
        self._lock = asyncio.Lock()
        self._connection: Any = None
        self._next: Any = None
        self._renew_at = 0.0
        self._connecting: asyncio.Task[Any] | None = None
        self._began = 0.0
        self._failed: tuple[float, Trouble] | None = None
        self._closed = False

    async def fetch(self, sql: str) -> list[Any]:
        """Run a query. A connection that broke while it lay idle is replaced once. Trouble, or SchemaChanged."""
        async with self._lock:
            reused = self._connection is not None
            try:
                return await self._run(sql)
            except Trouble as trouble:
                if not (reused and trouble.why == "refused"):
                    raise
            return await self._run(sql)

    async def _run(self, sql: str) -> list[Any]:
        connection = await self._connected()
        try:
            async with asyncio.timeout(self._target.query_timeout):
                return await _fetch(connection, sql)
        except Exception as error:  # noqa: BLE001 - see above
            self.drop()
            raise translated(error) from None
        except BaseException:
            self.drop()
            raise

    async def _connected(self) -> Any:
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

    def _present(self) -> Any:
        """The connection to use, if there is one: a new one in the place of what was."""
        if self._next is not None:
            self.drop()
            self._connection, self._next = self._next, None
        return self._connection if self._connection is not None and not self._connection.closed else None

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._target.connect_timeout):
                self._next = await open_connection(self._target, "scim-witness")
        except Exception as error:  # noqa: BLE001 - see above
            self._failed = (time.monotonic(), connect_trouble(error))
            self._renew_at = time.monotonic() + RENEW_RETRY
        else:
            self._failed = None
            self._renew_at = time.monotonic() + RENEW_AFTER
            if self._closed:
                self.close()  # it was on its way when nobody wanted it any more

    def drop(self) -> None:
        """Close the connection at once, whatever it is doing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

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


async def open_connection(target: Target, program: str) -> Any:
    """Open a read-only session whose zone is UTC. Raises whatever aiomysql does; the caller knows the deadline."""
    arguments = target.arguments()
    connection = await aiomysql.connect(
        **arguments, charset="utf8mb4", sql_mode="''", autocommit=True, program_name=program, cursorclass=_Quiet
    )
    try:
        if arguments["ssl"] is not None:
            _insist_on_tls(connection)
        await _fetch(connection, _session(connection.server_version, target.query_timeout))
        await _fetch(connection, "SET SESSION TRANSACTION READ ONLY")
    except BaseException:
        connection.close()
        raise
    return connection


def _session(version: str, limit: float) -> str:
    """The server ends a statement by itself too, after a connection was dropped; 0 is for ever."""
    ends = f"max_statement_time = {limit:g}" if "MariaDB" in version else f"max_execution_time = {int(limit * 1000)}"
    return f"SET SESSION time_zone = '+00:00', {ends}"


def _insist_on_tls(connection: Any) -> None:
    """aiomysql goes on in the clear with a server that offers no TLS, or seems to."""
    if connection._writer.get_extra_info("ssl_object") is None:  # noqa: SLF001 - it has no public word for it
        raise Trouble("refused", "the server offers no TLS, and the DSN asks for it")


async def _fetch(connection: Any, sql: str) -> list[Any]:
    cursor = await connection.cursor()
    await cursor.execute(sql)
    return list(await cursor.fetchall())


def translated(error: Exception) -> Trouble | SchemaChanged:
    """Return our word for what a query met. Messages of the server are passed on only where they cannot hold a value."""
    code = _code(error)
    if isinstance(error, TimeoutError) or code in _TIMEOUT:
        return Trouble("timeout", "the database did not answer in time")
    if code in _SCHEMA:
        return SchemaChanged(Trouble("error", _named(error, speak=True)))
    if code in _LOST or isinstance(error, (OSError, EOFError, pymysql.err.InterfaceError)):
        return Trouble("refused", _named(error))
    return Trouble("error", _named(error), of_a_row=code in _OF_A_ROW or isinstance(error, UnicodeDecodeError))


def connect_trouble(error: Exception) -> Trouble:
    """Return our word for why there is no connection."""
    if isinstance(error, Trouble):
        return error
    if isinstance(error, TimeoutError):
        return Trouble("timeout", "connecting took too long")
    if isinstance(error, ValueError):
        return Trouble("error", "the DSN cannot be understood")  # the message might quote it
    if _code(error) in _OVERLOAD:
        return Trouble("overload", "the database has no connection to spare")
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    return Trouble("refused", _named(cause, speak=_code(error) in (1044, 1045, 1049)))


def _code(error: BaseException) -> int:
    known = isinstance(error, pymysql.err.MySQLError) and error.args and isinstance(error.args[0], int)
    return error.args[0] if known else 0


def _named(error: BaseException, *, speak: bool = False) -> str:
    if isinstance(error, OSError) and error.errno:
        return in_words(error)
    code = _code(error)
    name = f"{type(error).__name__} {code}" if code else type(error).__name__
    return f"{name}: {error.args[1]}" if speak and len(error.args) > 1 else name
