# ruff: noqa: S608 - identifiers are quoted, expressions are the operator's
"""Reads the whole table of tokens in MySQL or MariaDB in one pass, unbuffered: memory does not grow with it.

As in audit.py: the secrets stay in the database, the transaction is read-only, the connection its own, the replica goes first.
The server streams the rows as they are fetched; only the newest token per application and owner and the pairs that hold a
grant are gathered there, in tables that it indexes itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import aiomysql

from proxy.core.audit import Row as AuditRow
from proxy.sources.doorkeeper.audit import BATCH, Batch, may_live
from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.doorkeeper.mysql import row_of, seconds
from proxy.sources.doorkeeper.mysql_connection import Target, connect_trouble, open_connection, translated
from proxy.sources.doorkeeper.mysql_schema import MysqlShape, inspection, shape_from
from proxy.sources.doorkeeper.mysql_sql import Statements, micros
from proxy.sources.doorkeeper.options import Options
from proxy.sources.doorkeeper.rows import to_known
from proxy.sources.doorkeeper.schema import SchemaChanged

TOKEN_TEXT: Final = "CAST(sw_token.token AS CHAR) AS sw_token_text"  # noqa: S105 - a column


class WholeTable(Statements):
    """The query over the whole table, for one shape of the schema."""

    @property
    def whole(self) -> str:
        """Every row without its secret, with its newest kin and whether a grant exists."""
        tokens = self.shape.tokens
        facts = self._facts().replace(TOKEN_TEXT, "'' AS sw_token_text")
        previous = "sw_token.previous_refresh_token IS NULL" if tokens.reads("previous_refresh_token") else "0"
        granted, grants = self._grants()
        return (
            f"SELECT {facts}, sw_kin.sw_newest, {granted}, {previous} FROM {tokens.name} AS sw_token {self._joins()} "
            f"LEFT JOIN ({self._newest()}) AS sw_kin ON {self._same('sw_kin')} {grants}"
        )

    def _pair(self, alias: str) -> tuple[str, str]:
        """Application and owner as texts that can be compared for equality."""
        application, owner = (
            f"COALESCE(CAST({alias}.{column} AS CHAR), '')" if self.shape.tokens.reads(column) else "''"
            for column in ("application_id", "resource_owner_id")
        )
        return application, owner

    def _same(self, other: str) -> str:
        application, owner = self._pair("sw_token")
        return f"{other}.sw_a = {application} AND {other}.sw_o = {owner}"

    def _newest(self) -> str:
        application, owner = self._pair("k")
        return (
            f"SELECT {application} AS sw_a, {owner} AS sw_o, {micros('MAX(k.created_at)')} AS sw_newest "
            f"FROM {self.shape.tokens.name} AS k WHERE k.revoked_at IS NULL GROUP BY 1, 2"
        )

    def _grants(self) -> tuple[str, str]:
        grants = self.shape.grants
        if not (grants.reads("application_id") and grants.reads("resource_owner_id")):
            return "NULL", ""
        application, owner = (f"COALESCE(CAST({c} AS CHAR), '')" for c in ("application_id", "resource_owner_id"))
        pairs = f"SELECT DISTINCT {application} AS sw_a, {owner} AS sw_o FROM {grants.name}"
        return "(sw_grant.sw_a IS NOT NULL)", f"LEFT JOIN ({pairs}) AS sw_grant ON {self._same('sw_grant')}"


class _Stream(aiomysql.SSCursor):  # type: ignore[misc]
    """Keeps nothing, and shows no warnings: the server's quote values, and Python would print them."""

    async def _show_warnings(self, conn: Any) -> None:
        del conn


class MysqlTableAudit:
    """One pass over the table of one Doorkeeper installation."""

    def __init__(self, options: Options, *, batch: int = BATCH) -> None:
        self.name = options.name
        self._options = options
        self._batch = batch
        self.estimate: float | None = None
        self.flags: tuple[str, ...] = ()

    async def batches(self, now: float | None = None) -> AsyncIterator[Batch]:
        """Read it. `estimate` (rows, as the server has it) and `flags` are known from the first batch on. Trouble when the
        database cannot be reached, refuses, or breaks off; nothing is retried."""
        moment = time.time() if now is None else now
        connection = await self._connect()
        try:
            shape = await self._shape(connection)
            cursor = await connection.cursor(_Stream)
            await cursor.execute(WholeTable(shape, self._options).whole)
            while records := await cursor.fetchmany(self._batch):
                yield self._converted(records, moment)
        except Trouble:
            raise
        except Exception as error:  # noqa: BLE001 - aiomysql meets a broken answer with whatever its parser trips over
            found = translated(error)
            raise (found.trouble if isinstance(found, SchemaChanged) else found) from None
        finally:
            connection.close()

    async def _connect(self) -> Any:
        options = self._options
        target = Target(options.replica or options.primary, options.connect_timeout, 0.0)
        try:
            async with asyncio.timeout(options.connect_timeout):
                return await open_connection(target, "scim-witness audit")
        except Exception as error:  # noqa: BLE001 - see above
            raise connect_trouble(error) from None

    async def _shape(self, connection: Any) -> MysqlShape:
        cursor = await connection.cursor()
        await cursor.execute(inspection(self._options))
        shape = shape_from(await cursor.fetchall(), self._options)
        self.estimate, self.flags = shape.shape.tokens.rows, shape.shape.flags()
        return shape

    def _converted(self, records: Sequence[Any], now: float) -> Batch:
        rows = [self._row(record) for record in records if may_live(seconds(record[2]), record[3], seconds(record[4]), now)]
        return Batch(len(records), rows, sum(1 for record in records if record[-1]))

    def _row(self, record: Sequence[Any]) -> AuditRow:
        known = to_known(row_of((None, *record[:-3])), "", lambda _: "")
        granted = None if record[-2] is None else bool(record[-2])
        return AuditRow(self.name, known, seconds(record[-3]), granted)
