"""The MySQL and MariaDB dialect of the port: which query for which question, over a few connections of one server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from proxy.core.credential import Fingerprinter
from proxy.core.finding import Finding
from proxy.core.token import Known, Sibling
from proxy.sources.doorkeeper import mysql_check
from proxy.sources.doorkeeper.batches import Batches
from proxy.sources.doorkeeper.database import Answer, Found, Kin, Trouble
from proxy.sources.doorkeeper.mysql_connection import Lane, Target
from proxy.sources.doorkeeper.mysql_schema import MysqlShape, inspection, shape_from
from proxy.sources.doorkeeper.mysql_sql import Statements
from proxy.sources.doorkeeper.options import Options
from proxy.sources.doorkeeper.rows import Row, Version
from proxy.sources.doorkeeper.schema import SchemaChanged
from proxy.sources.doorkeeper.source import Doorkeeper
from proxy.tasks import Tasks

SHAPE_LIFETIME: Final = 300.0
"""Seconds after which the schema is looked at again: a column that a migration or a GRANT added is used within minutes.
One that vanished is noticed at once, by the query that fails."""

AROUND_LIMIT: Final = 50
"""Diagnoses that may wait for the one connection they share; beyond, an incident goes without its surroundings."""

KEYS_AT_ONCE: Final = 1_000
"""Rows of one re-read query. The driver is Python and decodes these in about 20 ms, in which nothing else runs."""

Ask = Callable[[Statements], str]


class Mysql:
    """One server: `lookup_connections` for look-ups, one for the re-reads of tokens in use, one for diagnoses."""

    def __init__(self, dsn: str, via: str, options: Options, tasks: Tasks, *, wall: Callable[[], float] = time.time) -> None:
        self.via = via
        self._options = options
        self._wall = wall
        target = Target(dsn, options.connect_timeout, options.query_timeout)
        name = f"{options.name}-{via}"
        self._lookups = [Lane(target, tasks, f"{name}-connect-{n}") for n in range(options.lookup_connections)]
        self._refresh = Lane(target, tasks, f"{name}-connect-refresh", options.query_timeout)
        self._around = Lane(target, tasks, f"{name}-connect-around")
        self._around_waiting = 0
        self._batches = Batches[Answer](self._ask_forms, options.lookup_connections, tasks, f"{name}-lookups")
        self._statements: tuple[float, Statements] | None = None

    async def by_forms(self, forms: Sequence[str]) -> Answer:
        """See Database. Waits at most `query_timeout`, connecting included."""
        try:
            async with asyncio.timeout(self._options.query_timeout):
                return await self._batches.get(forms)
        except TimeoutError:
            if self._statements is None and any(lane.trying for lane in self._lookups):
                raise Trouble("starting", "no connection to the database yet") from None
            raise Trouble("timeout", "the database did not answer in time") from None

    async def by_keys(self, keys: Sequence[int | str], versions: Sequence[Version | None]) -> Answer:
        """See Database. A row shows no version here, so every row comes back; the oldest clock of the parts counts."""
        del versions
        parts = []
        for first in range(0, len(keys), KEYS_AT_ONCE):
            chosen = keys[first : first + KEYS_AT_ONCE]
            records = await self._ask_again(lambda statements, chosen=chosen: statements.by_keys(chosen))  # type: ignore[misc]
            parts.append(self._answer(records))
        rows = {row.asked: row for part in parts for row in part.rows}
        everyone = [rows.get(key) or _absent(key) for key in keys]
        return Answer(everyone, parts[0].source_time, parts[0].read_at, {})

    async def kin(self, known: Known) -> Kin:
        """See Database."""
        records = await self._ask_around(lambda statements: statements.kin(known))
        stored = next((record[-1] for record in records if record[0] == "self"), None)
        others = [record for record in records if record[0] != "self"]
        return Kin(stored, [_sibling(record) for record in others], [record[-1] for record in others])

    async def granted(self, known: Known) -> bool | None:
        """See Database."""
        if known.application is None or known.owner is None:
            return None
        records = await self._ask_around(lambda statements: statements.granted(known))
        return _truth(records[0][0]) if records else None

    async def same_instant(self, known: Known) -> tuple[Sequence[Sibling], int]:
        """See Database. Among rows of the same application and owner only where a look at all would be dear."""
        records = await self._ask_around(lambda statements: statements.same_instant(known))
        return [_sibling(record[1:]) for record in records], records[0][0] if records else 0

    async def near(self, candidates: Sequence[str], prefix: str | None) -> Sequence[Found]:
        """See Database."""
        statements = await self._known_statements(self._around)
        holdable = self._holdable(statements, candidates)
        records = await self._ask_around(lambda chosen: chosen.near(holdable)) if holdable else []
        if prefix is not None and statements.near_prefix(prefix) is not None:
            records += await self._ask_around(lambda chosen: chosen.near_prefix(prefix) or "SELECT NULL LIMIT 0")
        return [Found(column, value, row, tenant) for column, value, row, tenant in records]

    async def flags(self) -> tuple[str, ...]:
        """See Database."""
        statements = await self._known_statements(self._around)
        found = statements.shape.flags()
        if statements.mysql.seconds_only:
            found = (*found, "revoked_at_in_seconds")
        return found if statements.same_instant_whole else (*found, "same_instant_within_grant")

    async def shape(self) -> MysqlShape:
        """The schema as it is now known."""
        return (await self._known_statements(self._around)).mysql

    async def check(self) -> Sequence[Finding]:
        """See Database."""
        return await mysql_check.findings(self.via, self._options, self._around.fetch, self.shape, self._wall)

    async def close(self) -> None:
        """See Database."""
        for lane in (*self._lookups, self._refresh, self._around):
            lane.close()

    async def _ask_forms(self, lane: int, forms: Sequence[str]) -> Answer:
        statements = await self._known_statements(self._lookups[lane])
        holdable = self._holdable(statements, forms) or [""]  # the clock is asked for all the same
        return self._answer(await self._ask(self._lookups[lane], lambda chosen: chosen.by_forms(holdable)))

    @staticmethod
    def _holdable(statements: Statements, forms: Sequence[str]) -> list[str]:
        """A column in a narrow character set refuses a whole batch for one letter that it does not have."""
        return list(forms) if statements.mysql.wide else [form for form in forms if form.isascii()]

    async def _ask_around(self, ask: Ask) -> list[Any]:
        if self._around_waiting >= AROUND_LIMIT:
            raise Trouble("overload", "too many diagnoses wait for the database")
        self._around_waiting += 1
        try:
            return await self._ask(self._around, ask)
        finally:
            self._around_waiting -= 1

    async def _ask_again(self, ask: Ask) -> list[Any]:
        """Over the re-reads' own connection; where the server has none to spare for it, over one for look-ups."""
        try:
            return await self._ask(self._refresh, ask)
        except Trouble as trouble:
            lane = next((lane for lane in self._lookups if lane.connected), None)
            if lane is None or trouble.why not in ("overload", "refused"):
                raise
        return await self._ask(lane, ask)

    async def _ask(self, lane: Lane, ask: Ask) -> list[Any]:
        try:
            return await lane.fetch(ask(await self._known_statements(lane)))
        except SchemaChanged:
            self._statements = None
        try:
            return await lane.fetch(ask(await self._known_statements(lane)))
        except SchemaChanged as changed:
            raise changed.trouble from None

    async def _known_statements(self, lane: Lane) -> Statements:
        kept = self._statements
        if kept is not None and time.monotonic() < kept[0] + SHAPE_LIFETIME:
            return kept[1]
        try:
            records = await lane.fetch(inspection(self._options))
        except SchemaChanged as changed:
            raise changed.trouble from None
        shape = shape_from(records, self._options)
        unchanged = kept is not None and kept[1].mysql == shape
        statements = kept[1] if kept is not None and unchanged else Statements(shape, self._options)
        self._statements = (time.monotonic(), statements)
        return statements

    def _answer(self, records: Sequence[Any]) -> Answer:
        read_at = self._wall()
        # a row's key is never NULL: the one record without it carries only the clock
        rows = [row_of(record) for record in records if record[1] is not None]
        return Answer(rows, seconds(records[0][0]) or 0.0, read_at, {row.token: row for row in rows})


def row_of(record: Sequence[Any]) -> Row:
    """A record of `Statements._facts`, behind the clock."""
    _, key, token, created, expires, revoked, scopes, application, name, owner, found, active, tenant, refreshable, unused = (
        record
    )
    return Row(
        asked=key,
        id=key,
        token=token,
        created_at=seconds(created),
        expires_in=expires,
        revoked_at=seconds(revoked),
        scopes=scopes,
        application=application,
        application_name=name,
        owner=owner,
        owner_found=_truth(found),
        owner_active=_truth(active),
        tenant=tenant,
        refreshable=_truth(refreshable),
        unused_successor=_truth(unused),
    )


def _absent(key: int | str) -> Row:
    return Row(key, None, "", None, None, None, None, None, None, None, None, None, None, None, None)


def seconds(micros: int | None) -> float | None:
    """Epoch seconds of whole microseconds."""
    return None if micros is None else micros / 1e6


def _truth(value: object) -> bool | None:
    """A boolean column is a number here, and an expression may be of any type that MySQL takes for true or false."""
    return None if value is None else value not in (0, "0", "", b"\0", b"0", b"")


def _sibling(record: Iterable[Any]) -> Sibling:
    relation, row, created_at, revoked_at, expires_in, tenant, application, owner, used, refreshable, _ = record
    return Sibling(
        relation=relation,
        row=row,
        created_at=seconds(created_at) or 0.0,
        revoked_at=seconds(revoked_at),
        expires_in=expires_in,
        tenant=tenant or "",
        application=application,
        owner=owner,
        used=_truth(used),
        refreshable=_truth(refreshable),
    )


def doorkeeper_on_mysql(options: Options, fingerprinter: Fingerprinter, tasks: Tasks) -> Doorkeeper:
    """Return the source over a primary and, where one is configured, a replica. Nothing is connected yet."""
    primary = Mysql(options.primary, "primary", options, tasks)
    replica = Mysql(options.replica, "replica", options, tasks) if options.replica else None
    return Doorkeeper(options, primary, replica, fingerprinter)
