"""Reads the whole table of tokens in one pass, a batch at a time, over a cursor on the server: memory does not grow with it.

The secrets stay in the database: their column is not selected. One read-only transaction on a connection of its own, on the
replica where there is one. The newest token per application and owner and the pairs that hold a grant are hashed by the server.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import asyncpg
import msgspec

from proxy.core.audit import Row as AuditRow
from proxy.sources.doorkeeper.options import Options
from proxy.sources.doorkeeper.postgres_connection import (
    TRANSLATED,
    connect_trouble,
    translated,
)
from proxy.sources.doorkeeper.postgres_schema import INSPECT, Shape, names, shape_from
from proxy.sources.doorkeeper.postgres_sql import Statements
from proxy.sources.doorkeeper.rows import Row, instant, to_known
from proxy.sources.doorkeeper.schema import SchemaChanged

BATCH: Final = 5_000
"""Rows fetched at once: a few MB, and a round trip in a hundred."""

COLUMNS: Final = (
    "id", "''::text", "created_at", "expires_in", "revoked_at", "scopes", "application", "application_name", "owner",
    "sw_found", "sw_active", "sw_tenant", "refreshable", "unused",
)  # fmt: skip
"""Of a Row, without the secret. What is not selected of an inner query is not read."""


class Batch(msgspec.Struct, frozen=True):
    """`read` rows were read; those alive are in `rows`. `previous_null` of all had no previous_refresh_token at all."""

    read: int
    rows: Sequence[AuditRow]
    previous_null: int


class WholeTable(Statements):
    """The query over the whole table, for one shape of the schema."""

    @property
    def whole(self) -> str:
        """Every row with its newest kin and whether a grant exists. No parameters."""
        tokens = self.shape.tokens
        columns = ", ".join(f"sw_all.{name}" if "::" not in name else name for name in COLUMNS)
        previous = "sw_token.previous_refresh_token IS NULL" if tokens.reads("previous_refresh_token") else "false"
        granted, grants = self._grants()
        return (
            f"SELECT {columns}, sw_all.sw_newest, sw_all.sw_granted, sw_all.sw_null FROM ("  # noqa: S608 - quoted identifiers
            f"SELECT {self._facts()}, sw_kin.sw_newest, {granted} AS sw_granted, {previous} AS sw_null "
            f"FROM {tokens.name} AS sw_token {self._joins()} "
            f"LEFT JOIN ({self._newest()}) AS sw_kin ON {self._same('sw_kin')} {grants}) AS sw_all"
        )

    def _pair(self, alias: str) -> tuple[str, str]:
        """Application and owner as texts that can be compared for equality, so that the server may hash them."""
        tokens = self.shape.tokens
        application, owner = (
            f"coalesce({alias}.{column}::text, '')" if tokens.reads(column) else "''::text"
            for column in ("application_id", "resource_owner_id")
        )
        return application, owner

    def _same(self, other: str) -> str:
        application, owner = self._pair("sw_token")
        return f"{other}.sw_a = {application} AND {other}.sw_o = {owner}"

    def _newest(self) -> str:
        application, owner = self._pair("k")
        return (
            f"SELECT {application} AS sw_a, {owner} AS sw_o, extract(epoch FROM max(k.created_at))::float8 AS sw_newest "  # noqa: S608
            f"FROM {self.shape.tokens.name} AS k WHERE k.revoked_at IS NULL GROUP BY 1, 2"
        )

    def _grants(self) -> tuple[str, str]:
        grants = self.shape.grants
        if not (grants.reads("application_id") and grants.reads("resource_owner_id")):
            return "NULL::bool", ""
        pairs = (
            "SELECT DISTINCT coalesce(application_id::text, '') AS sw_a, coalesce(resource_owner_id::text, '') AS sw_o "  # noqa: S608
            f"FROM {grants.name}"
        )
        return "(sw_grant.sw_a IS NOT NULL)", f"LEFT JOIN ({pairs}) AS sw_grant ON {self._same('sw_grant')}"


class TableAudit:
    """One pass over the table of one Doorkeeper installation."""

    def __init__(self, options: Options, *, batch: int = BATCH) -> None:
        self.name = options.name
        self._options = options
        self._batch = batch
        self.estimate: float | None = None
        self.flags: tuple[str, ...] = ()

    async def batches(self, now: float | None = None) -> AsyncIterator[Batch]:
        """Read it. `estimate` (rows, as the planner has it) and `flags` are known from the first batch on. Trouble when the
        database cannot be reached, refuses, or breaks off; nothing is retried."""
        moment = time.time() if now is None else now
        connection = await self._connect()
        try:
            async with connection.transaction(readonly=True):
                _ = await connection.execute("SET LOCAL row_security = off")  # a hidden row would count as none
                shape = await self._shape(connection)
                cursor = await connection.cursor(WholeTable(shape, self._options).whole)
                while records := await cursor.fetch(self._batch):
                    yield self._converted(records, moment)
        except TRANSLATED as error:
            found = translated(error)
            raise (found.trouble if isinstance(found, SchemaChanged) else found) from None
        finally:
            connection.terminate()

    async def _connect(self) -> asyncpg.Connection[Any]:
        options = self._options
        try:
            return await asyncpg.connect(
                options.replica or options.primary,
                timeout=options.connect_timeout,
                statement_cache_size=0,
                server_settings={"application_name": "scim-witness audit"},
            )
        except (*TRANSLATED, ValueError) as error:
            raise connect_trouble(error) from None

    async def _shape(self, connection: asyncpg.Connection[Any]) -> Shape:
        tables = names(self._options)
        shape = shape_from(await connection.fetch(INSPECT, list(tables), list(tables.values())), self._options)
        self.estimate, self.flags = shape.tokens.rows, shape.flags()
        return shape

    def _converted(self, records: Sequence[Any], now: float) -> Batch:
        nulls = sum(1 for record in records if record[-1])
        rows = [self._row(record) for record in records if may_live(record[2], record[3], record[4], now)]
        return Batch(len(records), rows, nulls)

    def _row(self, record: Sequence[Any]) -> AuditRow:
        known = to_known(Row(None, *record[:-3]), "", lambda _: "")  # type: ignore[arg-type]
        newest = record[-3]
        return AuditRow(self.name, known, None if newest is None else instant(newest), record[-2])


def may_live(created: float | None, expires_in: int | None, revoked: float | None, now: float) -> bool:
    """Whether it is worth building a value for: most rows of an old table are dead. Times in epoch seconds."""
    if revoked is not None and revoked <= now:
        return False
    return expires_in is None or created is None or not math.isfinite(created) or created + expires_in >= now
