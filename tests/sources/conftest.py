"""Sources over real servers, with one fingerprint key."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest

from proxy.core.credential import Fingerprinter, Secret
from proxy.sources.doorkeeper.mysql import doorkeeper_on_mysql
from proxy.sources.doorkeeper.options import Options
from proxy.sources.doorkeeper.postgres import doorkeeper_on_postgres
from proxy.sources.doorkeeper.source import Doorkeeper
from proxy.tasks import Tasks
from tests.doorkeeper.conftest import vendors  # noqa: F401 - a fixture
from tests.sources.doorkeeper_tables import MODERN, Tables
from tests.sources.mysql_tables import MysqlTables

FINGERPRINTER = Fingerprinter(b"a key of a test, 32 bytes long..")


def secret(token: str | bytes) -> Secret:
    raw = token if isinstance(token, bytes) else token.encode()
    return Secret(raw, FINGERPRINTER.of(raw))


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    """An owner of tasks; a task that failed fails the test."""
    failures: list[tuple[str, BaseException]] = []
    owner = Tasks(lambda name, error: failures.append((name, error)))
    yield owner
    await owner.close()
    assert failures == []


@pytest.fixture
async def opened(tasks: Tasks) -> AsyncIterator[Callable[..., Doorkeeper]]:
    """Opens sources and closes them at the end of the test: opened(dsn, hashing=...)."""
    sources = []

    def open_source(dsn: str, **options: Any) -> Doorkeeper:
        build = doorkeeper_on_mysql if dsn.startswith("mysql") else doorkeeper_on_postgres
        sources.append(build(Options(primary=dsn, **options), FINGERPRINTER, tasks))
        return sources[-1]

    yield open_source
    for source in sources:
        await source.close()


@contextlib.asynccontextmanager
async def tables_in(dsn: str, schema: str = MODERN) -> AsyncIterator[Tables]:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(schema)
        yield Tables(dsn, connection)
    finally:
        await connection.close()


@pytest.fixture
async def tables(database: str) -> AsyncIterator[Tables]:
    """Doorkeeper's tables as of today, empty."""
    async with tables_in(database) as ready:
        yield ready


@pytest.fixture
async def mysql_tables(mariadb_database: str) -> AsyncIterator[MysqlTables]:
    """Doorkeeper's tables in MariaDB, empty."""
    tables = await MysqlTables.create(mariadb_database)
    yield tables
    tables.close()
